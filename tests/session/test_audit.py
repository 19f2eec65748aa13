import math

import numpy as np
import pytest

from tomotutor.session.audit import AuditFigure, draw, figure, kinds, mix
from tomotutor.session.label_log import Entry, replay


def label(seq, item, name, number=0):
    return Entry(seq, "", item, "label", name, round=number)


@pytest.mark.parametrize(("correct", "n"), [(0, 5), (3, 5), (5, 5), (47, 60)])
def test_wilson_interval(correct, n):
    z, p = 1.959963984540054, correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = AuditFigure(correct, n, 0).interval
    assert (low, high) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_no_answers_no_figure():
    empty = AuditFigure(0, 0, 2)
    assert empty.accuracy is None
    assert empty.interval is None
    assert "no check particle is labeled" in empty.describe()
    assert AuditFigure(3, 4, 2).describe() == "0.75 of the pool [0.30, 0.95] (n = 4, 2 skipped)"


def test_audit_items_are_a_uniform_sample():
    counts = np.zeros(40)
    for seed in range(500):
        counts[draw(np.arange(40), 8, seed)] += 1
    assert counts.sum() == 500 * 5
    assert np.abs(counts - 62.5).max() < 35  # 4.7 standard deviations
    assert draw(np.arange(40), 8, 3).tolist() == draw(np.arange(40), 8, 3).tolist()
    assert draw(np.arange(40), 0, 3).tolist() == []
    assert draw(np.arange(41), 8, 3).size == 6


def test_every_other_one_is_a_check_item():
    assert kinds(np.array([9, 4, 7])) == {9: "check", 4: "train", 7: "check"}


def test_mixing_makes_each_eighth_answer_an_audit_item():
    mixed = mix(list(range(30)), [100, 101, 102], 8, 0)
    assert [i for i, row in enumerate(mixed) if row >= 100] == [7, 15, 23]
    assert [row for row in mixed if row < 100] == list(range(30))
    # after 5 answers the next one is due in three; short rounds do not lose it
    assert mix([1, 2, 3, 4], [100], 8, 5) == [1, 2, 100, 3, 4]
    assert mix([1, 2], [100, 101, 102], 8, 0) == [1, 2, 100, 101, 102]
    assert mix([1, 2], [], 8, 7) == [1, 2]
    assert mix([1, 2], [100], 0, 7) == [1, 2, 100]


KIND = {1: "check", 2: "train", 3: "check", 4: "train"}


def test_check_items_count_under_each_models_own_prediction():
    state = replay([label(1, 1, "a"), label(2, 3, "b")])
    predictions = {1: {1: "a", 3: "a"}, 2: {1: "b", 3: "b"}}
    assert figure(1, predictions, KIND, state) == AuditFigure(1, 2, 0)
    assert figure(2, predictions, KIND, state) == AuditFigure(1, 2, 0)
    assert figure(0, {}, KIND, state) == AuditFigure(0, 0, 0)


def test_trained_audit_items_count_only_under_the_model_that_asked_them_and_the_next():
    state = replay([label(1, 2, "a", 1), label(2, 4, "b", 3)])
    predictions = {1: {2: "a", 4: "a"}, 2: {2: "a", 4: "b"}, 3: {4: "a"}, 4: {}}
    assert figure(1, predictions, KIND, state) == AuditFigure(1, 1, 0)  # 2 was answered under model 1
    assert figure(2, predictions, KIND, state) == AuditFigure(1, 1, 0)  # … and still counts, as predicted by model 1
    assert figure(3, predictions, KIND, state) == AuditFigure(0, 1, 0)  # now only 4, which model 3 got wrong
    assert figure(4, predictions, KIND, state) == AuditFigure(0, 1, 0)
    assert figure(5, predictions, KIND, state) == AuditFigure(0, 0, 0)


def test_a_train_item_answered_before_the_first_model_never_counts():
    state = replay([label(1, 2, "a", 0)])
    assert figure(1, {1: {2: "a"}}, KIND, state) == AuditFigure(0, 0, 0)


def test_unsure_and_skipped_are_non_response():
    state = replay([Entry(1, "", 1, "unsure"), Entry(2, "", 2, "skip"), label(3, 3, "a", 1)])
    assert figure(1, {1: {1: "a", 2: "a", 3: "a"}}, KIND, state) == AuditFigure(1, 1, 2)
