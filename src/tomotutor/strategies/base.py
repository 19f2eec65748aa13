"""What a query strategy is given, and what it must return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tomotutor.errors import TomoTutorError


@dataclass(frozen=True)
class Scores:
    """What one network says of some items: log_probs_NC (float64) and embedding_ND (float32)."""

    log_probs_NC: np.ndarray
    embedding_ND: np.ndarray

    @property
    def probs_NC(self) -> np.ndarray:
        """Softmax probabilities, float64."""
        return np.exp(self.log_probs_NC)

    def take(self, index: np.ndarray) -> Scores:
        """Return the scores of some of the items."""
        return Scores(self.log_probs_NC[index], self.embedding_ND[index])


class Candidates:
    """R_U, the random part of the unlabeled pool that one round ranks; networks run over it on first use, once.

    Parameters
    ----------
    rows : ndarray
        (N,) pool rows.
    score : callable
        Runs a named network ("teacher" or "student") over `rows`.
    rng : numpy Generator
        For strategies that draw.
    """

    def __init__(self, rows: np.ndarray, score: Callable[[str], Scores], rng: np.random.Generator) -> None:
        self.rows = rows
        self.rng = rng
        self._score = score

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def teacher(self) -> Scores:
        """What the teacher says of the candidates."""
        return self._score("teacher")

    @cached_property
    def student(self) -> Scores:
        """What the student says of the candidates."""
        return self._score("student")


class Strategy:
    """A way to decide what to ask next; subclasses implement `score`, batch methods also override `select`."""

    summary = ""  # one line for --help and the docs

    def score(self, candidates: Candidates) -> np.ndarray:
        """Return utility_N, float64: higher means ask first."""
        raise NotImplementedError

    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        """Return the k candidates to ask, best first, as indices into `candidates.rows`."""
        return rank(utility_N, candidates.rows)[:k]


def rank(utility_N: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Order candidates by falling utility; ties break by pool row, so the order does not depend on how R_U was drawn."""
    if np.isnan(utility_N).any():
        bad = int(np.isnan(utility_N).sum())
        raise TomoTutorError(f"scoring: {bad} of {len(utility_N)} utilities are NaN; the model is broken, retrain from scratch")
    return np.lexsort((rows, -utility_N))
