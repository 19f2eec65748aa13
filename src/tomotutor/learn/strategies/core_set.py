"""Core-set: cover the pool."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy, fill
from tomotutor.learn.strategies.geometry import nearest


def centred(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings of candidates and labeled items about their common mean, which keeps float32 distances
    accurate.
    """
    x_ND, labeled_MD = candidates.teacher.embedding_ND, candidates.labeled.embedding_ND
    mean = np.concatenate([x_ND, labeled_MD]).mean(0, dtype=np.float64)
    return (x_ND - mean).astype(np.float32), (labeled_MD - mean).astype(np.float32)


class CoreSet(Strategy):
    """Ask what is farthest from everything labeled or already picked: k-centre greedy, L2 (Sener and Savarese, ICLR
    2018).
    """

    summary = "farthest first from all labeled items, in the teacher's embedding"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        x_ND, labeled_MD = centred(candidates)
        square_N = nearest(x_ND, labeled_MD)
        return np.where(np.isfinite(square_N), np.sqrt(square_N.astype(np.float64)), 0.0)

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        x_ND, labeled_MD = centred(candidates)
        norm_N = np.square(x_ND).sum(1)
        least = np.square(utility_N).astype(np.float32) if len(labeled_MD) else np.full(len(x_ND), np.inf, np.float32)
        picked: list[int] = []
        for _ in range(min(k, len(x_ND))):
            chosen = int(least.argmax())  # the first of equals, which is the one with the lowest row
            picked.append(chosen)
            np.minimum(least, np.maximum(norm_N + norm_N[chosen] - 2 * (x_ND @ x_ND[chosen]), 0), out=least)
            least[picked] = -1
        return fill(picked, utility_N, k, candidates)
