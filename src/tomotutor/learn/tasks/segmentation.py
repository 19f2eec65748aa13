"""A class for each pixel of an image; pixels that a person left out are void, and count nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.mask_png import VOID
from tomotutor.learn.augment import augment
from tomotutor.learn.models import Output
from tomotutor.learn.strategies import Scores
from tomotutor.learn.tasks.base import Task


def _loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each image, weighted so that their mean is that over all pixels that are not void (0 where all
    of them are).
    """
    total_N = cross_entropy(logits, y, ignore_index=VOID, reduction="none").flatten(1).sum(1)
    return total_N * len(y) / (y != VOID).sum().clamp(min=1)


def _augment(
    x: Tensor, y: Tensor, kind: str, generator: torch.Generator, asymmetric_N: Sequence[bool] = ()
) -> tuple[Tensor, Tensor]:
    """Turn and shift image and mask together; what is shifted in is void."""
    codes = torch.where(y == VOID, 0, y + 1).to(x.dtype)  # void is 0, which is what a shift fills with
    both = augment(torch.cat((x, codes.unsqueeze(1)), 1), kind, generator, asymmetric_N)
    codes = both[:, -1].long()
    return both[:, :-1], torch.where(codes == 0, VOID, codes - 1)


def _scores(outputs: Mapping[str, Output]) -> dict[str, Scores]:
    """Reduce the maps to numbers, one an image: they are averages over pixels; the maps themselves are not kept.

    `log_probs_NC` is the log of the share that the network gives to each class. The averages are entropy, margin (p₁ −
    p₂), least_confidence (1 − p₁), and, of every other network, the disagreement with the teacher: the mean squared
    difference of the softmax maps over pixels and classes (arXiv 2509.15805, eq. 4).
    """
    found = {}
    teacher = torch.softmax(outputs["teacher"].logits.float(), 1) if "teacher" in outputs else None
    for name, output in outputs.items():
        log_p = torch.log_softmax(output.logits.float(), 1)
        p = log_p.exp()
        best = p.topk(2, 1).values
        averages = {
            "entropy": -(p * log_p).sum(1).mean((1, 2)),
            "margin": (best[:, 0] - best[:, 1]).mean((1, 2)),
            "least_confidence": 1 - best[:, 0].mean((1, 2)),
        }
        if teacher is not None and name != "teacher":
            averages["disagreement"] = (teacher - p).square().mean((1, 2, 3))
        share = p.mean((2, 3)).clamp(min=1e-12).log()
        found[name] = Scores(
            share.cpu().double().numpy(),
            output.embedding.cpu().numpy(),
            {k: v.cpu().double().numpy() for k, v in averages.items()},
        )
    return found


def _check_trainable(masks_NYX: np.ndarray) -> None:
    classes = [c for c in np.unique(masks_NYX) if c != VOID]
    if len(masks_NYX) < 2 or len(classes) < 2:
        raise TomoTutorError(
            f"training: {len(masks_NYX)} masks with {len(classes)} classes in them so far; expected two masks and two "
            "classes at least"
        )


class Confusion:
    """Counts of pixels by true and predicted class, gathered image by image; pixels that are void in either are left
    out.

    Parameters
    ----------
    classes : int
        Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.counts_CC = np.zeros((classes, classes), np.int64)

    def add(self, truth_YX: np.ndarray, predicted_YX: np.ndarray) -> None:
        """Count an image."""
        n = len(self.counts_CC)
        known = (truth_YX < n) & (predicted_YX < n)
        pairs = truth_YX[known].astype(np.int64) * n + predicted_YX[known]
        self.counts_CC += np.bincount(pairs, minlength=n * n).reshape(n, n)

    @property
    def iou_C(self) -> np.ndarray:
        """Intersection over union of each class; NaN where a class is neither there nor predicted."""
        both = np.diag(self.counts_CC).astype(float)
        union = self.counts_CC.sum(0) + self.counts_CC.sum(1) - both
        return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that have an IoU; NaN if none has."""
        return float(np.nanmean(self.iou_C)) if (self.counts_CC > 0).any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of right pixels; NaN without any."""
        return float(np.trace(self.counts_CC) / self.counts_CC.sum()) if (self.counts_CC > 0).any() else float("nan")


SEGMENTATION = Task(_loss, _augment, _scores, _check_trainable)
