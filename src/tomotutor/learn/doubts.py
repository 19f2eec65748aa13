"""Labels that look wrong: each is held against a head that has not seen it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomotutor.learn.head import Head


@dataclass(frozen=True)
class Doubts:
    """All labels that a head could be asked about, the one that looks most wrong in front.

    Attributes
    ----------
    rows : ndarray
        (L,) pool rows.
    label_L, predicted_L : ndarray of int
        What the person said, and what a head says that has not seen this label nor those of its group.
    doubt_L : ndarray
        log p(predicted) − log p(label), nats: 0 and less where they agree.
    """

    rows: np.ndarray
    label_L: np.ndarray
    predicted_L: np.ndarray
    doubt_L: np.ndarray

    def wrong(self, least: float = 0.0) -> np.ndarray:
        """Return the rows whose doubt is above `least`, best first."""
        return self.rows[self.doubt_L > least]


def find_doubts(*heads: Head) -> Doubts:
    """Rank the labels of one or several heads by how much speaks against them.

    The score is the self-confidence margin of confident learning (Northcutt, Jiang and Chuang, JAIR 2021), in
    logarithms: max over the other classes of log p − log p(label), p the mean over the heads of their held-out answers.

    Parameters
    ----------
    *heads : Head
        Fitted on the same labels with folds, for example on the teacher's and on the student's embedding; overlapping
        picks share a fold where `fit_head` was given their groups.

    Returns
    -------
    Doubts
        Without the labels whose class the head of the other folds did not know: it has no opinion on them.
    """
    first = heads[0]
    probs_LC = np.mean([np.exp(head.held_out_LC) for head in heads], axis=0)
    index = np.arange(len(first.rows))
    told_L = np.isfinite(first.held_out_LC[index, first.label_L])
    with np.errstate(divide="ignore"):
        log_p_LC = np.log(np.maximum(probs_LC, 1e-30))
    other_LC = log_p_LC.copy()
    other_LC[index, first.label_L] = -np.inf
    doubt_L = other_LC.max(1) - log_p_LC[index, first.label_L]
    kept = np.flatnonzero(told_L)
    order = kept[np.lexsort((first.rows[kept], -doubt_L[kept]))]
    return Doubts(first.rows[order], first.label_L[order], log_p_LC[order].argmax(1), doubt_L[order])
