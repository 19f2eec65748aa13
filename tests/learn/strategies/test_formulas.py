"""Each formula against plain loops in float64."""

import math

import numpy as np
import pytest
import torch

from helpers import make_candidates, on_embeddings
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import STRATEGIES, Scores, disagreement
from tomotutor.learn.strategies.adversarial import uncertainty
from tomotutor.learn.strategies.loss_prediction import ranking_loss
from tomotutor.learn.strategies.low_budget import typicality


@pytest.fixture
def candidates():
    return make_candidates(n=20, classes=5)


def test_teacher_student_is_kl_of_teacher_and_student(candidates):
    p_T, p_S = candidates.teacher.probs_NC, candidates.student.probs_NC
    expected = [sum(t * math.log(t / s) for t, s in zip(pt, ps, strict=True)) for pt, ps in zip(p_T, p_S, strict=True)]
    got = STRATEGIES["teacher_student"]().score(candidates)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    # torch's kl_div takes the second distribution first; the other way round is another number
    theirs = torch.nn.functional.kl_div(torch.tensor(np.log(p_S)), torch.tensor(p_T), reduction="none").sum(1)
    np.testing.assert_allclose(got, theirs.numpy(), rtol=1e-9)
    assert not np.allclose(got, disagreement(np.log(p_S), np.log(p_T)))


def test_disagreement_is_zero_for_equals_and_never_negative():
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(5), 50))
    np.testing.assert_allclose(disagreement(log_p, log_p), 0)
    assert (disagreement(log_p, log_p + 1e-17) >= 0).all()
    certain = np.array([[0.0, -np.inf]])
    assert disagreement(certain, np.log([[0.5, 0.5]]))[0] == pytest.approx(math.log(2))


def test_entropy(candidates):
    expected = [-sum(p * math.log(p) for p in row) for row in candidates.teacher.probs_NC]
    np.testing.assert_allclose(STRATEGIES["entropy"]().score(candidates), expected, rtol=1e-10)


def test_margin(candidates):
    expected = [-(sorted(row)[-1] - sorted(row)[-2]) for row in candidates.teacher.probs_NC.tolist()]
    np.testing.assert_allclose(STRATEGIES["margin"]().score(candidates), expected, rtol=1e-10)


def test_least_confidence(candidates):
    expected = [1 - max(row) for row in candidates.teacher.probs_NC.tolist()]
    np.testing.assert_allclose(STRATEGIES["least_confidence"]().score(candidates), expected, rtol=1e-10)


def test_random_needs_no_network_and_is_uniform():
    counts = np.zeros(20)
    for seed in range(400):
        candidates = make_candidates(n=20)
        candidates.rng = np.random.default_rng(seed)
        strategy = STRATEGIES["random"]()
        counts[strategy.select(strategy.score(candidates), 5, candidates)] += 1
        assert not candidates.calls
    assert np.abs(counts - 100).max() < 40  # 4.6 standard deviations of Binomial(400, 1/4)


def entropy(p):
    return -sum(x * math.log(x) for x in p if x > 0)


@pytest.mark.parametrize("kind", ["kl_ts", "kl_st", "js"])
def test_the_three_directions_of_the_divergence(candidates, kind):
    expected = []
    for p, q in zip(candidates.teacher.probs_NC, candidates.student.probs_NC, strict=True):
        m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        kl = {
            "kl_ts": sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)),
            "kl_st": sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)),
            "js": sum(a * math.log(a / c) + b * math.log(b / c) for a, b, c in zip(p, q, m, strict=True)) / 2,
        }
        expected.append(kl[kind])
    got = STRATEGIES["teacher_student"](Recipe(uncertainty=kind)).score(candidates)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("committee", [3, 5])
def test_qbc_is_the_jensen_shannon_divergence_of_the_committee(candidates, committee):
    members = ["teacher", "member 1", "member 2", "member 3", "member 4"][:committee]
    probs = [candidates.backend.score(m, candidates.rows).probs_NC for m in members]
    expected = []
    for n in range(20):
        mean = [sum(p[n][c] for p in probs) / committee for c in range(5)]
        expected.append(entropy(mean) - sum(entropy(p[n]) for p in probs) / committee)
    got = STRATEGIES["qbc"](Recipe(committee=committee)).score(candidates)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    skactiveml = pytest.importorskip("skactiveml.pool")
    np.testing.assert_allclose(got, skactiveml.average_kl_divergence(np.stack(probs)), rtol=1e-6)


