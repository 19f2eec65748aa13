import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tomotutor.benchmark.statistics import bootstrap_interval, holm, paired_t, penalty_matrix, sign_flip

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [2, 3, 7, 10])
def test_paired_t_is_scipys(n):
    a, b = RNG.normal(0.3, 1, n), RNG.normal(0, 1, n)
    expected = stats.ttest_rel(a, b)
    assert paired_t(a - b) == pytest.approx((expected.statistic, expected.pvalue))


def test_paired_t_of_equal_differences():
    assert paired_t(np.zeros(5)) == (0.0, 1.0)
    assert paired_t(np.full(5, 0.1)) == (math.inf, 0.0)
    assert paired_t(np.full(5, -0.1)) == (-math.inf, 0.0)
    assert all(map(math.isnan, paired_t(np.array([0.2]))))


@pytest.mark.parametrize("n", [1, 3, 6, 9])
def test_sign_flip_counts_every_pattern(n):
    difference = np.round(RNG.normal(0.5, 1, n), 1)  # rounded: ties occur
    as_far = 0
    for signs in itertools.product((1, -1), repeat=n):
        total = math.fsum(s * d for s, d in zip(signs, difference.tolist(), strict=True))
        as_far += abs(total) >= abs(math.fsum(difference.tolist())) - 1e-9
    assert sign_flip(difference) == as_far / 2**n


def test_sign_flip_is_scipys_exact_permutation_test():
    a, b = RNG.normal(0.4, 1, 8), RNG.normal(0, 1, 8)
    found = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(a - b) == pytest.approx(found.pvalue)


def test_seven_seeds_are_needed_for_three_comparators():
    """The smallest p of n seeds is 2 / 2ⁿ; after Holm over three comparators the best of them is three times that."""
    p = [sign_flip(np.full(n, 0.01)) for n in (6, 7)]
    assert p == [2 / 64, 2 / 128]
    assert [max(holm([x] * 3)) < 0.05 for x in p] == [False, True]


def test_too_many_seeds_for_the_exact_test():
    with pytest.raises(ValueError, match="20 at most"):
        sign_flip(np.ones(21))


def test_holm():
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3·0.01; 2·0.03; 1·0.04 is raised to 0.06
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    p = RNG.random(6).tolist()
    for k, value in enumerate(p):  # the definition: the largest of (K − rank)·p over all p that are not larger
        expected = max((sum(q >= other for q in p)) * other for other in p if other <= value)
        assert holm(p)[k] == pytest.approx(min(1.0, expected))


def test_bootstrap_interval_is_scipys_percentile_interval():
    difference = RNG.normal(0.2, 1, 10)
    low, high = bootstrap_interval(difference)
    expected = stats.bootstrap(
        (difference,), np.mean, method="percentile", n_resamples=20_000, random_state=1
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.03)
    assert bootstrap_interval(np.full(4, 0.5)) == (0.5, 0.5)


def test_penalty_matrix():
    base = {seed: RNG.normal(0.8, 0.01, 4) for seed in range(5)}
    better = {seed: values + np.array([0.0, 0.1, 0.1, 0.1]) + RNG.normal(0, 1e-3, 4) for seed, values in base.items()}
    noisy = {seed: values + RNG.normal(0, 0.3, 4) for seed, values in base.items()}
    alone = {9: np.ones(4)}
    matrix = penalty_matrix([base, better, noisy, alone])
    expected = np.zeros((3, 3))
    curves = [base, better, noisy]
    for i, j, budget in itertools.product(range(3), range(3), range(4)):
        if i != j:
            a, b = ([curve[seed][budget] for seed in range(5)] for curve in (curves[i], curves[j]))
            found = stats.ttest_rel(a, b)
            expected[i, j] += (found.pvalue < 0.05 and np.mean(a) > np.mean(b)) / 4
    np.testing.assert_allclose(matrix[:3, :3], expected)
    assert matrix[1, 0] >= 0.75
    assert np.isnan(matrix[3, :3]).all()
    assert np.isnan(matrix[:3, 3]).all()
