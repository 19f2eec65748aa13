"""Strategies with networks of their own: where gradients flow, and where they must not."""

import numpy as np
import pytest
import scipy.stats
import torch

from helpers import two_kinds
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import build_pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import STRATEGIES, Arrays, Candidates, Scores, Strategy
from tomotutor.learn.strategies.adversarial import SRAAL, VAAL, VAE, discriminator, draws
from tomotutor.learn.strategies.loss_prediction import LossNet, LossPrediction, ranking_loss
from tomotutor.learn.train import fit

RECIPE = Recipe(steps=4, batch_size=8, precision="float32", width=0.25)
CPU = Compute(threads=1)
X, Y = two_kinds(40, edge=8)
X = X[:, None]


def moved(parameters):
    return sum(float(p.grad.abs().sum()) for p in parameters if p.grad is not None)


# ---- LL4AL -----------------------------------------------------------------------------------------------------------


def teacher_and_loss(progress):
    pair = build_pair("resnet18", ndim=3, channels=1, edge=8, classes=2, width=0.25, seed=0)
    strategy = LossPrediction(RECIPE)
    x = torch.from_numpy(X[:8])
    (net,) = strategy.attach(pair.teacher, x[:1], 0)
    output = pair.teacher.train()(x)
    loss_N = torch.nn.functional.cross_entropy(output.logits, torch.from_numpy(Y[:8]), reduction="none")
    strategy.aux_loss(output, loss_N, progress).backward()
    return pair.teacher, net


def test_ll4al_shapes_the_teacher_until_60_percent_of_the_training():
    teacher, net = teacher_and_loss(0.59)
    assert moved(net.parameters()) > 0
    assert moved(teacher.stages.parameters()) > 0
    assert moved(teacher.fc.parameters()) == 0  # the loss to predict is not itself changed to be easy to predict
    teacher, net = teacher_and_loss(0.6)
    assert moved(net.parameters()) > 0
    assert moved(teacher.parameters()) == 0


def test_ll4al_network_has_the_papers_shape():
    strategy = LossPrediction(RECIPE)
    pair = build_pair("resnet18", ndim=3, channels=1, edge=8, classes=2, width=0.25, seed=0)
    (net,) = strategy.attach(pair.teacher, torch.from_numpy(X[:1]), 0)
    assert [(t.in_features, t.out_features) for t in net.taps] == [(16, 128), (32, 128), (64, 128), (128, 128)]
    assert (net.out.in_features, net.out.out_features) == (512, 1)


def trained_teacher(name, with_student=True):
    pair = build_pair("resnet18", ndim=3, channels=1, edge=8, classes=2, width=0.25, seed=0)
    strategy = STRATEGIES[name](RECIPE)
    fit(pair, X.__getitem__, Y, RECIPE, CPU, seed=1, strategy=strategy, with_student=with_student)
    return pair, strategy


