"""The fast head against scikit-learn and plain formulas."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn import head as heads
from tomotutor.learn.head import answer, assign_folds, fit_head, fit_temperature, one_blas_thread
from tomotutor.learn.results import Answers, changed


def clouds(n=300, classes=4, spread=1.0, d=16, seed=0):
    """Points around class centres, and their classes."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 1, (classes, d))
    y = rng.integers(classes, size=n)
    return (3 + centre[y] + rng.normal(0, spread, (n, d))).astype(np.float16), y


def own_features(x):
    x = x.astype(np.float64) - x.astype(np.float64).mean(0)
    return x / np.linalg.norm(x, axis=1, keepdims=True) * np.sqrt(x.shape[1])


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_those_of_scikit_learn(classes, monkeypatch):
    monkeypatch.setattr(heads, "BLOCK", 64)
    x, y = clouds(classes=classes)
    rows = np.arange(60)
    head = fit_head(x, rows, y[rows], classes)
    z = own_features(x)
    # its two classes share one row of weights, which is penalised half as much in two opposite rows
    peer = LogisticRegression(C=2.0 if classes == 2 else 1.0, tol=1e-8, max_iter=2000).fit(z[rows], y[rows])
    logits = peer.decision_function(z)
    if classes == 2:
        logits = np.stack([np.zeros_like(logits), logits], 1)
    expected = np.exp(logits / head.temperature)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(head.probs(x), expected, atol=0.02)
    picked = np.array([250, 3, 77])
    np.testing.assert_allclose(head.probs(x, picked), head.probs(x)[picked], atol=1e-6)


def test_a_mapped_file_gives_the_same_answers(tmp_path):
    x, y = clouds()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = np.arange(40)
    whole, from_disk = (fit_head(e, rows, y[rows], 4).probs(e) for e in (x, mapped))
    np.testing.assert_array_equal(whole, from_disk)


def test_held_out_answers_come_from_a_head_that_has_not_seen_the_label():
    x, y = clouds()
    rows = np.arange(50)
    head = fit_head(x, rows, y[rows], 4, folds=5)
    z = own_features(x)
    inside = head.fold_L != 2
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(z[rows][inside], y[rows][inside])
    logits = peer.decision_function(z[rows][~inside]) / head.temperature
    expected = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    np.testing.assert_allclose(np.exp(head.held_out_LC[~inside]), expected, atol=0.02)


def test_a_given_temperature_needs_no_folds():
    x, y = clouds()
    rows = np.arange(50)
    whole = fit_head(x, rows, y[rows], 4)
    quick = fit_head(x, rows, y[rows], 4, temperature=whole.temperature)
    np.testing.assert_array_equal(quick.probs(x), whole.probs(x))
    assert (quick.fold_L == -1).all() and (quick.held_out_LC == -np.inf).all()


def test_folds_keep_groups_together_and_spread_classes():
    y = np.repeat([0, 1], 20)
    group = np.arange(40) // 2  # pairs
    fold = assign_folds(y, group, 5)
    assert (fold[::2] == fold[1::2]).all()
    for c in (0, 1):
        assert np.bincount(fold[y == c], minlength=5).tolist() == [4] * 5
    more = assign_folds(np.append(y, 0), np.append(group, 20), 5)
    np.testing.assert_array_equal(more[:40], fold)  # one more label moves no other


def test_temperature_finds_the_scale_of_overconfident_logits():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, (4000, 3))
    p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
    y = (p.cumsum(1) > rng.random((4000, 1))).argmax(1)
    assert fit_temperature(3 * z, y) == pytest.approx(3, rel=0.1)
    sure = np.array([[9.0, 0, 0]] * 3)
    assert 0.4 < fit_temperature(sure, np.zeros(3, int)) < 1.1  # three right answers make nobody certain


