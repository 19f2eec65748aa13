"""MaxHerding and UHerding: cover the pool with kernels around labeled items, softly."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy, fill
from tomotutor.learn.strategies.core_set import centred
from tomotutor.learn.strategies.geometry import squared_distances, unit
from tomotutor.learn.strategies.uncertainty import margin

MOST_COVERED = 4096  # candidates that stand for the pool where there are more: the kernel is a matrix
AT_ONCE = 32  # candidates whose gain is computed together


def _kernel(x_ND: np.ndarray, y_MD: np.ndarray, square: np.float32) -> np.ndarray:
    """Return exp(−‖x_i − y_j‖²/σ²), (N, M) float32."""
    kernel_NM = squared_distances(x_ND, y_MD)
    kernel_NM /= -square
    return np.exp(kernel_NM, out=kernel_NM)


def _gain(kernel_NP: np.ndarray, weight_P: np.ndarray, by_P: np.ndarray) -> np.ndarray:
    """Return what each candidate covers that is not covered yet, (N,) float64."""
    more_NP = kernel_NP - by_P
    return (np.maximum(more_NP, 0, out=more_NP) @ weight_P).astype(np.float64)


class MaxHerding(Strategy):
    """Ask what covers most of what is not covered yet (Bae, Noh and Sutherland, ECCV 2024, arXiv 2407.12212).

    utility(x̃) = Σ_n max(k(x_n, x̃) − max_{x' ∈ L} k(x_n, x'), 0), k(x, x') = exp(−‖h − h'‖²/σ²), greedily; h is the
    teacher's embedding about the mean of candidates and labeled items, at length 1, σ = 1, n runs over the candidates.
    """

    summary = "what covers most of the candidates by a kernel, in the teacher's embedding"
    _made: tuple[Candidates, np.ndarray, np.ndarray, np.ndarray] | None = None  # kernels, from scoring to selecting

    def bandwidth(self, labeled_MD: np.ndarray) -> float:
        """Return σ."""
        return 1.0

    def weight(self, candidates: Candidates) -> np.ndarray:
        """Return what covering each candidate is worth (N,)."""
        return np.ones(len(candidates))

    def _kernels(self, candidates: Candidates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return k between candidates (rows) and what is to be covered (columns), the weights of the latter, and their
        cover by labeled items.
        """
        x_ND, labeled_MD = (unit(h) for h in centred(candidates))
        square = np.float32(self.bandwidth(labeled_MD) ** 2)
        covered = np.unique(np.linspace(0, len(x_ND) - 1, min(len(x_ND), MOST_COVERED)).astype(np.int64))
        by_labeled_P = np.zeros(len(covered), np.float32)
        if len(labeled_MD):
            by_labeled_P = _kernel(x_ND[covered], labeled_MD, square).max(1)
        weight_P = self.weight(candidates)[covered].astype(np.float32)
        return _kernel(x_ND, x_ND[covered], square), weight_P, by_labeled_P

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        kernel_NP, weight_P, by_P = self._kernels(candidates)
        self._made = candidates, kernel_NP, weight_P, by_P
        gain_N = np.empty(len(kernel_NP))
        for start in range(0, len(kernel_NP), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            gain_N[part] = _gain(kernel_NP[part], weight_P, by_P)
        return gain_N

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        made, self._made = self._made, None
        kernel_NP, weight_P, by_P = (
            made[1:] if made is not None and made[0] is candidates else self._kernels(candidates)
        )
        # lazily (Minoux, 1978): what an item gains only falls while others are picked, so that of most of them the old
        # gain, which is below the best new one, is enough
        most_N, picked = utility_N.copy(), list[int]()
        while len(picked) < min(k, len(candidates)):
            by_falling, best = np.argsort(-most_N, kind="stable"), -np.inf
            for start in range(0, len(by_falling), AT_ONCE):
                part = by_falling[start : start + AT_ONCE]
                if best > most_N[part[0]]:
                    break
                most_N[part] = _gain(kernel_NP[part], weight_P, by_P)
                most_N[picked] = -1
                best = max(best, most_N[part].max())
            picked.append(int(most_N.argmax()))
            by_P = np.maximum(by_P, kernel_NP[picked[-1]])
            most_N[picked] = -1
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