@pytest.mark.parametrize("name", ["teacher_student", "ll4al", "mc_dropout"])
def test_the_teachers_gradients_are_bit_identical_with_and_without_a_student(name):
    both, alone = trained_teacher(name)[0], trained_teacher(name, with_student=False)[0]
    for a, b in zip(both.teacher.parameters(), alone.teacher.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
        assert torch.equal(a, b)


def test_only_these_strategies_touch_the_task_training():
    touch = {n for n, s in STRATEGIES.items() if s.attach is not Strategy.attach or s.aux_loss is not Strategy.aux_loss}
    assert touch == {"ll4al", "mc_dropout", "bald"}
    plain, none = (
        trained_teacher("random")[0],
        build_pair("resnet18", ndim=3, channels=1, edge=8, classes=2, width=0.25, seed=0),
    )
    fit(none, X.__getitem__, Y, RECIPE, CPU, seed=1)
    for a, b in zip(plain.teacher.parameters(), none.teacher.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_ranking_loss_teaches_the_network_which_losses_are_high():
    torch.manual_seed(0)
    net = LossNet((8, 16))
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for _ in range(150):
        modules = [torch.randn(16, 8, 3, 3), torch.randn(16, 16, 2, 2)]
        loss_N = modules[0].mean((1, 2, 3)).exp() + modules[1][:, 0].mean((1, 2))
        optimizer.zero_grad()
        ranking_loss(net(modules), loss_N).backward()
        optimizer.step()
    modules = [torch.randn(200, 8, 3, 3), torch.randn(200, 16, 2, 2)]
    loss_N = modules[0].mean((1, 2, 3)).exp() + modules[1][:, 0].mean((1, 2))
    assert scipy.stats.spearmanr(net(modules).detach(), loss_N).statistic > 0.8


# ---- VAAL, SRAAL -----------------------------------------------------------------------------------------------------


def built(kind, shape=(1, 8, 8, 8)):
    strategy = kind(RECIPE)
    strategy.build(shape, 2, 0)
    return strategy


@pytest.mark.parametrize("shape", [(1, 8, 8, 8), (1, 20, 16, 33), (3, 32, 32), (3, 30, 45)])
def test_the_autoencoder_gives_back_the_shape_of_its_input(shape):
    vae = VAE(shape, 0.25)
    x = torch.randn(2, *shape)
    mean, log_variance = vae.encode(x)
    assert mean.shape == log_variance.shape == (2, 32)
    assert vae.decode(mean).shape == vae.padded(x).shape
    assert all(size % 16 == 0 for size in vae.padded(x).shape[2:])
    convs = [m for m in vae.encoder if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d)]
    assert [c.out_channels for c in convs] == [32, 64, 128, 256]  # a quarter of 128, 256, 512, 1024
    assert all(set(c.kernel_size) == {4} and set(c.stride) == {2} for c in convs)
    assert [m.out_features for m in discriminator() if isinstance(m, torch.nn.Linear)] == [512, 512, 1]


@pytest.mark.parametrize("kind", [VAAL, SRAAL])
def test_the_autoencoders_loss_is_the_sum_of_its_means(kind):
    """Both terms are means, against float64 sums over all numbers."""
    strategy = built(kind)
    strategy.vae.eval(), strategy.judge.eval()
    labeled, unlabeled, y = torch.from_numpy(X[:4]), torch.from_numpy(X[4:8]), torch.from_numpy(Y[:4])
    got = strategy.vae_loss(labeled, y, unlabeled, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    expected = 0.0
    for x in (labeled, unlabeled):
        mean, log_variance = (t.detach() for t in strategy.vae.encode(x))
        z = mean + torch.randn(4, 32, generator=generator) * (log_variance / 2).exp()
        back, padded = strategy.vae.decode(z).detach().double().flatten(), strategy.vae.padded(x).double().flatten()
        expected += sum((a - b) ** 2 for a, b in zip(back.tolist(), padded.tolist(), strict=True)) / len(back)
        m, v = mean.double().flatten().tolist(), log_variance.double().flatten().tolist()
        expected += sum(-0.5 * (1 + b - a * a - np.exp(b)) for a, b in zip(m, v, strict=True)) / len(m)
        expected += sum(np.log(1 + np.exp(-d)) for d in strategy.judge(mean).double().flatten().tolist()) / 4
        if kind is SRAAL and x is labeled:
            logits = strategy.head(z).double().detach().numpy()
            expected += np.mean([np.log(np.exp(row).sum()) - row[c] for row, c in zip(logits, y.tolist(), strict=True)])
    assert float(got.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", [VAAL, SRAAL])
def test_gradients_flow_into_the_encoder_through_the_discriminator_and_not_back(kind):
    strategy = built(kind)
    labeled, unlabeled, y = torch.from_numpy(X[:8]), torch.from_numpy(X[8:16]), torch.from_numpy(Y[:8])
    mean, _ = strategy.vae.encode(unlabeled)
    adversarial = torch.nn.functional.softplus(-strategy.judge(mean)).mean()
    assert float(torch.autograd.grad(adversarial, strategy.vae.mean.weight)[0].abs().sum()) > 0  # μ is not detached
    own = strategy.trained_parts()
    strategy.vae_loss(labeled, y, unlabeled, torch.Generator()).backward(inputs=own)
    assert moved(strategy.vae.parameters()) > 0
    assert moved(strategy.judge.parameters()) == 0
    assert (moved(strategy.head.parameters()) > 0) == (kind is SRAAL)
    for p in own:
        p.grad = None
    strategy.judge_loss(labeled, unlabeled).backward()
    assert moved(strategy.judge.parameters()) > 0
    assert moved([*strategy.vae.parameters(), *strategy.head.parameters()]) == 0


def test_the_discriminator_learns_what_is_not_among_the_labeled_and_that_is_asked_first():
    """All labels are balls; slabs are what the labeled set lacks. The encoder is held still: it would try to hide just
    that.
    """
    x, y = two_kinds(60, edge=16, seed=4)
    x = torch.from_numpy(x[:, None, 8])
    balls = np.flatnonzero(y == 0)
    labeled, rows = balls[:16], np.setdiff1d(np.arange(60), balls[:16])
    strategy = built(VAAL, (1, 16, 16))
    optimizer = torch.optim.Adam(strategy.judge.parameters(), 5e-4)
    batches = draws(rows, 16, np.random.default_rng(0))
    for _ in range(60):
        optimizer.zero_grad()
        strategy.judge_loss(x[labeled], x[next(batches)]).backward()
        optimizer.step()
    strategy.vae.eval()
    backend = Arrays({}, x.numpy())
    with torch.inference_mode():
        utility = -strategy.judge(strategy.vae.encode(x[rows])[0])[:, 0].double().numpy()
    first = rows[strategy.select(utility, 15, Candidates(rows, backend, np.random.default_rng(0)))]
    assert (y[first] == 1).mean() > 0.85  # 0.68 by chance


@pytest.mark.parametrize("kind", [VAAL, SRAAL])
def test_two_steps_of_the_autoencoder_go_with_one_of_the_discriminator_and_all_are_told(kind, monkeypatch):
    steps = []
    for loss in ("vae_loss", "judge_loss"):
        original = getattr(kind, loss)
        monkeypatch.setattr(
            kind, loss, lambda self, *args, _n=loss, _f=original: (steps.append(_n), _f(self, *args))[1]
        )
    told = []

    class Reader(Arrays):
        def read(self, rows):
            return torch.from_numpy(self.feature_ND[rows])

        def tell(self, done, total):
            told.append((done, total))

    scores = {"teacher": Scores(np.zeros((40, 2)), np.zeros((40, 2), np.float32))}
    backend = Reader(scores, X[:, :, 4], steps=3)
    candidates = Candidates(
        np.arange(10, 40), backend, np.random.default_rng(0), labeled_rows=np.arange(10), labels=Y[:10]
    )
    strategy = kind(RECIPE)
    strategy.fit(candidates)
    assert steps == ["vae_loss", "vae_loss", "judge_loss"] * 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    judged = strategy.judge(strategy.vae.encode(torch.from_numpy(X[10:, :, 4]))[0])[:, 0].detach().double().numpy()
    np.testing.assert_allclose(strategy.score(candidates), -judged, rtol=1e-4, atol=1e-6)  # the lowest D first


def test_draws_are_full_batches_that_show_everything_equally_often():
    batches = draws(np.array([3, 5, 9]), 4, np.random.default_rng(0))
    seen = np.concatenate([next(batches) for _ in range(6)])
    assert sorted(seen.tolist()) == [3] * 8 + [5] * 8 + [9] * 8
