"""Picks that overlap: nearer to each other than a radius, in one tomogram."""

from __future__ import annotations

import numpy as np


def overlapping(xyz_N3: np.ndarray, tomogram_N: np.ndarray, radius: float) -> np.ndarray:
    """Return a number for each pick: picks of one tomogram nearer to each other than a radius have the same, and so do
    those that a chain of such picks joins.

    Parameters
    ----------
    xyz_N3 : ndarray
        Positions, in any unit.
    tomogram_N : ndarray
        Tomogram of each.
    radius : float
        In the unit of the positions; a distance of exactly this overlaps, too.

    Returns
    -------
    ndarray
        (N,) the lowest row of those that overlap; its own row where a pick is alone. It serves as `group_N` of
        `tomotutor.learn.head.fit_head`; where it occurs more than once, the picks are to be flagged.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    n = len(xyz_N3)
    pairs = [np.zeros((0, 2), np.int64)]
    for name in np.unique(tomogram_N):
        inside = np.flatnonzero(tomogram_N == name)
        pairs.append(inside[cKDTree(xyz_N3[inside]).query_pairs(radius, output_type="ndarray")])
    pair_P2 = np.concatenate(pairs)
    graph = coo_array((np.ones(len(pair_P2)), pair_P2.T), shape=(n, n))
    component_N = connected_components(graph, directed=False)[1]
    return np.unique(component_N, return_index=True)[1][component_N]
