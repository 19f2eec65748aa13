"""Tests on paired differences over few seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

MOST_SEEDS = 20  # 2²⁰ sign patterns


def paired_t(difference_N: np.ndarray) -> tuple[float, float]:
    """Return Student's t of paired differences and its two-sided p; equal differences give (±inf, 0), or (0, 1) where
    all are 0.
    """
    if len(difference_N) < 2:
        return float("nan"), float("nan")
    mean = float(difference_N.mean())
    if difference_N.std(ddof=1) <= 1e-12 * abs(mean):  # rounding alone: scipy would divide by it
        return (0.0, 1.0) if mean == 0 else (float(np.copysign(np.inf, mean)), 0.0)
    found = stats.ttest_1samp(difference_N, 0.0)
    return float(found.statistic), float(found.pvalue)


def sign_flip(difference_N: np.ndarray) -> float:
    """Return the exact two-sided p of the mean: the share of all 2^n sign patterns with a mean at least
    as far from 0.
    """
    n = len(difference_N)
    if n > MOST_SEEDS:
        raise ValueError(f"{n} differences; the exact test takes {MOST_SEEDS} at most")
    if n == 1:
        return 1.0  # both patterns are as far from 0
    found = stats.permutation_test(  # an exchange within a pair (difference, 0) turns its sign
        (difference_N, np.zeros(n)),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
        batch=2**14,
    )
    return float(found.pvalue)


def holm(p_K: Sequence[float]) -> list[float]:
    """Return p-values corrected for K tests by Holm's step-down method (1979), in the order given."""
    adjusted = [0.0] * len(p_K)
    highest = 0.0
    for rank, k in enumerate(sorted(range(len(p_K)), key=lambda k: p_K[k])):
        highest = max(highest, min(1.0, (len(p_K) - rank) * p_K[k]))
        adjusted[k] = highest
    return adjusted


def bootstrap_interval(
    difference_N: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean.

    With few seeds it is too narrow: it describes, the tests decide.
    """
    if len(difference_N) == 1:
        return float(difference_N[0]), float(difference_N[0])
    found = stats.bootstrap(
        (difference_N,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def penalty_matrix(curves: Sequence[Mapping[int, np.ndarray]], alpha: float = 0.05) -> np.ndarray:
    """Return P[i, j], the share of budgets at which method i beats method j.

    i beats j at a budget where the paired t-test over their common seeds gives p < alpha and i's mean is higher
    (Ash et al., "Deep batch active learning by diverse, uncertain gradient lower bounds", ICLR 2020).

    Parameters
    ----------
    curves : sequence of mapping
        One per method: seed to (B,) values over the same B budgets.
    alpha : float
        Level of each test.

    Returns
    -------
    ndarray
        (methods, methods); NaN where two methods share fewer than two seeds, 0 on the diagonal.
    """
    matrix = np.zeros((len(curves), len(curves)))
    for i, a in enumerate(curves):
        for j, b in enumerate(curves):
            seeds = sorted(set(a) & set(b))
            if i == j:
                continue
            if len(seeds) < 2:
                matrix[i, j] = np.nan
                continue
            difference_SB = np.stack([a[s] - b[s] for s in seeds])
            found = [paired_t(difference_SB[:, budget]) for budget in range(difference_SB.shape[1])]
            matrix[i, j] = np.mean([t > 0 and p < alpha for t, p in found])
    return matrix
