"""How right the answers are: intervals against simulated truth, and against plain formulas."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tomotutor.learn import estimate as estimates
from tomotutor.learn.estimate import CENTRE, DEVIATION, FOLDS, advice, estimate, left_out, purity
from tomotutor.learn.head import fit_head
from tomotutor.learn.results import Answers


def clouds(seed, n=500, classes=4, d=16, spread=1.5):
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 1, (classes, d))
    y = rng.integers(classes, size=n)
    return (3 + centre[y] + rng.normal(0, spread, (n, d))).astype(np.float16), y


def answers_of(head, x, rows, label):
    p = head.probs(x)
    class_N, labeled_N = p.argmax(1), np.zeros(len(x), bool)
    class_N[rows], labeled_N[rows] = label, True
    return Answers(class_N, p.max(1), np.zeros(len(x)), labeled_N, "head", 1)


def session(seed, checks=8, labels=60):
    """Labels of smallest margin after twenty random ones, and a few check particles."""
    x, y = clouds(seed)
    order = np.random.default_rng(seed).permutation(len(x))
    check, rows = order[:checks], order[checks : checks + 20]
    for _ in range((labels - 20) // 10):
        top = np.sort(fit_head(x, rows, y[rows], 4, temperature=1).probs(x), axis=1)
        margin = top[:, -1] - top[:, -2]
        margin[np.concatenate([rows, check])] = 2
        rows = np.concatenate([rows, np.argsort(margin)[:10]])
    head = fit_head(x, rows, y[rows], 4, folds=FOLDS)
    answers = answers_of(head, x, np.concatenate([rows, check]), np.concatenate([y[rows], y[check]]))
    found = estimate(head, head, x, x, answers, check_rows=check, check_label=y[check])
    return found, float((answers.class_N == y).mean()), head, x, y, answers


def test_the_interval_holds_the_truth():
    found = [session(seed)[:2] for seed in range(20)]
    assert np.mean([e.low <= truth <= e.high for e, truth in found]) >= 0.9
    assert np.median([e.high - e.low for e, _ in found]) < 0.22  # a hard pool: about 0.85 are right
    assert all(e.low <= e.share <= e.high for e, _ in found)


def test_labels_chosen_by_margin_do_not_drag_the_estimate_down():
    found, truth, head, _, y, _ = session(3)
    naive = np.mean(head.held_out_LC.argmax(1) == y[head.rows])
    assert abs(found.share - truth) < abs(naive - truth) / 2


def test_it_says_what_it_rests_on_and_check_particles_count():
    found, _, head, x, _, answers = session(0)
    assert found.checked == 8 and f"8 check particles, {found.right} of them right" in found.basis
    alone = estimate(head, head, x, x, answers)
    assert alone.checked == 0 and alone.basis == "calibrated confidence of the head, on 60 labels"
    assert found.right == 4 and found.share < alone.share  # half of them wrong pull it down
    wrong = estimate(head, head, x, x, answers, check_rows=np.arange(40), check_label=(answers.class_N[:40] + 1) % 4)
    assert wrong.share < alone.share - 0.2  # forty check particles, all wrong, outweigh any confidence


def test_recall_is_the_true_one_on_average():
    off = []
    for seed in range(10):
        found, _, _, _, y, answers = session(seed)
        recall = [(answers.class_N[y == c] == c).mean() for c in range(4)]
        assert found.macro_recall == pytest.approx(found.recall_C.mean())
        off.append(found.recall_C - recall)
    np.testing.assert_allclose(np.mean(off, axis=0), 0, atol=0.06)


def test_posterior_is_where_the_density_is_highest():
    rng = np.random.default_rng(0)
    s, chosen = rng.normal(2, 1.5, 40), rng.random(40) < 0.5
    right = (rng.random(40) < 0.8).astype(float)
    mean, covariance = estimates._posterior(s, right, chosen)

    def density(w):
        z = w[0] + w[1] * s + w[2] * chosen
        prior = sum((v - m) ** 2 / (2 * d**2) for v, m, d in zip(w, CENTRE, DEVIATION, strict=True))
        return (right * z - np.log1p(np.exp(z))).sum() - prior

    for step in 0.01 * np.eye(3):
        assert density(mean) > max(density(mean + step), density(mean - step))
        curve = (density(mean + step) + density(mean - step) - 2 * density(mean)) / 1e-4
        assert -curve == pytest.approx(step @ np.linalg.inv(covariance) @ step * 1e4, rel=1e-3)


def test_purity_is_wilsons_interval():
    theirs = binomtest(18, 20).proportion_ci(0.95, "wilson")
    found = purity(18, 20)
    assert (found.precision, found.low, found.high) == (0.9, pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert (purity(0, 0).low, purity(0, 0).high) == (0, 1)


def made(share, low, high, recall=(0.9, 0.9)):
    return estimates.Estimate(share, low, high, float(np.mean(recall)), np.array(recall), 9, 10, "")


@pytest.mark.parametrize(
    ("found", "counts", "doubts", "expected", "word"),
    [
        (made(0.80, 0.70, 0.88), (30, 30), 0, "label", "0.80 of the pool"),
        (made(0.99, 0.97, 1.00), (30, 30), 0, "stop", "0.99"),
        (made(0.99, 0.97, 1.00), (30, 30), 4, "doubts", "4 labels"),
        (made(0.99, 0.97, 1.00), (30, 2), 0, "class", "ring has 2 labels"),
        (made(0.97, 0.90, 0.99), (30, 30), 0, "label", "0.90"),
        (None, (1, 0), 0, "label", "two classes"),
        (None, (8, 7), 0, "label", "before the first training"),
    ],
)
def test_advice_gives_its_reasons(found, counts, doubts, expected, word):
    said = advice(found, np.array(counts), ("ribosome", "ring"), doubts=doubts)
    assert said[0].action == expected
    assert word in said[0].reason


def test_a_class_without_a_label_may_be_a_group_that_nobody_has_looked_at():
    x, y = clouds(1, spread=0.3)
    rows = np.flatnonzero(y != 3)[:40]
    head = fit_head(x, rows, y[rows], 4, folds=FOLDS)
    answers = answers_of(head, x, rows, y[rows])
    truth = float((answers.class_N == y).mean())  # none of the last class is right, and the head is sure of each
    found = estimate(head, head, x, x, answers, group_N=y)
    assert found.low <= truth <= found.high and "1 of 4 classes without a label" in found.basis
    known = fit_head(x, rows, y[rows], 3, folds=FOLDS)  # where nobody says that there is a fourth class
    assert estimate(known, known, x, x, answers, group_N=y).low > truth


def test_a_tomogram_is_held_against_the_labels_of_the_others():
    x, y = clouds(0, n=200, spread=0.1)
    part = np.where(np.arange(200) % 2, "t2", "t1")
    rows = np.arange(0, 200, 3)
    n = {name: int((part[rows] == name).sum()) for name in ("t1", "t2")}
    assert left_out(x, rows, y[rows], part[rows], 4) == [("t1", n["t1"], n["t1"]), ("t2", n["t2"], n["t2"])]
    other = np.where(part == "t2", (y + 1) % 4, y)  # in t2 the classes look like others: nothing carries over
    assert left_out(x, rows, other[rows], part[rows], 4) == [("t1", 0, n["t1"]), ("t2", 0, n["t2"])]
    only = part == "t1"
    assert left_out(x, rows[only[rows]], y[rows][only[rows]], part[rows][only[rows]], 4) == []
