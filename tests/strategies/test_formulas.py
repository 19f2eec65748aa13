"""Each formula against plain loops in float64."""

import math

import numpy as np
import pytest
import torch

from helpers import make_candidates
from tomotutor.strategies import STRATEGIES, disagreement


@pytest.fixture
def candidates():
    return make_candidates(n=20, classes=5)


def test_teacher_student_is_kl_of_teacher_and_student(candidates):
    p_T, p_S = candidates.teacher.probs_NC, candidates.student.probs_NC
    expected = [sum(t * math.log(t / s) for t, s in zip(pt, ps, strict=True)) for pt, ps in zip(p_T, p_S, strict=True)]
    got = STRATEGIES["teacher_student"]().score(candidates)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    # torch's kl_div takes the second distribution first; the other way round is another number
    theirs = torch.nn.functional.kl_div(torch.tensor(np.log(p_S)), torch.tensor(p_T), reduction="none").sum(1)
    np.testing.assert_allclose(got, theirs.numpy(), rtol=1e-9)
    assert not np.allclose(got, disagreement(np.log(p_S), np.log(p_T)))


def test_disagreement_is_zero_for_equals_and_never_negative():
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(5), 50))
    np.testing.assert_allclose(disagreement(log_p, log_p), 0)
    assert (disagreement(log_p, log_p + 1e-17) >= 0).all()
    certain = np.array([[0.0, -np.inf]])
    assert disagreement(certain, np.log([[0.5, 0.5]]))[0] == pytest.approx(math.log(2))


def test_entropy(candidates):
    expected = [-sum(p * math.log(p) for p in row) for row in candidates.teacher.probs_NC]
    np.testing.assert_allclose(STRATEGIES["entropy"]().score(candidates), expected, rtol=1e-10)


def test_margin(candidates):
    expected = [-(sorted(row)[-1] - sorted(row)[-2]) for row in candidates.teacher.probs_NC.tolist()]
    np.testing.assert_allclose(STRATEGIES["margin"]().score(candidates), expected, rtol=1e-10)


def test_least_confidence(candidates):
    expected = [1 - max(row) for row in candidates.teacher.probs_NC.tolist()]
    np.testing.assert_allclose(STRATEGIES["least_confidence"]().score(candidates), expected, rtol=1e-10)


def test_random_needs_no_network_and_is_uniform():
    counts = np.zeros(20)
    for seed in range(400):
        candidates = make_candidates(n=20)
        candidates.rng = np.random.default_rng(seed)
        strategy = STRATEGIES["random"]()
        counts[strategy.select(strategy.score(candidates), 5, candidates)] += 1
        assert not candidates.calls
    assert np.abs(counts - 100).max() < 40  # 4.6 standard deviations of Binomial(400, 1/4)
