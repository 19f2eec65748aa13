"""Wrong labels rise to the front of the list."""

import numpy as np

from tomotutor.learn.doubts import find_doubts
from tomotutor.learn.head import fit_head


def clouds(n=240, classes=4, d=16, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 1, (classes, d))
    y = rng.integers(classes, size=n)
    return (3 + centre[y] + rng.normal(0, spread, (n, d))).astype(np.float16), y


def test_flipped_labels_are_in_front():
    x, y = clouds()
    other, _ = clouds(seed=0, spread=1.3)
    rows = np.random.default_rng(1).permutation(240)[:200]
    label = y[rows].copy()
    label[:10] = (label[:10] + 1) % 4
    found = find_doubts(fit_head(x, rows, label, 4), fit_head(other, rows, label, 4))
    assert np.isin(found.rows[:20], rows[:10]).sum() >= 9
    assert (np.diff(found.doubt_L) <= 0).all()
    assert np.isin(found.wrong(), found.rows[found.predicted_L != found.label_L]).all()
    front = found.rows[:5]
    np.testing.assert_array_equal(found.predicted_L[:5], y[front])
    np.testing.assert_array_equal(found.label_L[:5], (y[front] + 1) % 4)


def test_doubt_is_the_log_ratio_of_held_out_probabilities():
    x, y = clouds(60)
    rows = np.arange(40)
    head = fit_head(x, rows, y[rows], 4)
    found = find_doubts(head)
    p = np.exp(head.held_out_LC)
    for row, doubt in zip(found.rows, found.doubt_L, strict=True):
        own = p[row, y[row]]
        np.testing.assert_allclose(doubt, np.log(np.delete(p[row], y[row]).max() / own), rtol=1e-6)


def test_a_copy_of_a_wrong_label_does_not_defend_it():
    x, y = clouds()
    x[100:104] = x[0]  # the same particle, picked five times and called wrong five times
    wrong = (y[0] + 1) % 4
    rows = np.arange(160)
    label = y[rows].copy()
    label[[0, *range(100, 104)]] = wrong
    group = np.arange(240)
    group[100:104] = 0
    apart, together = (find_doubts(fit_head(x, rows, label, 4, group_N=g)) for g in (None, group))
    place = {name: f.rows.tolist().index(0) for name, f in (("apart", apart), ("together", together))}
    assert place["together"] < 8 < place["apart"]


def test_the_only_label_of_a_class_is_not_doubted():
    x, y = clouds(classes=3)
    rows = np.concatenate([np.flatnonzero(y == 0)[:10], np.flatnonzero(y == 1)[:10], np.flatnonzero(y == 2)[:1]])
    assert rows[-1] not in find_doubts(fit_head(x, rows, y[rows], 3)).rows
