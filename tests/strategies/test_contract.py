"""What every registered strategy promises; each is tested on the same candidates."""

import numpy as np
import pytest

from helpers import make_candidates
from tomotutor.errors import TomoTutorError
from tomotutor.strategies import STRATEGIES, Candidates, Scores, rank


@pytest.fixture(params=STRATEGIES)
def name(request):
    return request.param


def test_utility_is_one_finite_number_an_item(name):
    candidates = make_candidates()
    utility = STRATEGIES[name]().score(candidates)
    assert utility.shape == (50,)
    assert utility.dtype == np.float64
    assert np.isfinite(utility).all()


def test_networks_run_once_at_most(name):
    candidates = make_candidates()
    strategy = STRATEGIES[name]()
    strategy.select(strategy.score(candidates), 50, candidates)
    strategy.score(candidates)
    assert len(candidates.calls) == len(set(candidates.calls))


@pytest.mark.parametrize("k", [0, 1, 7, 50])
def test_selection_is_k_different_candidates(name, k):
    candidates = make_candidates()
    strategy = STRATEGIES[name]()
    picked = strategy.select(strategy.score(candidates), k, candidates)
    assert len(picked) == len(set(picked.tolist())) == k
    assert all(0 <= p < 50 for p in picked)


def test_the_order_is_that_of_the_utility(name):
    candidates = make_candidates()
    strategy = STRATEGIES[name]()
    utility = strategy.score(candidates)
    assert (np.diff(utility[strategy.select(utility, 50, candidates)]) <= 0).all()


def test_same_seed_same_selection(name):
    picks = []
    for _ in range(2):
        candidates = make_candidates()
        strategy = STRATEGIES[name]()
        picks.append(strategy.select(strategy.score(candidates), 10, candidates).tolist())
    assert picks[0] == picks[1]


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n != "random"])  # which draws by position
def test_the_order_of_the_candidates_does_not_matter(name):
    order = np.random.default_rng(1).permutation(50)
    picks = []
    for candidates in (make_candidates(), make_candidates(order=order)):
        strategy = STRATEGIES[name]()
        picks.append(candidates.rows[strategy.select(strategy.score(candidates), 20, candidates)].tolist())
    assert picks[0] == picks[1]


def test_it_has_a_line_for_the_help(name):
    assert STRATEGIES[name].summary


def test_one_candidate_and_certain_networks(name):
    certain = Scores(np.array([[0.0, -np.inf]]), np.zeros((1, 2), np.float32))
    candidates = Candidates(np.array([3]), lambda _: certain, np.random.default_rng(0))
    strategy = STRATEGIES[name]()
    with np.errstate(invalid="ignore"):
        utility = strategy.score(candidates)
    assert np.isfinite(utility).all()
    assert strategy.select(utility, 1, candidates).tolist() == [0]


def test_ties_break_by_row_and_nan_is_an_error():
    rows = np.array([7, 3, 9, 1])
    assert rank(np.array([1.0, 1.0, 2.0, 1.0]), rows).tolist() == [2, 3, 1, 0]
    with pytest.raises(TomoTutorError, match="1 of 4 utilities are NaN"):
        rank(np.array([1.0, np.nan, 2.0, 1.0]), rows)
