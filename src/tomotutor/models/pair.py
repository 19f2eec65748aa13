"""Which student belongs to which teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tomotutor.models.resnet import ResNet

BLOCKS: dict[str, tuple[int, ...]] = {"resnet18": (2, 2, 2, 2), "resnet10": (1, 1, 1, 1)}

# teacher -> the shallower network whose modules have the same map sizes
PAIRS: dict[str, str] = {"resnet18": "resnet10"}


@dataclass(frozen=True)
class Pair:
    """Teacher and student; `parts()` names them as the files of a round do."""

    teacher: ResNet
    student: ResNet

    def parts(self) -> dict[str, ResNet]:
        """Return the two networks by name."""
        return {"teacher": self.teacher, "student": self.student}


def default_stem(ndim: int, edge: int) -> str:
    """Return the stem for an input of `edge` pixels or voxels: (c) in 3D; in 2D the one for 32² or for 224²."""
    if ndim == 3:
        return "3s2"
    return "3s1" if edge <= 64 else "7s2pool"


def build_pair(teacher: str, *, ndim: int, channels: int, edge: int, classes: int, width: float, seed: int, twin: bool = False) -> Pair:
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
    twin : bool
        The student has the teacher's depth.
    """
    stem = default_stem(ndim, edge)

    def build(name: str, stream: int) -> ResNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2 * seed + stream)
            return ResNet(ndim, BLOCKS[name], channels, classes, stem=stem, width=width)

    return Pair(build(teacher, 0), build(teacher if twin else PAIRS[teacher], 1))
