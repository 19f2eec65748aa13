"""What all networks share: their output, layers by number of dimensions, initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CONV: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL: dict[int, type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


@dataclass(frozen=True)
class Output:
    """What every network returns.

    Attributes
    ----------
    logits : Tensor
        (N, classes), float32; (N, classes, y, x) of a network that segments.
    embedding : Tensor
        (N, D) input of the classifier, float32; of a network that segments, its mean over the image.
    modules : tuple of Tensor
        Activations (N, C, ...spatial) after the last ReLU of each hooked module; teacher and student match in number
        and map size.
    """

    logits: Tensor
    embedding: Tensor
    modules: tuple[Tensor, ...]


class Net(nn.Module):
    """A network whose call returns an `Output`; `fc` is its last layer, from embedding to logits."""

    fc: nn.Linear | nn.Conv2d
    float32_below = 0  # set by compute.prepare: stages whose maps have a smaller edge leave the autocast region

    def logits_of(self, features: Tensor) -> Tensor:
        """Run the last layer in float32, whatever the precision of the rest."""
        with torch.autocast(features.device.type, enabled=False):
            return self.fc(features.float())


def scaled(channels: Sequence[int], width: float) -> list[int]:
    """Return numbers of channels times the width factor, 1 at least."""
    return [max(1, round(c * width)) for c in channels]


def he_normal(net: nn.Module) -> None:
    """Draw the convolutions from He's normal distribution (fan-out); batch norm starts at (1, 0) by itself."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def conv_norm_relu(
    ndim: int,
    channels_in: int,
    channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> nn.Sequential:
    """Return convolution, batch norm and ReLU; the map keeps its size but for the stride."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        CONV[ndim](channels_in, channels, kernel, stride, padding, dilation, bias=bias), NORM[ndim](channels), nn.ReLU()
    )
