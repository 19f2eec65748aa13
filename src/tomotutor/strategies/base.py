"""What a query strategy is given, and what it must return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tomotutor.errors import TomoTutorError


@dataclass(frozen=True)
class Scores:
    """What one network says of some items.

    Attributes
    ----------
    log_probs_NC : ndarray
        float64; in segmentation the log of each class's share of the image.
    embedding_ND : ndarray
        float32.
    averages : dict of str to ndarray
        In segmentation: measures that were averaged over the pixels of each image, by name; else empty.
    """

    log_probs_NC: np.ndarray
    embedding_ND: np.ndarray
    averages: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def probs_NC(self) -> np.ndarray:
        """Softmax probabilities, float64."""
        return np.exp(self.log_probs_NC)

    @property
    def confidence_N(self) -> np.ndarray:
        """Probability of the best class; in segmentation its average over pixels."""
        return 1.0 - self.measure("least_confidence", lambda log_p: 1.0 - np.exp(log_p.max(1)))

    def measure(self, name: str, formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return a measure of each item: averaged over pixels where it was, else by `formula` from log_probs_NC."""
        return self.averages[name] if name in self.averages else formula(self.log_probs_NC)

    def take(self, index: np.ndarray) -> Scores:
        """Return the scores of some of the items."""
        return Scores(self.log_probs_NC[index], self.embedding_ND[index], {k: v[index] for k, v in self.averages.items()})

    @staticmethod
    def join(parts: Sequence[Scores]) -> Scores:
        """Return the scores of several batches as one."""
        averages = {k: np.concatenate([p.averages[k] for p in parts]) for k in parts[0].averages}
        return Scores(np.concatenate([p.log_probs_NC for p in parts]), np.concatenate([p.embedding_ND for p in parts]), averages)


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
    per_pixel = False  # whether it has a meaning in segmentation, where a network gives averages over pixels

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
