"""VGG networks with batch norm, for images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tomotutor.learn.models.common import Net, Output, conv_norm_relu, he_normal, scaled


class _Dropout(nn.Module):
    """Dropout at 0.5 with a generator of its own.

    torch's draws from one global stream: the student would change what the teacher sees, and no two ways to compute
    could be compared.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.rand(x.shape, generator=self._generator) < 0.5
        return 2 * x * kept.to(x.device)


class VGG(Net):
    """VGG with batch norm; the maps are the last ReLU of each of the five stages, before its pooling.

    Parameters
    ----------
    convs : tuple of int
        Convolutions of each stage: (2, 2, 3, 3, 3) is VGG-16, (2, 2, 2, 2, 2) is VGG-13.
    channels_in, classes : int
        Input channels and output classes.
    edge : int
        Smallest edge of an image; from 224 on the classifier sees 7² positions, of smaller images edge // 32 squared.
    width : float
        Scales the channels of the stages and the classifier's 4096.

    Notes
    -----
    ----- Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015. The stages stay as they are for images
    of any size.
    """

    def __init__(
        self, convs: tuple[int, ...], channels_in: int, classes: int, *, edge: int = 224, width: float = 1.0
    ) -> None:
        super().__init__()
        stages = []
        channels_before = channels_in
        for channels, count in zip(scaled((64, 128, 256, 512, 512), width), convs, strict=True):
            layers = []
            for _ in range(count):
                layers.append(conv_norm_relu(2, channels_before, channels, bias=True))
                channels_before = channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        positions = max(1, min(7, edge // 32))
        (hidden,) = scaled((4096,), width)
        generator = torch.Generator().manual_seed(torch.initial_seed())
        self.pool = nn.AdaptiveAvgPool2d(positions)
        self.hidden = nn.Sequential(
            nn.Linear(channels_before * positions**2, hidden),
            nn.ReLU(),
            _Dropout(generator),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            _Dropout(generator),
        )
        self.fc = nn.Linear(hidden, classes)
        he_normal(self)

    def forward(self, x: Tensor) -> Output:
        """Run the network on (N, channels_in, y, x)."""
        maps = []
        h = x
        for stage in self.stages:
            maps.append(stage(h))
            h = torch.max_pool2d(maps[-1], 2)
        embedding = self.hidden(self.pool(h).flatten(1)).float()
        return Output(self.logits_of(embedding), embedding, tuple(maps))
