"""On pools where the right answer is plain, each strategy does what it claims."""

import math

import numpy as np
import pytest

from helpers import make_candidates, on_embeddings
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import STRATEGIES, Candidates, Scores
from tomotutor.learn.strategies.base import Arrays
from tomotutor.learn.strategies.geometry import k_means, nearest, spread, squared_distances
from tomotutor.learn.strategies.low_budget import ball_radius


def blobs(sizes, spread_=0.05, seed=0):
    """Points in tight clusters on a circle; returns positions and cluster numbers."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    angle = 2 * np.pi * cluster / len(sizes)
    return np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, spread_, (len(cluster), 2)), cluster


def picks(name, candidates, k, **settings):
    strategy = STRATEGIES[name](Recipe(**settings))
    return candidates.rows[strategy.select(strategy.score(candidates), k, candidates)]


def test_core_set_covers_every_cluster_with_one_pick_each():
    x, cluster = blobs([200, 100, 40, 20, 5, 3])
    found = picks("core_set", on_embeddings(x, labeled_rows=[0]), 5)
    assert sorted(cluster[found]) == [1, 2, 3, 4, 5]
    assert nearest(x.astype(np.float32), x[[0, *found]].astype(np.float32)).max() < 0.5**2
    random = np.random.default_rng(0).choice(368, 5)
    assert nearest(x.astype(np.float32), x[[0, *random]].astype(np.float32)).max() > 0.5**2


def test_badge_spreads_over_the_gradients_and_avoids_what_the_teacher_knows():
    x, cluster = blobs([50] * 6)
    probs = np.where((cluster < 2)[:, None], [0.999, 0.001], [0.6, 0.4])
    hits = [cluster[picks("badge", on_embeddings(x, probs_NC=probs, seed=seed), 4)] for seed in range(20)]
    assert np.mean([len(set(h.tolist()) & {2, 3, 4, 5}) for h in hits]) > 2.8  # random would find 2.1 of the four
    assert (
        max((h < 2).sum() for h in hits) <= 1
    )  # what the teacher knows has almost no gradient: one such item stands for all


def test_badge_draws_with_probability_proportional_to_squared_distance():
    x = np.array([[10.0, 0], [10, 3], [10, 4]])  # the first has not the largest norm
    counts = np.zeros(3)
    error = np.array([0.4, -0.4])
    g = np.array([np.outer(error, row).ravel() for row in x])
    first = int(np.argmax(np.linalg.norm(g, axis=1)))
    for seed in range(600):
        found = picks("badge", on_embeddings(x, probs_NC=np.tile([0.6, 0.4], (3, 1)), seed=seed), 2)
        assert found[0] == first
        counts[found[1]] += 1
    square = [sum((a - b) ** 2 for a, b in zip(g[i], g[first], strict=True)) for i in range(3)]
    assert counts[0] / 600 == pytest.approx(square[0] / sum(square), abs=0.05)


def test_qbc_finds_the_disputed():
    sure, split = np.log([0.98, 0.02]), np.log([0.02, 0.98])
    vague = np.log([0.5, 0.5])
    members = {"teacher": sure, "member 1": sure, "member 2": sure}
    scores = {}
    for name, log_p in members.items():
        table = np.tile(log_p, (30, 1))
        table[:5] = split if name == "member 2" else sure  # one member says otherwise
        table[5:10] = vague  # all agree that it cannot be told
        scores[name] = Scores(table, np.zeros((30, 2), np.float32))
    candidates = Candidates(np.arange(30), Arrays(scores), np.random.default_rng(0))
    assert sorted(picks("qbc", candidates, 5)) == [0, 1, 2, 3, 4]
    assert sorted(picks("entropy", candidates, 5)) == [5, 6, 7, 8, 9]  # which entropy cannot tell apart


def test_cod_finds_what_changed():
    candidates = make_candidates()
    changed = candidates.rows[7]
    backend = candidates.backend
    backend.scores["previous"].log_probs_NC[:] = backend.scores["teacher"].log_probs_NC
    backend.scores["previous"].log_probs_NC[changed] = np.log([0.97, 0.01, 0.01, 0.01])
    backend.scores["teacher"].log_probs_NC[changed] = np.log([0.01, 0.01, 0.01, 0.97])
    assert picks("cod", candidates, 1)[0] == changed


def test_typiclust_takes_the_middle_of_each_cluster_without_labels():
    x, cluster = blobs([60] * 5, spread_=0.08)
    centre = np.array([x[cluster == c].mean(0) for c in range(5)])
    labeled = np.flatnonzero(cluster == 0)[:1]
    found = picks("typiclust", on_embeddings(x, labeled_rows=labeled), 4)
    assert sorted(cluster[found]) == [1, 2, 3, 4]
    off = np.linalg.norm(x[found] - centre[cluster[found]], axis=1)
    assert off.mean() < np.linalg.norm(x - centre[cluster], axis=1).mean()


def test_typiclust_leaves_out_tiny_clusters_unless_there_are_no_others():
    x, cluster = blobs([60, 60, 4])
    found = picks("typiclust", on_embeddings(x), 3)  # 3 clusters; the one of 4 items is passed over
    assert set(cluster[found]) == {0, 1}
    assert len(set(picks("typiclust", on_embeddings(x[:5]), 5).tolist())) == 5


def test_prob_cover_takes_dense_places_first_and_nothing_that_is_covered():
    x, cluster = blobs([100, 60, 20], spread_=0.02)
    rng = np.random.default_rng(0)
    probs = np.full((180, 3), 1 / 3)
    found = picks("prob_cover", on_embeddings(x, probs_NC=probs), 3)
    assert cluster[found].tolist() == [0, 1, 2]
    labeled = [int(rng.choice(np.flatnonzero(cluster == 0)))]
    assert cluster[picks("prob_cover", on_embeddings(x, labeled_rows=labeled, probs_NC=probs), 2)].tolist() == [1, 2]


def test_the_ball_radius_is_the_largest_that_keeps_95_percent_pure():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 2)).astype(np.float32)
    cluster = (x[:, 0] > 0).astype(int)

    def purity(radius):
        pure = 0
        for i in range(80):
            pure += all(cluster[j] == cluster[i] for j in range(80) if math.dist(x[i].tolist(), x[j].tolist()) < radius)
        return pure / 80

    radius = ball_radius(x, cluster)
    assert purity(radius * 0.999) >= 0.95
    assert purity(radius * 1.01) < 0.95
    assert ball_radius(x, np.zeros(80, int)) > 2 * np.linalg.norm(x, axis=1).max()  # one cluster: nothing can be impure


def test_distances_and_clusters():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
    expected = [[math.dist(p, q) ** 2 for q in b.tolist()] for p in a.tolist()]
    np.testing.assert_allclose(squared_distances(a, b), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(nearest(a, b), np.min(expected, 1), rtol=1e-4, atol=1e-5)
    assert np.isinf(nearest(a, b[:0])).all()
    x, cluster = blobs([30, 30, 30])
    found = k_means(x.astype(np.float32), 3, np.random.default_rng(0))
    for c in range(3):
        assert len(set(found[cluster == c])) == 1
    assert len(set(found)) == 3


def test_k_means_plus_plus_stops_where_all_points_coincide():
    x = np.zeros((5, 2), np.float32)
    assert spread(2, lambda i: squared_distances(x, x[[i]])[:, 0], 4, np.random.default_rng(0)) == [2]
    candidates = on_embeddings(np.ones((6, 2)))
    assert sorted(picks("badge", candidates, 6)) == [0, 1, 2, 3, 4, 5]
    assert sorted(picks("core_set", candidates, 6)) == [0, 1, 2, 3, 4, 5]
