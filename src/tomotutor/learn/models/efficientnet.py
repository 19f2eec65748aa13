"""EfficientNet-Lite0, a light network for images: inverted bottlenecks, depthwise convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from tomotutor.learn.models.common import Net, Output, he_normal, scaled

# of each stage: channels, kernel, stride, factor by which a block widens; how many blocks is told to the network
STAGES = ((16, 3, 1, 1), (24, 3, 2, 6), (40, 5, 2, 6), (80, 3, 2, 6), (112, 5, 1, 6), (192, 5, 2, 6), (320, 3, 1, 6))
BLOCKS = (1, 2, 2, 3, 3, 4, 1)
STEP = 32  # the maps shrink by so much; images are brought to multiples of it
SMALLEST, LARGEST = 128, 224  # pixels of an image's shorter edge, as the network sees it
# statistics of ImageNet, by which a pool's own are replaced, and what its weights were trained to see: (x − 127)/128
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CENTRE, SCALE = 127.0, 128.0


def seen_size(height: int, width: int) -> tuple[int, int]:
    """Return the size (y, x) to which the network brings an image: the shorter edge from 128 to 224 pixels."""
    short = min(height, width)
    scale = min(max(short, SMALLEST), LARGEST) / short
    return tuple(STEP * max(1, round(edge * scale / STEP)) for edge in (height, width))  # type: ignore[return-value]


class _Halving(nn.Conv2d):
    """Convolution of stride 2 on maps with even edges, padded as TensorFlow does it: one pixel more after the map."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        before = (self.kernel_size[0] - 2) // 2
        return super().forward(F.pad(x, (before, before + 1) * 2))


def _conv(
    channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, *, active: bool = True
) -> nn.Sequential:
    """Return convolution, batch norm and, if `active`, ReLU6."""
    kind, padding = (nn.Conv2d, kernel // 2) if stride == 1 else (_Halving, 0)
    conv = kind(channels_in, channels, kernel, stride, padding, groups=groups, bias=False)
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
    return nn.Sequential(conv, norm, nn.ReLU6()) if active else nn.Sequential(conv, norm)


class _Block(nn.Module):
    """Inverted bottleneck: widen, convolve each channel, narrow; with a shortcut where the shape stays."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        inner = factor * channels_in
        self.expand = _conv(channels_in, inner, 1) if factor > 1 else nn.Identity()
        self.depthwise = _conv(inner, inner, kernel, stride, groups=inner)
        self.project = _conv(inner, channels, 1, active=False)
        self.has_shortcut = stride == 1 and channels_in == channels

    @override
    def forward(self, x: Tensor) -> Tensor:
        h = self.project(self.depthwise(self.expand(x)))
        return x + h if self.has_shortcut else h


class EfficientNetLite(Net):
    """EfficientNet-Lite0, or fewer blocks of it; the maps are what the seven stages give.

    Parameters
    ----------
    blocks : tuple of int
        Blocks of each of the seven stages: `BLOCKS` is Lite0.
    classes : int
        Output classes.
    width : float
        Scales the channels.

    Notes
    -----
    Tan and Le, "EfficientNet", ICML 2019; Lite0 leaves out squeeze-and-excitation, and has ReLU6 for swish. Images are
    enlarged or shrunk to `seen_size` (bilinear) and brought from mean 0 and deviation 1 to what ImageNet's would be.
    Without the dropout and stochastic depth of the published training.
    """

    shift_C11: Tensor
    scale_C11: Tensor

    def __init__(self, blocks: tuple[int, ...], classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        before, *_ = scaled((32,), width)
        (head,) = scaled((1280,), width)
        self.stem = _conv(3, before, 3, 2)
        stages = []
        for (channels, kernel, stride, factor), count in zip(STAGES, blocks, strict=True):
            (wide,) = scaled((channels,), width)
            layers = []
            for number in range(count):
                layers.append(_Block(before, wide, kernel, stride if number == 0 else 1, factor))
                before = wide
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.head = _conv(before, head, 1)
        self.fc = nn.Linear(head, classes)
        mean_C, std_C = 255 * torch.tensor(MEAN), 255 * torch.tensor(STD)
        self.register_buffer("shift_C11", ((mean_C - CENTRE) / SCALE).view(3, 1, 1), persistent=False)
        self.register_buffer("scale_C11", (std_C / SCALE).view(3, 1, 1), persistent=False)
        he_normal(self)

    def forward(self, x: Tensor) -> Output:
        """Run the network on (N, 1 or 3, y, x)."""
        size = seen_size(*x.shape[-2:])
        if size != tuple(x.shape[-2:]):
            shrinks = size[0] < x.shape[-2]
            x = F.interpolate(x, size, mode="bilinear", antialias=shrinks)
        h = self.stem(x * self.scale_C11 + self.shift_C11)
        maps = []
        for stage in self.stages:
            h = stage(h)
            maps.append(h)
        embedding = self.head(h).flatten(2).mean(2).float()
        return Output(self.logits_of(embedding), embedding, tuple(maps))
