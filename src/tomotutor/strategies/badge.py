"""BADGE: large and different gradients."""

from __future__ import annotations

import numpy as np

from tomotutor.strategies.base import Candidates, Strategy, fill
from tomotutor.strategies.geometry import spread


def gradient_factors(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return (p − 1_ŷ) and h, whose outer product is the gradient of the classifier's weights at the predicted class ŷ."""
    error_NC = candidates.teacher.probs_NC
    error_NC[np.arange(len(error_NC)), error_NC.argmax(1)] -= 1
    return error_NC, candidates.teacher.embedding_ND


class Badge(Strategy):
    """k-means++ over the gradients g = (p − 1_ŷ) ⊗ h (Ash et al., ICLR 2020), beginning with the largest.

    ⟨g_i, g_j⟩ = ⟨e_i, e_j⟩⟨h_i, h_j⟩, so no vector of C·D numbers is ever made.
    """

    summary = "k-means++ over the gradients of the last layer"

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        error_NC, h_ND = gradient_factors(candidates)
        return np.linalg.norm(error_NC, axis=1) * np.linalg.norm(h_ND.astype(np.float64), axis=1)

    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:  # noqa: D102
        if not k:
            return np.zeros(0, np.int64)
        error_NC, h_ND = gradient_factors(candidates)
        norm_N = np.square(utility_N)

        def square_to(i: int) -> np.ndarray:
            return norm_N + norm_N[i] - 2 * (error_NC @ error_NC[i]) * (h_ND @ h_ND[i])

        return fill(spread(int(utility_N.argmax()), square_to, k, candidates.rng), utility_N, k, candidates)
