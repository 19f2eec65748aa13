"""Map of the pool: look-alikes, as pretrained networks see it before anybody has labeled anything."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomotutor.learn.results import PoolMap
from tomotutor.learn.strategies.geometry import k_means, squared_distances, unit

MOST_ITEMS = 20_000  # looked at in a larger pool; the rest waits for the first round


def map_pool(embed: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, *, groups: int, seed: int) -> PoolMap:
    """Put items on a map, and group those that look alike.

    Parameters
    ----------
    embed : callable
        Returns the embedding (N, D) of some pool rows.
    rows : ndarray
        Which items may be asked; of more than `MOST_ITEMS` a random part.
    groups : int
        Number of groups: k-means of the embedding scaled to length 1.
    seed : int
        Of what is random.

    Returns
    -------
    PoolMap
        Its order takes the most typical item of each group in turn, of the largest group first, then the second most
        typical ones, and so on: typical is who lies nearest to the group's centre.
    """
    from sklearn.decomposition import PCA

    rng = np.random.default_rng([seed, 0x100C])
    if len(rows) > MOST_ITEMS:
        rows = rng.choice(rows, MOST_ITEMS, replace=False)
    rows = np.sort(rows)
    x_ND = unit(embed(rows))
    some_ND = x_ND[:: max(1, len(rows) // 5000)]
    axes = min(2, *some_ND.shape)
    xy_N2 = np.zeros((len(rows), 2), np.float32)
    xy_N2[:, :axes] = PCA(axes, svd_solver="full").fit(some_ND).transform(x_ND)
    group_N = k_means(x_ND, max(1, min(groups, len(rows) // 2)), rng)
    # groups by size, the largest first
    names, group_N, size = np.unique(group_N, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), np.int64)
    rank[np.lexsort((names, -size))] = np.arange(len(names))
    group_N = rank[group_N]
    turn_N = np.zeros(len(rows), np.int64)
    for g in range(len(names)):
        inside = np.flatnonzero(group_N == g)
        away = squared_distances(x_ND[inside], x_ND[inside].mean(0, keepdims=True))[:, 0]
        turn_N[inside[np.argsort(away, kind="stable")]] = np.arange(len(inside))
    return PoolMap(rows, xy_N2, group_N, rows[np.lexsort((group_N, turn_N))])
