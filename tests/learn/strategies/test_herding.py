"""The rules for few labels against scikit-activeml and plain calculations."""

import warnings

import numpy as np
import pytest
import torch
from skactiveml.pool import MaxHerding as PeerMaxHerding

from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import STRATEGIES, Arrays, Candidates, Scores
from tomotutor.learn.strategies.drop_query import PASSES

N, LABELED, CLASSES = 60, 8, 4


def make(labeled=LABELED, seed=0, classes=CLASSES, n=N):
    """Candidates with a last layer that gives their probabilities, the labeled items behind them."""
    rng = np.random.default_rng(seed)
    fc = torch.nn.Linear(10, classes)
    torch.manual_seed(seed)
    torch.nn.init.normal_(fc.weight, 0, 0.8)
    h = np.maximum(rng.normal(0.3, 1, (n + labeled, 10)), 0).astype(np.float32)
    with torch.inference_mode():
        log_p = torch.log_softmax(fc(torch.from_numpy(h)).double(), 1).numpy()
    net = torch.nn.Module()
    net.fc = fc
    backend = Arrays({"teacher": Scores(log_p, h)}, h, {"teacher": net})
    rows, labeled_rows = np.arange(n), np.arange(n, n + labeled)
    return Candidates(
        rows,
        backend,
        np.random.default_rng(4),
        labeled_rows=labeled_rows,
        labels=np.arange(labeled) % classes,
    )


def unit_about_mean(candidates):
    both = np.concatenate([candidates.teacher.embedding_ND, candidates.labeled.embedding_ND]).astype(float)
    both -= both.mean(0)
    return both / np.linalg.norm(both, axis=1, keepdims=True)


def asked(name, k, candidates, **recipe):
    strategy = STRATEGIES[name](Recipe(strategy=name, **recipe))
    return strategy.select(strategy.score(candidates), k, candidates)


@pytest.mark.parametrize("labeled", [0, LABELED])
def test_max_herding_asks_what_scikit_activeml_asks(labeled):
    candidates = make(labeled)
    x = unit_about_mean(candidates)
    y = np.full(len(x), np.nan)
    y[N:] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = PeerMaxHerding(normalize_samples=False, metric_dict={"gamma": 1.0}, random_state=0)
        theirs = peer.query(x, y, candidates=np.arange(N), batch_size=8)
    assert asked("max_herding", 8, candidates).tolist() == theirs.tolist()


def test_uherding_by_plain_loops():
    candidates = make()
    x, p = unit_about_mean(candidates), candidates.teacher.probs_NC
    away = [np.linalg.norm(x[i] - x[j]) for i in range(N, N + LABELED) for j in range(N, i)]
    sigma = min(away)

    def kernel(i, j):
        return np.exp(-(np.linalg.norm(x[i] - x[j]) ** 2) / sigma**2)

    unsure = [1 - (np.sort(row)[-1] - np.sort(row)[-2]) for row in p]
    covered = [max(kernel(i, j) for j in range(N, N + LABELED)) for i in range(N)]
    expected = []
    for _ in range(4):
        gain = [sum(unsure[i] * max(kernel(i, c) - covered[i], 0) for i in range(N)) for c in range(N)]
        expected.append(int(np.argmax([-1 if c in expected else g for c, g in enumerate(gain)])))
        covered = [max(covered[i], kernel(i, expected[-1])) for i in range(N)]
    assert asked("uherding", 4, candidates).tolist() == expected
    assert expected != asked("max_herding", 4, candidates).tolist()


@pytest.mark.parametrize("name", ["max_herding", "uherding"])
def test_the_best_of_many_is_found_without_looking_at_all_of_them(name):
    candidates = make(n=500)
    strategy = STRATEGIES[name](Recipe(strategy=name))
    x, weight = unit_about_mean(candidates), strategy.weight(candidates)
    square = strategy.bandwidth(x[500:].astype(np.float32)) ** 2
    kernel = np.exp(-np.square(x[:, None] - x[None]).sum(2) / square)
    cover, expected = kernel[:500, 500:].max(1), []
    for _ in range(25):
        gain = weight @ np.maximum(kernel[:500, :500] - cover[:, None], 0)
        gain[expected] = -1
        expected.append(int(gain.argmax()))
        cover = np.maximum(cover, kernel[:500, expected[-1]])
    assert asked(name, 25, candidates).tolist() == expected


def test_uherding_without_labels_is_max_herding():
    candidates = make(0)
    assert asked("uherding", 8, candidates).tolist() == asked("max_herding", 8, candidates).tolist()


def test_margin_cluster_asks_unsure_items_that_differ():
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(3), 20)
    h = (np.eye(3)[kind] * 5 + rng.normal(0, 0.1, (60, 3))).astype(np.float32)
    gap = np.where(np.arange(60) % 20 < 8, 0.01 * (np.arange(60) % 20) + 0.001 * kind, 0.9)  # 24 unsure, 8 of a kind
    p = np.stack([0.5 + gap / 2, 0.5 - gap / 2], 1)
    backend = Arrays({"teacher": Scores(np.log(p), h)})
    candidates = Candidates(np.arange(60), backend, np.random.default_rng(0))
    picked = asked("margin_cluster", 3, candidates)
    assert sorted(kind[picked]) == [0, 1, 2] and (gap[picked] < 0.5).all()
    for row in picked:  # of its kind's unsure items the one nearest to their centre
        inside = np.flatnonzero((kind == kind[row]) & (gap < 0.5))
        z = h / np.linalg.norm(h, axis=1, keepdims=True)
        assert row == inside[np.linalg.norm(z[inside] - z[inside].mean(0), axis=1).argmin()]
    assert (np.diff(gap[picked]) >= 0).all()


def test_drop_query_counts_changed_classes():
    candidates = make()
    strategy = STRATEGIES["drop_query"]()
    utility = strategy.score(candidates)
    fc, h = candidates.backend.nets["teacher"].fc, candidates.teacher.embedding_ND
    weight, bias = fc.weight.detach().numpy(), fc.bias.detach().numpy()
    before = candidates.teacher.log_probs_NC.argmax(1)
    generator = torch.Generator().manual_seed(int(np.random.default_rng(4).integers(2**31)))
    changes = np.zeros(N)
    for _ in range(3):
        kept = torch.rand(h.shape, generator=generator).numpy() >= 0.75
        changes += ((h * kept * 4) @ weight.T + bias).argmax(1) != before
    np.testing.assert_array_equal(np.floor(utility * PASSES + 1e-9), changes)
    assert 0 < (changes >= 2).sum() < N
    picked = strategy.select(utility, 5, candidates)
    assert (changes[picked] >= 2).all() and len(set(picked)) == 5


def test_tcm_turns_from_typical_to_unsure():
    few, many = make(CLASSES * 3 - 1), make(CLASSES * 3)
    assert asked("tcm", 5, few).tolist() == asked("typiclust", 5, make(CLASSES * 3 - 1)).tolist()
    assert asked("tcm", 5, many).tolist() == asked("margin", 5, make(CLASSES * 3)).tolist()
    assert asked("tcm", 5, few).tolist() != asked("margin", 5, few).tolist()