def test_cod_is_half_the_squared_change(candidates):
    expected = [
        sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) / 2
        for p, q in zip(candidates.teacher.probs_NC, candidates.previous.probs_NC, strict=True)
    ]
    np.testing.assert_allclose(STRATEGIES["cod"]().score(candidates), expected, rtol=1e-12)


def test_cod_is_random_where_there_is_no_earlier_teacher():
    first = on_embeddings(np.zeros((50, 2)), seed=1), on_embeddings(np.zeros((50, 2)), seed=2)
    a, b = (STRATEGIES["cod"]().score(c) for c in first)
    assert len(set(a.tolist())) == 50
    assert not np.allclose(a, b)


def with_classifier(seed=0, classes=5):
    """Candidates with a classifier on their embeddings, as Monte-Carlo dropout repeats it."""
    candidates = make_candidates(n=20, classes=classes, seed=seed)
    torch.manual_seed(seed)
    net = torch.nn.Module()
    net.fc = torch.nn.Linear(8, classes)
    candidates.backend.nets["teacher"] = net
    return candidates, net


def test_mc_dropout_and_bald_against_every_possible_mask():
    """With 8 numbers in the embedding there are 256 masks: 4,000 passes must come close to the sum over all of them."""
    candidates, net = with_classifier()
    weight, bias = net.fc.weight.detach().numpy().astype(np.float64), net.fc.bias.detach().numpy().astype(np.float64)
    for name in ("mc_dropout", "bald"):
        got = STRATEGIES[name](Recipe(mc_passes=4000)).score(candidates)
        for n in range(20):
            mean, mean_entropy = np.zeros(5), 0.0
            for mask in range(256):
                h = [2 * candidates.teacher.embedding_ND[n, d] * (mask >> d & 1) for d in range(8)]
                z = np.exp(weight @ np.array(h) + bias)
                mean += z / z.sum() / 256
                mean_entropy += entropy(z / z.sum()) / 256
            expected = entropy(mean) - (mean_entropy if name == "bald" else 0)
            assert got[n] == pytest.approx(expected, abs=0.02), name


def test_mc_dropout_trains_with_dropout_and_predicts_without():
    _, net = with_classifier()
    h = torch.ones(2000, 8)
    before = net.fc(h)
    STRATEGIES["mc_dropout"]().attach(net, torch.zeros(1), 3)
    net.train()
    assert not torch.allclose(net.fc(h), before)
    torch.testing.assert_close(
        net.fc(h).mean(0), before[0], atol=0.1, rtol=0
    )  # doubled where it stays: the mean is kept
    net.eval()
    assert torch.equal(net.fc(h), before)


def test_ll4al_ranking_loss():
    predicted, loss = [0.3, -1.0, 2.0, 0.5, 0.1, 0.9, 7.0], [1.0, 2.0, 0.5, 4.0, 0.2, 0.1, 3.0]
    expected = 0.0
    for i in range(3):
        j = 6 - i
        sign = 1 if loss[i] > loss[j] else -1
        expected += max(0.0, 1.0 - sign * (predicted[i] - predicted[j])) / 3
    assert float(ranking_loss(torch.tensor(predicted), torch.tensor(loss))) == pytest.approx(expected, rel=1e-6)
    assert float(ranking_loss(torch.tensor([1.0]), torch.tensor([1.0]))) == 0  # nobody to compare with


def test_sraal_uncertainty():
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 30)
    expected = []
    for p in probs.tolist():
        c, m = 4, max(p)
        variance = sum((x - 1 / c) ** 2 for x in p) / c
        least = ((1 / c - m) ** 2 + (c - 1) * (1 / c - (1 - m) / (c - 1)) ** 2) / c
        expected.append(1 - m * least / variance)
    got = uncertainty(torch.tensor(probs)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert (got >= 0).all()
    assert (got <= 1).all()
    edges = uncertainty(torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.25 + 1e-7, 0.25, 0.25, 0.25 - 1e-7]]))
    np.testing.assert_allclose(edges.numpy(), [0, 0.75, 0.75], atol=1e-5)


