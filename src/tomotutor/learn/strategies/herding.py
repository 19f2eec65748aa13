"""MaxHerding and UHerding: cover the pool with kernels around labeled items, softly."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy, fill
from tomotutor.learn.strategies.core_set import centred
from tomotutor.learn.strategies.geometry import squared_distances, unit
from tomotutor.learn.strategies.uncertainty import margin

MOST_COVERED = 4096  # candidates that stand for the pool where there are more: the kernel is a matrix


class MaxHerding(Strategy):
    """Ask what covers most of what is not covered yet (Bae, Noh and Sutherland, ECCV 2024, arXiv 2407.12212).

    utility(x̃) = Σ_n max(k(x_n, x̃) − max_{x' ∈ L} k(x_n, x'), 0), k(x, x') = exp(−‖h − h'‖²/σ²), greedily; h is the
    teacher's embedding about the mean of candidates and labeled items, at length 1, σ = 1, n runs over the candidates.
    """

    summary = "what covers most of the candidates by a kernel, in the teacher's embedding"

    def bandwidth(self, labeled_MD: np.ndarray) -> float:
        """Return σ."""
        return 1.0

    def weight(self, candidates: Candidates) -> np.ndarray:
        """Return what covering each candidate is worth (N,)."""
        return np.ones(len(candidates))

    def _kernels(self, candidates: Candidates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return k between candidates (columns) and what is to be covered (rows), its weights, and its cover by labeled
        items.
        """
        x_ND, labeled_MD = (unit(h) for h in centred(candidates))
        square = np.float32(self.bandwidth(labeled_MD) ** 2)
        covered = np.unique(np.linspace(0, len(x_ND) - 1, min(len(x_ND), MOST_COVERED)).astype(np.int64))
        kernel_PN = np.exp(-squared_distances(x_ND[covered], x_ND) / square)
        by_labeled_P = np.zeros(len(covered), np.float32)
        if len(labeled_MD):
            by_labeled_P = np.exp(-squared_distances(x_ND[covered], labeled_MD) / square).max(1)
        return kernel_PN, self.weight(candidates)[covered], by_labeled_P

    @staticmethod
    def _gain(kernel_PN: np.ndarray, weight_P: np.ndarray, by_P: np.ndarray) -> np.ndarray:
        return (weight_P @ np.maximum(kernel_PN - by_P[:, None], 0)).astype(np.float64)

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return self._gain(*self._kernels(candidates))

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        kernel_PN, weight_P, by_P = self._kernels(candidates)
        picked: list[int] = []
        gain_N = utility_N.copy()
        while len(picked) < min(k, len(candidates)):
            picked.append(int(gain_N.argmax()))
            by_P = np.maximum(by_P, kernel_PN[:, picked[-1]])
            gain_N = self._gain(kernel_PN, weight_P, by_P)
            gain_N[picked] = -1
        return fill(picked, utility_N, k, candidates)


class UHerding(MaxHerding):
    """MaxHerding, each candidate weighed by how unsure the teacher is of it (Bae et al., arXiv 2412.20644).

    Weight 1 − (p₁ − p₂); σ is the smallest distance between two labeled items, so that the more are labeled, the more
    uncertainty counts and the less cover. The paper's temperature is the round's own (`calibration`); without labels it
    is MaxHerding.
    """

    summary = "MaxHerding, weighed by the teacher's margin"

    @override
    def bandwidth(self, labeled_MD: np.ndarray) -> float:
        square_MM = squared_distances(labeled_MD, labeled_MD)
        apart = square_MM[np.triu_indices(len(labeled_MD), 1)]
        apart = apart[apart > 1e-6]
        return float(np.sqrt(apart.min())) if len(apart) else 1.0

    @override
    def weight(self, candidates: Candidates) -> np.ndarray:
        if not len(candidates.labeled_rows):
            return np.ones(len(candidates))
        return 1 - margin(candidates.teacher.log_probs_NC)
