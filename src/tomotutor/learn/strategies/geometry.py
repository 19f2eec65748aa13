"""Distances and clusters of embeddings; matrix products in float32, so that 25,000 × 512 is a matter of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

BLOCK = 2**25  # distances held at a time (128 MB)


def squared_distances(a_ND: np.ndarray, b_MD: np.ndarray) -> np.ndarray:
    """Return ‖a_i − b_j‖² as (N, M) float32, never negative."""
    square_NM = a_ND @ (-2 * b_MD).T
    square_NM += np.square(a_ND).sum(1)[:, None]
    square_NM += np.square(b_MD).sum(1)
    return np.maximum(square_NM, 0, out=square_NM)


def blocks(x_ND: np.ndarray, y_MD: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield squared distances of a few rows of x at a time to all of y."""
    size = max(1, BLOCK // max(1, len(y_MD)))
    for start in range(0, len(x_ND), size):
        part = slice(start, min(start + size, len(x_ND)))
        yield part, squared_distances(x_ND[part], y_MD)


def nearest(x_ND: np.ndarray, centres_MD: np.ndarray) -> np.ndarray:
    """Return the squared distance of each row to its nearest centre; inf where there is no centre."""
    found = np.full(len(x_ND), np.inf, np.float32)
    if len(centres_MD):
        for part, square in blocks(x_ND, centres_MD):
            found[part] = square.min(1)
    return found


def spread(first: int, square_to: Callable[[int], np.ndarray], k: int, rng: np.random.Generator) -> list[int]:
    """Draw k points by k-means++ (Arthur and Vassilvitskii, SODA 2007): each with probability ∝ D², beginning with
    `first`.

    `square_to(i)` returns the squared distance of all points to point i. Fewer than k where all others coincide with
    those drawn.
    """
    picked = [first]
    least = np.maximum(square_to(first).astype(np.float64), 0)
    least[first] = 0
    while len(picked) < k:
        total = np.cumsum(least)
        if not total[-1] > 0:
            break
        chosen = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
        picked.append(chosen)
        np.minimum(least, np.maximum(square_to(chosen), 0), out=least)
        least[chosen] = 0
    return picked


def k_means(x_ND: np.ndarray, k: int, rng: np.random.Generator, iterations: int = 50) -> np.ndarray:
    """Return the cluster of each row: scikit-learn's k-means from a start by `spread`; fewer than k clusters where rows
    coincide.
    """
    from sklearn.cluster import KMeans  # not before it is needed: it takes long to import

    norm_N = np.square(x_ND).sum(1)
    start = spread(int(rng.integers(len(x_ND))), lambda i: norm_N + norm_N[i] - 2 * (x_ND @ x_ND[i]), k, rng)
    return KMeans(len(start), init=x_ND[start], n_init=1, max_iter=iterations, tol=0).fit_predict(x_ND)


def unit(x_ND: np.ndarray) -> np.ndarray:
    """Scale rows to length 1 (zero rows stay)."""
    length = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return (x_ND / np.where(length > 0, length, 1)).astype(np.float32)
