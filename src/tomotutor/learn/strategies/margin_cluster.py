"""Margin, spread out: unsure items that do not look alike."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, fill, rank
from tomotutor.learn.strategies.geometry import k_means, squared_distances, unit
from tomotutor.learn.strategies.uncertainty import Margin

POOLED = 8  # times M


def nearest_to_centres(x_ND: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return the row nearest to the centre of each of k clusters, the largest cluster first."""
    cluster_N = k_means(x_ND, k, rng)
    picked = []
    size = np.bincount(cluster_N)
    for c in sorted(np.unique(cluster_N).tolist(), key=lambda c: (-size[c], c)):
        inside = np.flatnonzero(cluster_N == c)
        away = squared_distances(x_ND[inside], x_ND[inside].mean(0, keepdims=True))[:, 0]
        picked.append(int(inside[away.argmin()]))
    return np.array(picked, np.int64)


class MarginCluster(Margin):
    """The 8·M candidates of smallest margin, k-means of their embeddings at length 1 into M clusters, and of each
    the item nearest to the centre; in the order of their margins.

    After Cluster-Margin (Citovsky et al., NeurIPS 2021), with k-means in the place of its hierarchical clusters.
    """

    summary = "smallest margins, one of each of M clusters"

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        if not k:
            return np.zeros(0, np.int64)
        unsure = rank(utility_N, candidates.rows)[: POOLED * k]
        h_ND = unit(candidates.teacher.embedding_ND[unsure])
        picked = unsure[nearest_to_centres(h_ND, k, candidates.rng)]
        return fill(picked[np.lexsort((candidates.rows[picked], -utility_N[picked]))], utility_N, k, candidates)