def test_typicality_is_the_inverse_mean_distance_to_twenty_neighbours():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    expected = []
    for i in range(40):
        distances = sorted(math.dist(x[i].tolist(), x[j].tolist()) for j in range(40) if j != i)
        expected.append(1 / (sum(distances[:20]) / 20))
    np.testing.assert_allclose(typicality(x), expected, rtol=1e-4)
    assert typicality(x[:1]).tolist() == [1.0]


def test_badge_scores_by_the_norm_of_the_gradient(candidates):
    expected = []
    for p, h in zip(candidates.teacher.probs_NC, candidates.teacher.embedding_ND, strict=True):
        best = max(range(5), key=lambda c: p[c])
        vector = [(p[c] - (c == best)) * float(d) for c in range(5) for d in h]
        expected.append(math.sqrt(sum(v * v for v in vector)))
    np.testing.assert_allclose(STRATEGIES["badge"]().score(candidates), expected, rtol=1e-6)


def test_our_gradients_are_of_the_mean_answer_and_of_the_difference(candidates):
    teacher, student, h = candidates.teacher.probs_NC, candidates.student.probs_NC, candidates.teacher.embedding_ND
    pair, residual = [], []
    for p, q, x in zip(teacher, student, h, strict=True):
        mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        best = max(range(5), key=lambda c: mean[c])
        pair.append(math.sqrt(sum(((mean[c] - (c == best)) * float(d)) ** 2 for c in range(5) for d in x)))
        residual.append(math.sqrt(sum(((a - b) * float(d)) ** 2 for a, b in zip(p, q, strict=True) for d in x)))
    np.testing.assert_allclose(STRATEGIES["pair_badge"]().score(candidates), pair, rtol=1e-6)
    np.testing.assert_allclose(STRATEGIES["residual"]().score(candidates), residual, rtol=1e-6)


def test_residual_asks_for_one_of_each_disagreement_and_nothing_of_agreement():
    """Three bundles of embeddings: in two of them the networks disagree, each about other classes."""
    rng = np.random.default_rng(1)
    x = np.repeat(np.eye(3), 20, axis=0) + rng.normal(0, 0.01, (60, 3))
    teacher = np.repeat([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]], 20, axis=0)
    student = np.repeat([[0.1, 0.85, 0.05], [0.05, 0.1, 0.85], [0.05, 0.05, 0.9]], 20, axis=0)
    candidates = on_embeddings(x, probs_NC=teacher)
    candidates.backend.scores["student"] = Scores(np.log(student), x.astype(np.float32))
    strategy = STRATEGIES["residual"]()
    picked = strategy.select(strategy.score(candidates), 2, candidates)
    assert sorted(candidates.rows[picked] // 20) == [0, 1]


def test_core_set_is_greedy_k_centre():
    x = np.random.default_rng(2).normal(size=(40, 3))
    candidates = on_embeddings(x, labeled_rows=[4, 9])
    centres, expected = [4, 9], []
    rest = [i for i in range(40) if i not in centres]
    for _ in range(10):
        far = max(rest, key=lambda i: min(math.dist(x[i], x[c]) for c in [*centres, *expected]) * (i not in expected))
        expected.append(far)
    strategy = STRATEGIES["core_set"]()
    utility = strategy.score(candidates)
    np.testing.assert_allclose(utility, [min(math.dist(x[i], x[c]) for c in centres) for i in rest], rtol=1e-5)
    assert candidates.rows[strategy.select(utility, 10, candidates)].tolist() == expected


def test_core_set_agrees_with_scikit_activeml():
    skactiveml = pytest.importorskip("skactiveml.pool")
    x = np.random.default_rng(3).normal(size=(120, 5)).astype(np.float32)
    y = np.full(120, np.nan)
    y[:4] = 0
    theirs, _ = skactiveml.CoreSet().query(x, y, batch_size=25, return_utilities=True)
    candidates = on_embeddings(x, labeled_rows=range(4))
    strategy = STRATEGIES["core_set"]()
    assert candidates.rows[strategy.select(strategy.score(candidates), 25, candidates)].tolist() == theirs.tolist()
