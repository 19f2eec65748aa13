"""Residual networks in two and three dimensions, in one piece of code."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}

# kernel, stride, max-pool of the first layer
STEMS: dict[str, tuple[int, int, bool]] = {
    "7s2pool": (7, 2, True),  # 224² images; stem (a) in 3D: leaves layer4 at 1³ on a 32³ input, where attention transfer is void
    "3s1": (3, 1, False),  # 32² images; stem (b) in 3D
    "3s2": (3, 2, False),  # stem (c), our default in 3D: maps 16, 8, 4, 2 on a 32³ input
}


@dataclass(frozen=True)
class Output:
    """What every network returns.

    Attributes
    ----------
    logits : Tensor
        (N, classes), float32.
    embedding : Tensor
        (N, D) input of the classifier, float32.
    modules : tuple of Tensor
        Activations (N, C, ...spatial) after the last ReLU of each hooked module; teacher and student match in number and map size.
    """

    logits: Tensor
    embedding: Tensor
    modules: tuple[Tensor, ...]


class BasicBlock(nn.Module):
    """Two 3ⁿ convolutions with a shortcut; a 1ⁿ convolution where shape changes (option B of He et al. 2016)."""

    def __init__(self, ndim: int, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        conv, norm = _CONV[ndim], _NORM[ndim]
        self.conv1 = conv(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = conv(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = norm(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(conv(channels_in, channels, 1, stride, bias=False), norm(channels))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        h = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class ResNet(nn.Module):
    """A ResNet whose forward returns logits, embedding and the four stage outputs.

    Parameters
    ----------
    ndim : {2, 3}
        Number of spatial dimensions.
    blocks : tuple of int
        Basic blocks of each of the four stages: (2, 2, 2, 2) is ResNet-18, (1, 1, 1, 1) is ResNet-10.
    channels_in, classes : int
        Input channels and output classes.
    stem : {"7s2pool", "3s1", "3s2"}
        First layer, see `STEMS`.
    width : float
        Scales the 64, 128, 256, 512 channels of the stages.

    Notes
    -----
    He, Zhang, Ren, Sun, "Deep residual learning", CVPR 2016; weights are He-normal (fan-out), batch norm starts at (1, 0).
    """

    def __init__(
        self, ndim: int, blocks: tuple[int, ...], channels_in: int, classes: int, *, stem: str = "3s2", width: float = 1.0
    ) -> None:
        super().__init__()
        kernel, stride, pool = STEMS[stem]
        widths = [max(1, round(c * width)) for c in (64, 128, 256, 512)]
        self.stem = nn.Sequential(
            _CONV[ndim](channels_in, widths[0], kernel, stride, kernel // 2, bias=False), _NORM[ndim](widths[0]), nn.ReLU()
        )
        if pool:
            self.stem.append(_POOL[ndim](3, 2, 1))
        stages = []
        channels_before = widths[0]
        for stage, (channels, count) in enumerate(zip(widths, blocks, strict=True)):
            layers = []
            for block in range(count):
                layers.append(BasicBlock(ndim, channels_before, channels, 2 if stage > 0 and block == 0 else 1))
                channels_before = channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.fc = nn.Linear(channels_before, classes)
        self.float32_below = 0  # set by compute.prepare: stages whose maps have a smaller edge leave the autocast region
        for module in self.modules():
            if isinstance(module, _CONV[ndim]):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

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
        with torch.autocast(h.device.type, enabled=False):
            logits = self.fc(embedding)
        return Output(logits, embedding, tuple(maps))
