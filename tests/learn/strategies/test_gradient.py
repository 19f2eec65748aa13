"""Gradient norms against a loop that goes backward for one item at a time, in float64."""

import numpy as np
import pytest
import torch

from tomotutor.learn.models import ResNet
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import STRATEGIES, Arrays, Candidates, Scores
from tomotutor.learn.strategies.per_sample import recorded


class OnImages(Arrays):
    """Arrays whose items are images, so that the networks can run over them."""

    def read(self, rows):
        return torch.from_numpy(self.feature_ND[rows])

    def run(self, rows, function, *, gradients):
        assert gradients
        return function(self.read(rows)).double().numpy()


def make(ndim, classes=4, n=5, edge=12, stem="3s1", seed=0):
    torch.manual_seed(seed)
    net = ResNet(ndim, (1, 1, 1, 1), 2, classes, stem=stem, width=0.125)
    for module in net.modules():  # batch norm as after a training, not at its start
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    net.eval()
    x = torch.randn(n, 2, *(edge,) * ndim)
    with torch.inference_mode():
        output = net(x)
    scores = Scores(torch.log_softmax(output.logits.double(), 1).numpy(), output.embedding.numpy())
    return (
        net,
        x,
        Candidates(np.arange(n), OnImages({"teacher": scores}, x.numpy(), {"teacher": net}), np.random.default_rng(0)),
    )


def one_by_one(net, x, losses, last=False):
    """Norms of all parameters' gradients of each item, (items, losses, parameters), by batches of 1 in float64."""
    import copy

    net64 = copy.deepcopy(net).double()
    found = []
    for item in x.double():
        h = item[None]
        for stage in (net64.stem, *net64.stages):
            h = stage(h)
        logits = net64.fc(h.flatten(2).mean(2))  # forward() itself returns float32
        p = torch.softmax(logits[0], 0)
        parameters = list((net64.fc if last else net64).parameters())
        rows = []
        for loss in losses(p):
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            rows.append([float(g.norm()) for g in gradients])
        found.append((rows, p.detach().numpy()))
    return found


def entropy_loss(p):
    return [-(p * p.log()).sum()]


def expected_loss(p):
    total = 0
    for i in range(len(p)):
        target = torch.zeros_like(p)
        target[i] = 1
        total = total + p[i] * -(target * p.log()).sum()  # p_i, not detached, times the cross-entropy with class i
    return [total]


def each_class(p):
    return [-p[i].log() for i in range(len(p))]


def reduce(norms, kind):
    return sum(norms) if kind != "global" else sum(n * n for n in norms) ** 0.5


@pytest.mark.parametrize(("ndim", "stem"), [(2, "3s1"), (2, "7s2pool"), (3, "3s2"), (3, "3s1")])
@pytest.mark.parametrize("kind", ["tensors", "global", "last"])
def test_entropy_gradnorm(ndim, stem, kind):
    net, x, candidates = make(ndim, stem=stem, n=3)
    expected = [reduce(rows[0], kind) for rows, _ in one_by_one(net, x, entropy_loss, last=kind == "last")]
    got = STRATEGIES["entropy_gradnorm"](Recipe(gradient_norm=kind)).score(candidates)
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_expected_gradnorm_is_the_same_number():
    """With p not detached the expected loss is the entropy, so both gradients agree tensor by tensor."""
    net, x, candidates = make(2)
    by_entropy, by_expectation = one_by_one(net, x, entropy_loss), one_by_one(net, x, expected_loss)
    for (a, _), (b, _) in zip(by_entropy, by_expectation, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    scores = [STRATEGIES[name]().score(candidates) for name in ("entropy_gradnorm", "expected_gradnorm")]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_allclose(scores[1], [sum(rows[0]) for rows, _ in by_expectation], rtol=2e-3)


@pytest.mark.parametrize("kind", ["tensors", "global", "last"])
def test_egl_weighs_the_norm_of_each_class_by_its_probability(kind):
    net, x, candidates = make(2, n=3)
    expected = [
        sum(p * reduce(norms, kind) for p, norms in zip(probs, rows, strict=True))
        for rows, probs in one_by_one(net, x, each_class, last=kind == "last")
    ]
    got = STRATEGIES["egl"](Recipe(gradient_norm=kind)).score(candidates)
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_every_way_to_a_convolutions_norm_is_the_same(monkeypatch):
    """Pairs of positions, the whole unfolded input, and one kernel offset at a time."""
    from tomotutor.learn.strategies import per_sample

    torch.manual_seed(0)
    conv = torch.nn.Conv3d(3, 4, 3, stride=2, padding=1, dilation=1)
    for edge in (3, 12):  # small maps go by pairs of positions
        a = torch.randn(2, 3, edge, edge + 1, edge)
        out = conv(a)
        gradient = torch.randn_like(out)
        expected = []
        for n in range(2):
            (w,) = torch.autograd.grad(conv(a[n : n + 1]), conv.weight, gradient[n : n + 1])
            expected.append(float(w.double().square().sum()))
        for limit in (2**24, 0):
            monkeypatch.setattr(per_sample, "WHOLE", limit)
            np.testing.assert_allclose(per_sample.squared_norms(conv, a, gradient)[0].numpy(), expected, rtol=1e-4)


def test_the_network_is_left_as_it_was():
    net, x, _ = make(2)
    with recorded(net) as squares:
        net(x.requires_grad_()).logits.sum().backward()
    assert len(squares) == len(list(net.parameters()))
    assert all(p.requires_grad for p in net.parameters())
    assert all(p.grad is None for p in net.parameters())
    net(x.detach()).logits.sum().backward()
    assert len(squares) == len(list(net.parameters()))  # the hooks are gone


def test_an_unknown_layer_is_said():
    from tomotutor.base.errors import TomoTutorError

    layer = torch.nn.GroupNorm(1, 2)
    with pytest.raises(TomoTutorError, match="a layer GroupNorm is not known"), recorded(layer):
        layer(torch.randn(1, 2, 3, requires_grad=True)).sum().backward()
