"""Dilated residual networks, type D, for segmentation of images."""

from __future__ import annotations

from torch import Tensor, nn

from tomotutor.learn.models.common import Net, Output, conv_norm_relu, he_normal, scaled
from tomotutor.learn.models.resnet import BasicBlock

STRIDE = 8  # of the last map


class DRN(Net):
    """DRN-D with a 1×1 head and fixed bilinear interpolation by 8; the maps are layers 1 to 8.

    Parameters
    ----------
    counts : tuple of int
        Convolutions or blocks of layers 1 to 8: (1, 1, 2, 2, 2, 2, 1, 1) is DRN-D-22, (1,) * 8 is DRN-D-14.
    channels_in, classes : int
        Input channels and output classes.
    width : float
        Scales the channels of all layers.

    Notes
    -----
    ----- Yu, Koltun, Funkhouser, "Dilated residual networks", CVPR 2017. Layers 1, 2, 7 and 8 are plain convolutions, 3
    to 6 basic blocks; 2, 3 and 4 halve the map, 5, 6 and 7 dilate (2, 4, 2). Logits have the size of the image.
    """

    def __init__(self, counts: tuple[int, ...], channels_in: int, classes: int, *, width: float = 1.0) -> None:
        super().__init__()
        channels = scaled((16, 32, 64, 128, 256, 512, 512, 512), width)
        self.layer0 = conv_norm_relu(2, channels_in, channels[0], kernel=7)
        layers = []
        before = channels[0]
        strides, dilations = (1, 2, 2, 2, 1, 1, 1, 1), (1, 1, 1, 1, 2, 4, 2, 1)
        for number, (after, count, stride, dilation) in enumerate(
            zip(channels, counts, strides, dilations, strict=True), 1
        ):
            layer = nn.Sequential()
            for k in range(count):
                step = stride if k == 0 else 1
                if 3 <= number <= 6:
                    layer.append(BasicBlock(2, before, after, step, dilation))
                else:
                    layer.append(conv_norm_relu(2, before, after, stride=step, dilation=dilation))
                before = after
            layers.append(layer)
        self.layers = nn.ModuleList(layers)
        self.fc = nn.Conv2d(before, classes, 1)
        he_normal(self)

    def forward(self, x: Tensor) -> Output:
        """Run the network on (N, channels_in, y, x)."""
        h = self.layer0(x)
        maps = []
        for layer in self.layers:
            h = layer(h)
            maps.append(h)
        coarse = self.logits_of(h)
        # the last map has ⌈size / 8⌉ positions: what it covers beyond the image is cut off
        logits = nn.functional.interpolate(coarse, scale_factor=STRIDE, mode="bilinear", align_corners=False)
        return Output(logits[..., : x.shape[-2], : x.shape[-1]], h.flatten(2).mean(2).float(), tuple(maps))
