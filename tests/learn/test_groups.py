"""Groups of look-alikes, neighbours and overlapping picks against plain calculations."""

import numpy as np
import pytest

from tomotutor.data.overlaps import overlapping
from tomotutor.learn import groups as groupings
from tomotutor.learn.groups import Groups, answer_groups, find_groups, similar
from tomotutor.learn.results import Answers


def clouds(sizes=(40, 20, 10), seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(0, 1, (len(sizes), 12))[y] * 3 + rng.normal(0, 0.3, (len(y), 12)) + 5
    return x.astype(np.float16), y


@pytest.mark.parametrize("most", [10**6, 30])
def test_groups_are_the_clouds_the_largest_first(monkeypatch, most):
    monkeypatch.setattr(groupings, "MOST_ITEMS", most)
    x, y = clouds()
    rows = np.arange(1, 70)  # row 0 stays out
    found = find_groups(x, rows, 3)
    assert found.rows.tolist() == rows.tolist()
    np.testing.assert_array_equal(found.group_N, y[rows])
    z = x.astype(float) - x.astype(float).mean(0)
    z *= np.sqrt(12) / np.linalg.norm(z, axis=1, keepdims=True)
    if most > 100:
        away = np.linalg.norm(z[40:60] - z[40:60].mean(0), axis=1)
        assert found.members(1).tolist() == (40 + np.argsort(away)).tolist()
    order = found.typical()
    assert sorted(order) == rows.tolist()
    assert y[order[:6]].tolist() == [0, 1, 2] * 2
    assert order[:3].tolist() == [found.members(g)[0] for g in range(3)]


def test_no_items_no_groups():
    found = find_groups(clouds()[0], np.zeros(0, int), 3)
    assert len(found) == 0 and len(found.typical()) == 0


def test_likely_class_and_purity_count_labels_as_they_are():
    groups = Groups(np.array([1, 2, 4, 5]), np.array([0, 0, 0, 1]), np.zeros(4))
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
    n = 6
    labeled = np.isin(np.arange(n), [4])
    answers = Answers(np.array([0, 0, 0, 0, 1, 1]), np.ones(n), np.zeros(n), labeled, "head", 1)
    one, two = answer_groups(groups, probs, answers)
    assert (one.likely, one.size, one.labeled, one.against) == (0, 3, 1, 1)
    assert one.purity == pytest.approx((0.9 + 0.6 + 0) / 3)
    assert (two.likely, two.purity, two.labeled, two.against) == (1, pytest.approx(0.7), 0, 0)


def test_similar_items_are_those_of_the_largest_cosine():
    x, y = clouds()
    z = x.astype(float) - x.astype(float).mean(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    expected = [r for r in np.argsort(-(z @ z[45]), kind="stable") if r != 45][:8]
    rows, cosine = similar(x, 45, 8)
    assert rows.tolist() == expected and (y[rows] == 1).all()
    np.testing.assert_allclose(cosine, (z @ z[45])[expected], atol=2e-3)
    assert similar(x, 45, 8, rows=np.array([3, 45, 50]))[0].tolist() == [50, 3]


def test_overlapping_picks_of_one_tomogram_are_joined():
    rng = np.random.default_rng(3)
    xyz, tomogram = rng.uniform(0, 60, (80, 3)), rng.integers(2, size=80).astype(str)
    found = overlapping(xyz, tomogram, 12.0)
    near = (np.linalg.norm(xyz[:, None] - xyz, axis=2) <= 12) & (tomogram[:, None] == tomogram)
    joined = np.linalg.matrix_power(near.astype(float), 80) > 0
    np.testing.assert_array_equal(found, joined.argmax(1))
    assert 1 < len(np.unique(found)) < 80
    apart = overlapping(np.array([[0, 0, 0], [0, 0, 3.0]]), np.array(["a", "b"]), 5)
    assert apart.tolist() == [0, 1]
