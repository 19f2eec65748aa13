"""Uncertainty of the teacher alone: entropy, margin, least confidence."""

from __future__ import annotations

import numpy as np

from tomotutor.strategies.base import Candidates, Strategy


class Entropy(Strategy):
    """Ask where the teacher's distribution is widest: −Σ p log p, in nats."""

    summary = "entropy of the teacher's softmax"

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        log_p = candidates.teacher.log_probs_NC
        p = np.exp(log_p)
        return -np.where(p > 0, p * log_p, 0.0).sum(1)


class Margin(Strategy):
    """Ask where the two most probable classes are closest: −(p₁ − p₂)."""

    summary = "smallest gap between the teacher's two best classes"

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        top_two = np.partition(candidates.teacher.probs_NC, -2, axis=1)[:, -2:]
        return top_two[:, 0] - top_two[:, 1]


class LeastConfidence(Strategy):
    """Ask where the best class is least probable: 1 − p₁."""

    summary = "smallest probability of the teacher's best class"

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        return 1.0 - candidates.teacher.probs_NC.max(1)