def test_classes_without_a_label_are_unknown():
    x, y = clouds(classes=3)
    rows = np.flatnonzero(y != 1)[:30]
    head = fit_head(x, rows, y[rows], 5)
    assert head.unknown == (1, 3, 4)
    assert not head.probs(x)[:, [1, 3, 4]].any()
    np.testing.assert_allclose(head.probs(x).sum(1), 1, atol=1e-5)


def test_a_class_of_one_label_is_learned_and_not_held_against_the_head():
    x, y = clouds(classes=3)
    rows = np.concatenate([np.flatnonzero(y == 0)[:10], np.flatnonzero(y == 1)[:10], np.flatnonzero(y == 2)[:1]])
    head = fit_head(x, rows, y[rows], 3)
    assert head.held_out_LC[-1, 2] == -np.inf and np.isfinite(head.held_out_LC[-1, :2]).all()
    assert head.probs(x)[y == 2].argmax(1).tolist().count(2) > 0


def test_answers_take_labels_and_say_where_the_two_differ():
    x, y = clouds(classes=3)
    other, _ = clouds(classes=3, seed=5)
    rows = np.arange(30)
    one, two = fit_head(x, rows, y[rows], 4), fit_head(other, rows, y[rows], 4)
    wrong = (int(y[40]) + 1) % 3  # a label of a check particle, which the head has not seen
    found = answer(one, two, x, other, source="head on round 2", version=7, label_rows=[40], label_M=[wrong])
    p, q = one.probs(x)[:, :3].astype(float), two.probs(other)[:, :3].astype(float)
    np.testing.assert_allclose(found.disagreement_N, (p * np.log(p / q)).sum(1), rtol=1e-3, atol=1e-5)
    rest = np.arange(300) != 40
    np.testing.assert_array_equal(found.class_N[rest], p.argmax(1)[rest])
    np.testing.assert_allclose(found.confidence_N[rest], p.max(1)[rest], rtol=1e-5)
    assert (found.class_N[40], found.confidence_N[40], found.labeled_N.sum()) == (wrong, 1, 1)
    assert (found.source, found.version, found.unknown) == ("head on round 2", 7, (3,))


def test_changed_rows():
    def made(classes, labeled=()):
        n = len(classes)
        return Answers(np.array(classes), np.ones(n), np.zeros(n), np.isin(np.arange(n), labeled), "head", 0)

    assert changed(made([0, 1, 2]), made([0, 2, 2])).tolist() == [1]
    assert changed(made([0, 1, 2]), made([0, 1, 2], [2])).tolist() == [2]
    assert changed(None, made([0, 1])).tolist() == [0, 1]
    assert changed(made([0]), made([0, 1])).tolist() == [0, 1]


def test_bad_input_is_one_sentence():
    x, y = clouds()
    rows = np.arange(30)
    with pytest.raises(TomoTutorError, match="1 classes; expected labels in two"):
        fit_head(x, rows, np.zeros(30, int), 4)
    with pytest.raises(TomoTutorError, match="class number 9 of 4"):
        fit_head(x, rows[:2], np.array([0, 9]), 4)
    with pytest.raises(TomoTutorError, match="a label is of row 300; expected the embedding of this pool"):
        fit_head(x, np.array([0, 300]), np.array([0, 1]), 4)
    broken = x.copy()
    broken[200, 3] = np.nan
    with pytest.raises(TomoTutorError, match="not finite"):
        fit_head(broken, rows, y[rows], 4)
    head = fit_head(x, rows, y[rows], 4)
    with pytest.raises(TomoTutorError, match="not finite"):
        head.probs(broken)
    with pytest.raises(TomoTutorError, match="embeddings of 16 numbers"):
        head.probs(x[:, :8])
    with pytest.raises(TomoTutorError, match="expected both of one pool"):
        answer(head, head, x, x[:10], source="", version=0)


def test_a_fit_multiplies_in_one_thread_and_gives_the_others_back():
    def threads():
        return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        with one_blas_thread():
            assert set(threads().values()) == {1}
        assert set(threads().values()) == {2}
