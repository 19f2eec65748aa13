"""Uncertainty of the teacher alone: entropy, margin, least confidence."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy


def entropy(probs_NC: np.ndarray) -> np.ndarray:
    """−Σ p log p over the last axis, in nats; 0·log 0 is 0."""
    log_p = np.log(np.where(probs_NC > 0, probs_NC, 1.0))
    return -(probs_NC * log_p).sum(-1)


class Entropy(Strategy):
    """Ask where the teacher's distribution is widest: −Σ p log p, in nats."""

    summary = "entropy of the teacher's softmax"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return candidates.teacher.measure("entropy", lambda log_p: entropy(np.exp(log_p)))


class Margin(Strategy):
    """Ask where the two most probable classes are closest: −(p₁ − p₂)."""

    summary = "smallest gap between the teacher's two best classes"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        def margin(log_p: np.ndarray) -> np.ndarray:
            top_two = np.partition(np.exp(log_p), -2, axis=1)[:, -2:]
            return top_two[:, 1] - top_two[:, 0]

        return -candidates.teacher.measure("margin", margin)


class LeastConfidence(Strategy):
    """Ask where the best class is least probable: 1 − p₁."""

    summary = "smallest probability of the teacher's best class"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return 1.0 - candidates.teacher.confidence_N
