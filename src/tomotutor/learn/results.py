"""What networks say of a pool, frozen and free of torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """The answer for every item, in the order of the list.

    Attributes
    ----------
    class_N : ndarray of int
        Class number from 0; a labeled item keeps its label. In segmentation the class that the teacher gives most of
        the image.
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

    def take(self, rows: slice | np.ndarray) -> Predictions:
        """Return the answers for some of the items."""
        return Predictions(self.class_N[rows], self.confidence_N[rows], self.disagreement_N[rows], self.labeled_N[rows])


@dataclass(frozen=True)
class PoolScores:
    """What the model of a round says of every item of the pool; in segmentation `teacher_probs_NC` are shares of the
    image.
    """

    teacher_probs_NC: np.ndarray
    confidence_N: np.ndarray
    disagreement_N: np.ndarray


@dataclass(frozen=True)
class Look:
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
