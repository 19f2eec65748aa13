"""BADGE: large and different gradients; of the teacher, of the pair's mean answer, or of what divides teacher and
student.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy, fill
from tomotutor.learn.strategies.geometry import spread


def gradient_factor(probs_NC: np.ndarray) -> np.ndarray:
    """Return p − 1_ŷ: its outer product with h is the gradient of the classifier's weights at the predicted class ŷ."""
    error_NC = probs_NC.copy()
    error_NC[np.arange(len(error_NC)), error_NC.argmax(1)] -= 1
    return error_NC


class Badge(Strategy):
    """k-means++ over the gradients g = (p − 1_ŷ) ⊗ h (Ash et al., ICLR 2020), beginning with the largest.

    ⟨g_i, g_j⟩ = ⟨e_i, e_j⟩⟨h_i, h_j⟩, so no vector of C·D numbers is ever made.
    """

    summary = "k-means++ over the gradients of the last layer"

    def factor(self, candidates: Candidates) -> np.ndarray:
        """Return e (N, C), what the embedding h is multiplied with."""
        return gradient_factor(candidates.teacher.probs_NC)

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        h_ND = candidates.teacher.embedding_ND.astype(np.float64)
        return np.linalg.norm(self.factor(candidates), axis=1) * np.linalg.norm(h_ND, axis=1)

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        if not k:
            return np.zeros(0, np.int64)
        error_NC, h_ND = self.factor(candidates), candidates.teacher.embedding_ND
        norm_N = np.square(utility_N)

        def square_to(i: int) -> np.ndarray:
            return norm_N + norm_N[i] - 2 * (error_NC @ error_NC[i]) * (h_ND @ h_ND[i])

        return fill(spread(int(utility_N.argmax()), square_to, k, candidates.rng), utility_N, k, candidates)


class PairBadge(Badge):
    """BADGE of the pair's mean answer p̄ = (p_T + p_S) / 2: what the two do not agree on is uncertain, however sure
    each of them is.
    """

    summary = "k-means++ over the gradients of the pair's mean answer (ours)"

    @override
    def factor(self, candidates: Candidates) -> np.ndarray:
        return gradient_factor((candidates.teacher.probs_NC + candidates.student.probs_NC) / 2)


class Residual(Badge):
    """k-means++ over (p_T − p_S) ⊗ h: items of large disagreement that disagree in different ways about different
    things.
    """

    summary = "k-means++ over what divides teacher and student (ours)"

    @override
    def factor(self, candidates: Candidates) -> np.ndarray:
        return candidates.teacher.probs_NC - candidates.student.probs_NC
