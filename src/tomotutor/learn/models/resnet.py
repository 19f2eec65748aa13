"""Residual networks in two and three dimensions, in one piece of code."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from tomotutor.learn.models.common import CONV, NORM, POOL, Net, Output, conv_norm_relu, he_normal, scaled

# kernel, stride, max-pool of the first layer
STEMS: dict[str, tuple[int, int, bool]] = {
    "7s2pool": (
        7,
        2,
        True,
    ),  # 224² images; stem (a) in 3D: leaves layer4 at 1³ on a 32³ input, where attention transfer is void
    "3s1": (3, 1, False),  # 32² images; stem (b) in 3D
    "3s2": (3, 2, False),  # stem (c), our default in 3D: maps 16, 8, 4, 2 on a 32³ input
}


def _shortcut(ndim: int, channels_in: int, channels: int, stride: int) -> nn.Module:
    """Return the identity, or a 1ⁿ convolution where shape changes (option B of He et al. 2016)."""
    if stride == 1 and channels_in == channels:
        return nn.Identity()
    return nn.Sequential(CONV[ndim](channels_in, channels, 1, stride, bias=False), NORM[ndim](channels))


class BasicBlock(nn.Module):
    """Two 3ⁿ convolutions with a shortcut; `dilation` is that of each."""

    expansion = 1

    def __init__(self, ndim: int, channels_in: int, channels: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = CONV[ndim](channels_in, channels, 3, stride, dilation, dilation, bias=False)
        self.bn1 = NORM[ndim](channels)
        self.conv2 = CONV[ndim](channels, channels, 3, 1, dilation, dilation, bias=False)
        self.bn2 = NORM[ndim](channels)
        self.shortcut = _shortcut(ndim, channels_in, channels, stride)

    @override
    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1ⁿ, 3ⁿ and 1ⁿ convolutions with a shortcut, four times the channels at the end; the stride is that
    of the 3ⁿ one.
    """

    expansion = 4

    def __init__(self, ndim: int, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = CONV[ndim](channels_in, channels, 1, bias=False)
        self.bn1 = NORM[ndim](channels)
        self.conv2 = CONV[ndim](channels, channels, 3, stride, 1, bias=False)
        self.bn2 = NORM[ndim](channels)
        self.conv3 = CONV[ndim](channels, 4 * channels, 1, bias=False)
        self.bn3 = NORM[ndim](4 * channels)
        self.shortcut = _shortcut(ndim, channels_in, 4 * channels, stride)

    @override
    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn1(self.conv1(x)))
        h = torch.relu(self.bn2(self.conv2(h)))
        return torch.relu(self.bn3(self.conv3(h)) + self.shortcut(x))


class ResNet(Net):
    """A ResNet whose forward returns logits, embedding and the four stage outputs.

    Parameters
    ----------
    ndim : {2, 3}
        Number of spatial dimensions.
    blocks : tuple of int
        Blocks of each of the four stages: (2, 2, 2, 2) is ResNet-18, (1, 1, 1, 1) is ResNet-10.
    channels_in, classes : int
        Input channels and output classes.
    stem : {"7s2pool", "3s1", "3s2"}
        First layer, see `STEMS`.
    width : float
        Scales the 64, 128, 256, 512 channels of the stages.
    block : type
        `BasicBlock`, or `Bottleneck` from ResNet-50 on.

    Notes
    -----
    ----- He, Zhang, Ren, Sun, "Deep residual learning", CVPR 2016; weights are He-normal (fan-out), batch norm starts
    at (1, 0).
    """

    def __init__(
        self,
        ndim: int,
        blocks: tuple[int, ...],
        channels_in: int,
        classes: int,
        *,
        stem: str = "3s2",
        width: float = 1.0,
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
    ) -> None:
        super().__init__()
        kernel, stride, pool = STEMS[stem]
        widths = scaled((64, 128, 256, 512), width)
        self.stem = conv_norm_relu(ndim, channels_in, widths[0], kernel=kernel, stride=stride)
        if pool:
            self.stem.append(POOL[ndim](3, 2, 1))
        stages = []
        channels_before = widths[0]
        for stage, (channels, count) in enumerate(zip(widths, blocks, strict=True)):
            layers = []
            for number in range(count):
                layers.append(block(ndim, channels_before, channels, 2 if stage > 0 and number == 0 else 1))
                channels_before = block.expansion * channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.fc = nn.Linear(channels_before, classes)
        he_normal(self)

    def forward(self, x: Tensor) -> Output:
        """Run the network on (N, channels_in, ...spatial)."""
        h = self.stem(x)
        maps = []
        for stage in self.stages:
            if h.shape[-1] < 2 * self.float32_below:  # each later stage halves the map
                with torch.autocast(h.device.type, enabled=False):
                    h = stage(h.float())
            else:
                h = stage(h)
            maps.append(h)
        embedding = h.flatten(2).mean(2).float()
        return Output(self.logits_of(embedding), embedding, tuple(maps))
