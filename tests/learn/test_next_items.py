"""The queue that learns between rounds: its order is that of the strategies, and its reasons are true."""

import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn import next_items
from tomotutor.learn.head import fit_head
from tomotutor.learn.next_items import NUMBERS, order_next
from tomotutor.learn.strategies import disagreement

NAMES = ("ribosome", "ring", "unused", "junk")


def clouds(n=120, d=16, seed=0, spread=1.6):
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 1, (3, d))
    y = np.random.default_rng(9).choice([0, 1, 3], n)
    return (3 + centre[np.minimum(y, 2)] + rng.normal(0, spread, (n, d))).astype(np.float16), y


@pytest.fixture(scope="module")
def state():
    x, y = clouds()
    other, _ = clouds(seed=2)
    rows = np.arange(24)
    heads = [fit_head(e, rows, y[rows], 4) for e in (x, other)]
    return *heads, x, other


OPEN = np.arange(30, 120)


def test_margin_is_the_heads_margin_and_its_reason_names_the_two_classes(state):
    found = order_next(*state, OPEN, "margin", NAMES)
    p = state[0].probs(state[2])
    top = np.sort(p, axis=1)
    margin = top[:, -1] - top[:, -2]
    np.testing.assert_allclose(found.number_N, -margin[found.rows], atol=1e-6)
    assert (np.diff(found.number_N) <= 1e-9).all() and sorted(found.rows) == OPEN.tolist()
    a, b = np.argsort(-p[found.rows[0]])[:2]
    assert found.reasons[0] == f"the program is unsure: {NAMES[a]} or {NAMES[b]}"
    assert not any("unused" in reason for reason in found.reasons)


def test_disagreement_orders_the_queue_by_what_divides_the_two(state):
    found = order_next(*state, OPEN, "teacher_student", NAMES)
    known = [0, 1, 3]
    p, q = (head.probs(x)[:, known].astype(float) for head, x in ((state[0], state[2]), (state[1], state[3])))
    expected = disagreement(np.log(p), np.log(q))
    np.testing.assert_allclose(found.number_N, expected[found.rows], rtol=1e-5)
    assert (np.diff(found.number_N) <= 0).all() and found.measure == "KL(teacher ‖ student)"
    for row, reason in zip(found.rows, found.reasons, strict=True):
        t, s = (NAMES[known[r[row].argmax()]] for r in (p, q))
        assert reason == (
            f"disputed: the teacher says {t}, the student {s}"
            if t != s
            else f"disputed: both say {t}, but not equally sure"
        )


@pytest.mark.parametrize("rule", NUMBERS)
def test_every_rule_orders_all_open_items_with_a_reason_and_the_same_way_again(state, rule):
    once, again = (order_next(*state, OPEN, rule, NAMES, seed=3) for _ in range(2))
    assert sorted(once.rows) == OPEN.tolist()
    assert np.isfinite(once.number_N).all() and all(once.reasons) and len(once.reasons) == len(OPEN)
    assert once.rows.tolist() == again.rows.tolist()


@pytest.mark.parametrize("rule", ["margin", "typiclust"])
def test_without_labels_it_asks_what_is_typical(state, rule):
    _, _, x, other = state
    group = np.arange(120) % 5
    found = order_next(None, None, x, other, OPEN, rule, NAMES, group_N=group)
    assert sorted(found.rows) == OPEN.tolist()
    assert found.reasons[0] == f"typical of group {group[found.rows[0]] + 1}"
    assert found.measure == NUMBERS["max_herding" if rule == "margin" else rule]


def test_a_large_pool_is_ranked_in_part_and_the_part_stays(state, monkeypatch):
    monkeypatch.setattr(next_items, "CANDIDATES", 40)
    first = order_next(*state, OPEN, "margin", NAMES)
    rest = OPEN[first.rows[0] != OPEN]
    second = order_next(*state, rest, "margin", NAMES)
    assert len(first.rows) == len(second.rows) == 40
    assert len(np.intersect1d(first.rows, second.rows)) == 39


def test_a_rule_that_trains_is_refused_and_an_empty_queue_is_empty(state):
    with pytest.raises(TomoTutorError, match="vaal needs networks of its own"):
        order_next(*state, OPEN, "vaal", NAMES)
    assert len(order_next(*state, OPEN[:0], "margin", NAMES).rows) == 0
