"""For the first few labels, when no network knows much: clusters and covers of self-supervised features."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy, fill
from tomotutor.learn.strategies.geometry import blocks, k_means, nearest, unit

NEIGHBOURS = 20
PURITY = 0.95


def typicality(x_ND: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Return 1 / (mean distance to the nearest neighbours) of each row, float64; fewer neighbours where there are no
    more rows.
    """
    k = min(neighbours, len(x_ND) - 1)
    if k < 1:
        return np.ones(len(x_ND))
    mean_N = np.zeros(len(x_ND))
    for part, square in blocks(x_ND, x_ND):
        square[np.arange(len(square)), np.arange(part.start, part.stop)] = np.inf  # not its own neighbour
        mean_N[part] = np.sqrt(np.partition(square, k - 1, axis=1)[:, :k].astype(np.float64)).mean(1)
    return 1.0 / np.maximum(mean_N, 1e-7)


class TypiClust(Strategy):
    """Ask the most typical item of each cluster that has fewest labels (Hacohen, Dekel and Weinshall, ICML 2022).

    min(|X_L| + M, 500, N/20) clusters of the self-supervised features of candidates and labeled items; those of up to 5
    items are left out.
    """

    summary = "the typical item of each cluster without labels (self-supervised features)"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return typicality(unit(candidates.features))[: len(candidates)]

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        x_ND, n = unit(candidates.features), len(candidates)
        clusters = max(1, min(len(candidates.labeled_rows) + k, 500, len(x_ND) // 20))
        cluster_N = k_means(x_ND, clusters, candidates.rng)
        size = np.bincount(cluster_N)
        labels = np.bincount(cluster_N[n:], minlength=len(size))
        kept = np.flatnonzero(size > 5) if (size > 5).any() else np.array([size.argmax()])
        waiting = []  # a cluster each, fewest labels first (then the largest): its unlabeled items, most typical first
        for c in kept[np.lexsort((kept, -size[kept], labels[kept]))]:
            inside = np.flatnonzero(cluster_N == c)
            ranked = inside[np.argsort(-typicality(x_ND[inside]), kind="stable")]
            waiting.append(ranked[ranked < n].tolist())
        picked: list[int] = []
        for turn in range(max(map(len, waiting))):
            picked += [items[turn] for items in waiting if turn < len(items)]
            if len(picked) >= k:
                break
        return fill(picked[:k], utility_N, k, candidates)


def ball_radius(x_ND: np.ndarray, cluster_N: np.ndarray, purity: float = PURITY) -> float:
    """Return δ, the largest radius at which a share `purity` of the balls holds rows of one cluster only.

    A ball is pure as long as δ does not exceed the distance to the nearest row of another cluster, so δ is a quantile
    of these distances and no search is needed.
    """
    foreign_N = np.full(len(x_ND), np.inf)
    for part, square in blocks(x_ND, x_ND):
        square[cluster_N[part, None] == cluster_N] = np.inf
        foreign_N[part] = np.sqrt(square.min(1))
    found = np.sort(foreign_N)[int((1 - purity) * len(foreign_N))]
    return (
        float(found) if np.isfinite(found) else float(2 * np.sqrt(np.square(x_ND).sum(1).max()) + 1)
    )  # one cluster: all of it


class ProbCover(Strategy):
    """Cover as much as possible with balls around labeled items (Yehuda et al., NeurIPS 2022): greedy, most new items
    first.

    The radius δ is the largest at which 95 % of the balls are pure; pseudo-labels are as many clusters as there are
    classes.
    """

    summary = "greedy cover by pure balls (self-supervised features)"

    _last: tuple[Candidates, list[np.ndarray], np.ndarray] | None = None

    def _cover(self, candidates: Candidates) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the candidates within δ of each candidate (itself among them), and which are covered by
        labeled items.
        """
        if (
            self._last is None or self._last[0] is not candidates
        ):  # `score` and `select` both need it, and it is all of the cost
            self._last = (candidates, *self._find_cover(candidates))
        return self._last[1], self._last[2].copy()

    def _find_cover(self, candidates: Candidates) -> tuple[list[np.ndarray], np.ndarray]:
        x_ND, n = unit(candidates.features), len(candidates)
        classes = candidates.teacher.log_probs_NC.shape[1]
        radius = ball_radius(x_ND, k_means(x_ND, classes, np.random.default_rng(self.recipe.seed)))
        near: list[np.ndarray] = []
        for part, square in blocks(x_ND[:n], x_ND[:n]):
            square[np.arange(len(square)), np.arange(part.start, part.stop)] = -1
            near += [np.flatnonzero(row < radius**2).astype(np.int32) for row in square]
        return near, nearest(x_ND[:n], x_ND[n:]) < radius**2

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        near, covered_N = self._cover(candidates)
        return np.array([float((~covered_N[inside]).sum()) for inside in near])

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        near, covered_N = self._cover(candidates)
        gain_N = utility_N.copy()
        picked: list[int] = []
        while len(picked) < min(k, len(candidates)) and gain_N.max() > 0:
            chosen = int(gain_N.argmax())
            picked.append(chosen)
            new = near[chosen][~covered_N[near[chosen]]]
            covered_N[new] = True
            for i in new:  # being within δ is mutual: whoever had this item in its ball gains one less
                gain_N[near[i]] -= 1
            gain_N[chosen] = 0
        return fill(picked, utility_N, k, candidates)
