"""The networks by name, and which student belongs to which teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.models.common import Net
from tomotutor.learn.models.drn import DRN
from tomotutor.learn.models.efficientnet import BLOCKS, EfficientNetLite
from tomotutor.learn.models.resnet import BasicBlock, Bottleneck, ResNet
from tomotutor.learn.models.vgg import VGG


@dataclass(frozen=True)
class Shape:
    """What a network is built for: spatial dimensions, input channels, smallest edge, classes; stem and width of the
    recipe.
    """

    ndim: int
    channels: int
    edge: int
    classes: int
    stem: str = "auto"
    width: float = 1.0


def default_stem(ndim: int, edge: int) -> str:
    """Return the stem for an input of `edge` pixels or voxels: (c) in 3D; in 2D the one for 32² or for 224²."""
    if ndim == 3:
        return "3s2"
    return "3s1" if edge <= 64 else "7s2pool"


def halved(blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Return half the blocks of each stage, rounded down, 1 at least: the student of a ResNet. ResNet-18's is
    ResNet-10.
    """
    return tuple(max(1, b // 2) for b in blocks)


def _resnet(blocks: tuple[int, ...], block: type[BasicBlock] | type[Bottleneck] = BasicBlock) -> Callable[[Shape], Net]:
    def build(shape: Shape) -> Net:
        stem = default_stem(shape.ndim, shape.edge) if shape.stem == "auto" else shape.stem
        return ResNet(shape.ndim, blocks, shape.channels, shape.classes, stem=stem, width=shape.width, block=block)

    return build


def _images_only(name: str, shape: Shape) -> None:
    if shape.ndim != 2:
        raise TomoTutorError(
            f"recipe: {name} is a network for images, and these items are volumes; choose resnet18, resnet34 or "
            "resnet50"
        )
    if shape.stem != "auto":
        raise TomoTutorError(f"recipe: stem is {shape.stem!r}, but the first layer of {name} is fixed; expected auto")


def _vgg(name: str, convs: tuple[int, ...]) -> Callable[[Shape], Net]:
    def build(shape: Shape) -> Net:
        _images_only(name, shape)
        if shape.edge < 32:
            raise TomoTutorError(
                f"recipe: {name} halves an image five times, and these have {shape.edge} pixels; expected 32 at least"
            )
        return VGG(convs, shape.channels, shape.classes, edge=shape.edge, width=shape.width)

    return build


def _efficientnet(name: str, blocks: tuple[int, ...]) -> Callable[[Shape], Net]:
    def build(shape: Shape) -> Net:
        _images_only(name, shape)
        if shape.channels not in (1, 3):
            raise TomoTutorError(
                f"recipe: {name} takes grey images or RGB, and these have {shape.channels} channels; choose resnet18, "
                "resnet34 or resnet50"
            )
        return EfficientNetLite(blocks, shape.classes, width=shape.width)

    return build


def _drn(name: str, counts: tuple[int, ...]) -> Callable[[Shape], Net]:
    def build(shape: Shape) -> Net:
        _images_only(name, shape)
        return DRN(counts, shape.channels, shape.classes, width=shape.width)

    return build


MODELS: dict[str, Callable[[Shape], Net]] = {
    "resnet10": _resnet((1, 1, 1, 1)),
    "resnet18": _resnet((2, 2, 2, 2)),
    "resnet34": _resnet((3, 4, 6, 3)),
    "resnet34_half": _resnet(halved((3, 4, 6, 3))),
    "resnet50": _resnet((3, 4, 6, 3), Bottleneck),
    "resnet50_half": _resnet(halved((3, 4, 6, 3)), Bottleneck),
    "vgg16": _vgg("vgg16", (2, 2, 3, 3, 3)),
    "vgg13": _vgg("vgg13", (2, 2, 2, 2, 2)),
    "efficientnet-lite0": _efficientnet("efficientnet-lite0", BLOCKS),
    "efficientnet-lite0-half": _efficientnet("efficientnet-lite0-half", halved(BLOCKS)),
    "drn_d_22": _drn("drn_d_22", (1, 1, 2, 2, 2, 2, 1, 1)),
    "drn_d_14": _drn("drn_d_14", (1,) * 8),
}

# teacher -> the shallower network whose modules have the same map sizes
PAIRS: dict[str, str] = {
    "resnet18": "resnet10",
    "resnet34": "resnet34_half",
    "resnet50": "resnet50_half",
    "vgg16": "vgg13",
    "efficientnet-lite0": "efficientnet-lite0-half",
    "drn_d_22": "drn_d_14",
}


@dataclass(frozen=True)
class Pair:
    """Teacher and student; `parts()` names them as the files of a round do."""

    teacher: Net
    student: Net

    def parts(self) -> dict[str, Net]:
        """Return the two networks by name."""
        return {"teacher": self.teacher, "student": self.student}


def build_net(name: str, shape: Shape, seed: int) -> Net:
    """Build a freshly initialised network, a key of `MODELS`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](shape)


def build_pair(
    teacher: str,
    *,
    ndim: int,
    channels: int,
    edge: int,
    classes: int,
    width: float,
    seed: int,
    stem: str = "auto",
    twin: bool = False,
) -> Pair:
    """Build a freshly initialised pair.

    Parameters
    ----------
    teacher : str
        A key of `PAIRS`.
    ndim, channels, edge, classes : int
        Spatial dimensions, input channels, smallest edge of an item, number of classes.
    width : float
        Channel multiplier of both networks.
    seed : int
        Teacher and student draw from streams of their own, so the teacher is the same with and without a student.
    stem : str
        First layer of ResNets: a key of `STEMS`, or "auto" to follow from the items.
    twin : bool
        The student has the teacher's depth.

    Raises
    ------
    TomoTutorError
        The network cannot take such items.
    """
    shape = Shape(ndim, channels, edge, classes, stem, width)
    return Pair(
        build_net(teacher, shape, 2 * seed), build_net(teacher if twin else PAIRS[teacher], shape, 2 * seed + 1)
    )
