"""Clusters of what is uncertain: the middle of each, so that an item stands for many that would be answered by the same label."""

from __future__ import annotations

import numpy as np

from tomotutor.strategies.base import Candidates, Strategy, fill
from tomotutor.strategies.geometry import k_means, squared_distances, unit
from tomotutor.strategies.uncertainty import entropy


class PairClue(Strategy):
    """Uncertainty-weighted clusters (CLUE, Prabhu et al., ICCV 2021) with the pair's mean answer p̄ = (p_T + p_S) / 2.

    k-means of the teacher's embeddings with the weights H(p̄), M clusters; asked is the candidate next to each centre, the heaviest
    cluster first. H(p̄) is the mean entropy of the two answers plus their Jensen-Shannon divergence. While the pair is unsure of nearly
    everything the centres are typical items; when it knows most of the pool they gather where it does not.
    """

    summary = "the middle of each cluster of what the pair is unsure of (ours)"

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        return entropy((candidates.teacher.probs_NC + candidates.student.probs_NC) / 2)

    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:  # noqa: D102
        x_ND = unit(candidates.teacher.embedding_ND)
        cluster_N, centres = k_means(x_ND, k, candidates.rng, utility_N)
        mass = np.bincount(cluster_N, utility_N, len(centres))
        picked: list[int] = []
        for c in np.argsort(-mass, kind="stable"):
            inside = np.flatnonzero(cluster_N == c)
            if len(inside):
                picked.append(int(inside[squared_distances(x_ND[inside], centres[c : c + 1])[:, 0].argmin()]))
        return fill(picked, utility_N, k, candidates)
