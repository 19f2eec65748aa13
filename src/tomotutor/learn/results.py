"""What networks say of a pool, frozen and free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """The answer for every item, in the order of the list.

    Attributes
    ----------
    class_N : ndarray of int
        Class number from 0; a labeled item keeps its label. In segmentation the class that the teacher gives most of
        the image. −1: left out.
    confidence_N : ndarray
        Teacher's probability of that class, in segmentation of each pixel's class on average; 1 for labeled items.
    disagreement_N : ndarray
        KL(teacher ‖ student), nats; in segmentation the mean squared difference of the softmax maps.
    labeled_N : ndarray of bool
        Whether a person (or oracle) said so.
    """

    class_N: np.ndarray
    confidence_N: np.ndarray
    disagreement_N: np.ndarray
    labeled_N: np.ndarray

    def only(self, keep_N: np.ndarray) -> Predictions:
        """Return the same with all other items left out."""
        return replace(self, class_N=np.where(keep_N, self.class_N, -1))

    def take(self, rows: slice | np.ndarray) -> Predictions:
        """Return the answers for some of the items."""
        return Predictions(self.class_N[rows], self.confidence_N[rows], self.disagreement_N[rows], self.labeled_N[rows])


@dataclass(frozen=True)
class Answers:
    """The newest answer for every item, between rounds and right after them.

    Attributes
    ----------
    class_N : ndarray of int
        Class number: the label where there is one, else the prediction.
    confidence_N : ndarray
        Calibrated probability of that class; 1 for labeled items.
    disagreement_N : ndarray
        KL(p_T ‖ p_S) of the heads on the teacher's and on the student's embedding, nats; of labeled items, too.
    labeled_N : ndarray of bool
        Whether a person (or oracle) said so.
    source : str
        What answers, in words: "head on round 3", "model of round 3".
    version : int
        Grows with every fit.
    unknown : tuple of int
        Classes without a label, which are never predicted.
    """

    class_N: np.ndarray
    confidence_N: np.ndarray
    disagreement_N: np.ndarray
    labeled_N: np.ndarray
    source: str
    version: int
    unknown: tuple[int, ...] = ()


def changed(before: Answers | None, after: Answers) -> np.ndarray:
    """Return the rows whose class is another one, or that are labeled now and were not (or the other way round); all
    rows where there were no answers.
    """
    if before is None or len(before.class_N) != len(after.class_N):
        return np.arange(len(after.class_N))
    return np.flatnonzero((before.class_N != after.class_N) | (before.labeled_N != after.labeled_N))


@dataclass(frozen=True)
class PoolScores:
    """What the model of a round says of every item of the pool; in segmentation `teacher_probs_NC` are shares of the
    image.
    """

    teacher_probs_NC: np.ndarray
    confidence_N: np.ndarray
    disagreement_N: np.ndarray

    def renumbered(self, number_C: Sequence[int], classes: int) -> PoolScores:
        """Return the scores in other classes, see `renumbered`; an item's class is its likeliest one then."""
        if list(number_C) == list(range(classes)):
            return self
        teacher_NC = renumbered(self.teacher_probs_NC, number_C, classes)
        return replace(self, teacher_probs_NC=teacher_NC, confidence_N=teacher_NC.max(1))


def renumbered(probs_NC: np.ndarray, number_C: Sequence[int], classes: int) -> np.ndarray:
    """Return probabilities in other classes: those that became one are added up, those that are gone leave the rest.

    Parameters
    ----------
    probs_NC : ndarray
        (N, C) probabilities.
    number_C : sequence of int
        The new number of each class, −1 where it is gone.
    classes : int
        Number of classes there are now; one that nobody knew has probability 0.
    """
    if list(number_C) == list(range(classes)) and probs_NC.shape[1] == classes:
        return probs_NC
    found_NC = np.zeros((len(probs_NC), classes), probs_NC.dtype)
    for old, new in enumerate(number_C):
        if new >= 0:
            found_NC[:, new] += probs_NC[:, old]
    total_N1 = found_NC.sum(1, keepdims=True)
    return np.divide(found_NC, total_N1, out=np.full_like(found_NC, 1 / classes), where=total_N1 > 0)


def predictions_from(scores: PoolScores, label_N: np.ndarray) -> Predictions:
    """Combine a model's scores with the labels given (class numbers, -1 where there is none)."""
    labeled_N = label_N >= 0
    return Predictions(
        np.where(labeled_N, label_N, scores.teacher_probs_NC.argmax(1)),
        np.where(labeled_N, 1.0, scores.confidence_N),
        scores.disagreement_N,
        labeled_N,
    )


@dataclass(frozen=True)
class PoolMap:
    """The pool as the pretrained networks see it before the first label.

    Attributes
    ----------
    rows : ndarray
        (N,) pool rows that were looked at, ascending.
    xy_N2 : ndarray
        Their places on the map: the two first principal axes of the embedding.
    group_N : ndarray
        Group of look-alikes of each, from 0, the largest first.
    order : ndarray
        The rows in the order to ask: typical members of different groups first.
    """

    rows: np.ndarray
    xy_N2: np.ndarray
    group_N: np.ndarray
    order: np.ndarray

    def group(self, row: int) -> int | None:
        """Return the group of a pool row, None if it was not looked at."""
        place = int(np.searchsorted(self.rows, row))
        return int(self.group_N[place]) if place < len(self.rows) and self.rows[place] == row else None
