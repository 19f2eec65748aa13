"""What every registered strategy promises; each is tested on the same candidates, with real networks that trained along
with it.
"""

from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch

from helpers import array_pool, two_kinds
from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import build_pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.round import RoundView, run_round
from tomotutor.learn.round_backend import RoundBackend
from tomotutor.learn.strategies import STRATEGIES, Arrays, Candidates, Scores, Strategy, ask_order, rank
from tomotutor.learn.train import fit, predict

N, LABELED = 50, 12
CPU = Compute(threads=1)
RECIPE = Recipe(steps=2, batch_size=8, precision="float32", width=0.25, query_size=6, committee=2)


@pytest.fixture(params=STRATEGIES)
def name(request):
    return request.param


class CountingBackend(RoundBackend):
    """Remembers which network was asked for which scores."""

    def score(self, name, rows):
        self.calls.append((name, len(rows)))
        return super().score(name, rows)

    def features(self, rows):
        if not self.kept:
            self.kept.append(super().features(np.arange(N + LABELED)))
        return self.kept[0][rows]

    kept: ClassVar = []  # learned once for all tests, as in a session


def items(ndim):
    x, y = two_kinds(N + LABELED, edge=8)
    return (x[:, None] if ndim == 3 else x[:, None, 4]), y


@cache
def trained(name, ndim=2):
    """A strategy whose teacher and own networks were trained for two steps, and a way to make candidates for it."""
    x, y = items(ndim)
    pool = array_pool(x)
    recipe = RECIPE.replace(strategy=name)

    def build(seed):
        return build_pair("resnet18", ndim=ndim, channels=1, edge=8, classes=3, width=0.25, seed=seed)

    pair, strategy = build(0), STRATEGIES[name](recipe)
    order = np.random.default_rng(3).permutation(N + LABELED)
    labeled_rows, rows = np.sort(order[:LABELED]), order[LABELED:]
    fit(pair, pool.read(labeled_rows).__getitem__, y[labeled_rows], recipe, CPU, seed=1, strategy=strategy)
    scores = predict(pair.parts(), pool.read, np.sort(rows), CPU)

    def make(shuffle=None):
        backend = CountingBackend(
            pool,
            labeled_rows,
            y[labeled_rows],
            rows,
            pair,
            build=build,
            previous=lambda: build(9).teacher,
            scored_rows=np.sort(rows),
            scores=scores,
            recipe=recipe,
            compute=CPU,
        )
        backend.calls = []
        shuffled = rows if shuffle is None else rows[shuffle]
        candidates = Candidates(
            shuffled, backend, np.random.default_rng(5), labeled_rows=labeled_rows, labels=y[labeled_rows]
        )
        strategy.fit(candidates)
        return candidates

    return strategy, make


@cache
def _made(name):
    strategy, make = trained(name)
    return strategy, make()


def made(name):
    """The strategy and its candidates, the random numbers from their start."""
    strategy, candidates = _made(name)
    candidates.rng = np.random.default_rng(7)
    return strategy, candidates


def test_utility_is_one_finite_number_an_item(name):
    strategy, candidates = made(name)
    utility = strategy.score(candidates)
    assert utility.shape == (N,)
    assert utility.dtype == np.float64
    assert np.isfinite(utility).all()


def test_networks_run_once_at_most(name):
    strategy, candidates = made(name)
    strategy.select(strategy.score(candidates), N, candidates)
    calls = candidates.backend.calls
    assert len(calls) == len(set(calls))


def test_selection_is_k_different_candidates(name):
    strategy, candidates = made(name)
    utility = strategy.score(candidates)
    for k in (0, 1, 7, N):
        picked = strategy.select(utility, k, candidates)
        assert len(picked) == len(set(picked.tolist())) == k
        assert all(0 <= p < N for p in picked)


def test_the_queue_holds_every_candidate_with_the_selection_in_front(name):
    strategy, candidates = made(name)
    order = ask_order(strategy, candidates, strategy.score(candidates))
    assert sorted(order.tolist()) == list(range(N))
    strategy, candidates = made(name)
    utility = strategy.score(candidates)
    assert order[:6].tolist() == strategy.select(utility, 6, candidates).tolist()
    assert (np.diff(utility[order[6:]]) <= 0).all()


@pytest.mark.parametrize("name", [n for n, s in STRATEGIES.items() if s.select is Strategy.select])
def test_the_order_is_that_of_the_utility(name):
    strategy, candidates = made(name)
    utility = strategy.score(candidates)
    assert (np.diff(utility[strategy.select(utility, N, candidates)]) <= 0).all()


def test_neither_the_order_of_the_candidates_nor_anything_but_the_seed_matters(name):
    strategy, make = trained(name)
    picks = []
    for shuffle in (None, np.random.default_rng(1).permutation(N)):
        candidates = make(shuffle)
        picks.append(candidates.rows[strategy.select(strategy.score(candidates), 20, candidates)].tolist())
    assert picks[0] == picks[1]


def test_it_has_a_line_for_the_help(name):
    assert STRATEGIES[name].summary


def test_it_runs_in_three_dimensions_and_in_a_first_round(name):
    x, y = items(3)
    pool = array_pool(x)
    rows = np.arange(N + LABELED)
    view = RoundView(
        number=1,
        pool=pool,
        classes=2,
        train_rows=rows[:LABELED],
        train_labels=y[:LABELED],
        labels=LABELED,
        candidate_rows=rows[20:40],
        other_rows=rows[:0],
        weights=None,
        open_rows=rows[LABELED:],
    )
    result = run_round(view, RECIPE.replace(strategy=name), CPU)
    assert sorted(result.queue_rows.tolist()) == rows[20:40].tolist()


@pytest.mark.parametrize(
    "name", [n for n in STRATEGIES if n not in ("ll4al", "vaal", "sraal")]
)  # which need a training
@pytest.mark.parametrize("kind", ["tensors", "last"])
def test_one_candidate_and_certain_networks(name, kind):
    certain = Scores(np.array([[0.0, -np.inf]]).repeat(4, 0), np.zeros((4, 2), np.float32))
    scores = dict.fromkeys(("teacher", "student", "previous", "member 1", "member 2"), certain)
    if kind == "tensors" and name in ("entropy_gradnorm", "expected_gradnorm", "egl"):
        pytest.skip("needs images")
    net = torch.nn.Module()
    net.fc = torch.nn.Linear(2, 2)
    backend = Arrays(scores, np.zeros((4, 2), np.float32), {"teacher": net})
    candidates = Candidates(
        np.array([3]), backend, np.random.default_rng(0), labeled_rows=np.array([0]), labels=np.array([1])
    )
    strategy = STRATEGIES[name](Recipe(gradient_norm=kind))
    with np.errstate(invalid="ignore"):
        utility = strategy.score(candidates)
    assert np.isfinite(utility).all()
    assert strategy.select(utility, 1, candidates).tolist() == [0]


def test_ties_break_by_row_and_nan_is_an_error():
    rows = np.array([7, 3, 9, 1])
    assert rank(np.array([1.0, 1.0, 2.0, 1.0]), rows).tolist() == [2, 3, 1, 0]
    with pytest.raises(TomoTutorError, match="1 of 4 utilities are NaN"):
        rank(np.array([1.0, np.nan, 2.0, 1.0]), rows)
