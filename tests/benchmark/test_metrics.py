import numpy as np
import pytest
import torch
from scipy import stats

from tomotutor.benchmark.metrics import (
    aubc,
    auroc,
    classification,
    labels_to_target,
    last_layer_gradient_norm,
    top_hits,
)

RNG = np.random.default_rng(0)


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_classification_by_loops():
    probs, truth = (
        softmax(RNG.normal(0, 1, (200, 4))),
        RNG.integers(0, 3, 200),
    )  # class 3 does not occur, but is predicted
    predicted = [max(range(4), key=lambda c: row[c]) for row in probs.tolist()]
    recall, f1 = [], []
    for c in range(4):
        hits = sum(p == t == c for p, t in zip(predicted, truth, strict=True))
        true, said = int((truth == c).sum()), predicted.count(c)
        recall.append(hits / true if true else None)
        precision = hits / said
        f1.append(2 * precision * recall[c] / (precision + recall[c]) if hits else 0.0)
    found = classification(probs, truth)
    assert found["accuracy"] == pytest.approx(np.mean(predicted == truth))
    assert found["per_class"][:3] == pytest.approx(recall[:3])
    assert found["per_class"][3] is None
    assert found["balanced_accuracy"] == pytest.approx(sum(recall[:3]) / 3)
    assert found["macro_f1"] == pytest.approx(sum(f1) / 4)


def test_last_layer_gradient_norm_is_autograds():
    layer = torch.nn.Linear(6, 4).double()
    h, truth = RNG.normal(size=(5, 6)), RNG.integers(0, 4, 5)
    expected = []
    for x, y in zip(torch.from_numpy(h), truth, strict=True):
        layer.zero_grad()
        torch.nn.functional.cross_entropy(layer(x)[None], torch.tensor([y])).backward()
        expected.append(float((layer.weight.grad.square().sum() + layer.bias.grad.square().sum()).sqrt()))
    probs = layer(torch.from_numpy(h)).softmax(1).detach().numpy()
    np.testing.assert_allclose(last_layer_gradient_norm(probs, h, truth), expected, rtol=1e-9)


def test_top_hits_against_chance():
    n, m = 40, 10
    norm = RNG.random(n)
    picked = np.zeros(n, bool)
    picked[np.argsort(norm)[-m:]] = True
    chance = stats.hypergeom(n, m, m)
    found = top_hits(norm, picked)
    assert found == {
        "picks": m,
        "candidates": n,
        "hits": m,
        "chance": chance.mean(),
        "z": pytest.approx((m - chance.mean()) / chance.std()),
    }
    assert top_hits(norm, np.ones(n, bool))["z"] == 0
    z = [top_hits(norm, RNG.permutation(np.arange(n) < m))["z"] for _ in range(400)]
    assert abs(np.mean(z)) < 0.2
    assert 0.85 < np.std(z) < 1.15


def test_area_and_labels_to_target():
    labels, values = np.array([60, 100, 180]), np.array([0.5, 0.7, 0.9])
    assert aubc(labels, values) == pytest.approx((40 * 0.6 + 80 * 0.8) / 120)
    assert aubc(labels, np.full(3, 0.4)) == pytest.approx(0.4)
    assert aubc(labels[:1], values[:1]) == 0.5
    assert labels_to_target(labels, values, 0.8) == pytest.approx(140)
    assert labels_to_target(labels, values, 0.7) == 100
    assert labels_to_target(labels, values, 0.2) == 60
    assert labels_to_target(labels, values, 0.95) is None
    assert labels_to_target(labels, np.array([0.5, 0.9, 0.6]), 0.8) == pytest.approx(90)  # the first time counts


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    score = np.array([0.1, 0.4, 0.4, 0.8, 0.9, 0.3])
    positive = np.array([False, True, False, True, False, False])
    pairs = [(p, n) for p in score[positive] for n in score[~positive]]
    assert auroc(score, positive) == pytest.approx(sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs))
    assert auroc(score, np.zeros(6, bool)) is None
    assert auroc(score, np.ones(6, bool)) is None
