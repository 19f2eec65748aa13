"""Every network: its counts, the maps teacher and student share, and what VGG and DRN compute."""

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.compute import Compute, choose
from tomotutor.learn.models import MODELS, PAIRS, Shape, build_net, build_pair

# parameters in millions and MFLOP (2 × multiply-adds) of one forward sample
COUNTS = [
    ("resnet18", Shape(2, 3, 32, 10), 11.17, 1111),
    ("resnet10", Shape(2, 3, 32, 10), 4.90, 507),
    ("resnet50", Shape(2, 3, 32, 10), 23.52, 2596),
    ("vgg16", Shape(2, 3, 224, 1000), 138.4, 30940),
    ("vgg13", Shape(2, 3, 224, 1000), 133.0, 22617),
    ("efficientnet-lite0", Shape(2, 3, 224, 1000), 4.65, 770),
    ("efficientnet-lite0", Shape(2, 1, 64, 10), 3.38, 251),
    ("efficientnet-lite0-half", Shape(2, 3, 224, 1000), 3.16, 392),
    ("drn_d_22", Shape(2, 3, 688, 19), 15.89, 246056),
    ("drn_d_14", Shape(2, 3, 688, 19), 9.62, 150084),
    ("resnet18", Shape(3, 1, 32, 10, "7s2pool"), 33.17, 982),
    ("resnet10", Shape(3, 1, 32, 10, "7s2pool"), 14.36, 557),
    ("resnet18", Shape(3, 1, 32, 10, "3s1"), None, 51418),
    ("resnet10", Shape(3, 1, 32, 10, "3s1"), None, 24239),
    ("resnet18", Shape(3, 1, 32, 10), None, 6427),
    ("resnet10", Shape(3, 1, 32, 10), None, 3030),
    ("resnet18", Shape(3, 1, 32, 10, width=0.5), None, 1610),
    ("resnet10", Shape(3, 1, 32, 10, width=0.5), None, 761),
    ("resnet18", Shape(3, 1, 32, 10, width=0.25), None, 404),
    ("resnet10", Shape(3, 1, 32, 10, width=0.25), None, 192),
]


@pytest.mark.parametrize(("name", "shape", "millions", "mflop"), COUNTS)
def test_parameters_and_flops(name, shape, millions, mflop):
    with FakeTensorMode():  # shapes without numbers: no memory, no arithmetic
        net = MODELS[name](shape).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(torch.zeros(1, shape.channels, *[shape.edge] * shape.ndim))
    if millions:
        assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, rel=5e-3)
    assert counter.get_total_flops() / 1e6 == pytest.approx(mflop, rel=5e-3)


def test_parameters_are_those_of_the_published_networks():
    def count(name, shape):
        with FakeTensorMode():
            return sum(p.numel() for p in MODELS[name](shape).parameters())

    assert count("efficientnet-lite0", Shape(2, 3, 224, 1000)) == 4_652_008
    assert count("vgg16", Shape(2, 3, 224, 1000)) == 138_365_992
    assert count("vgg13", Shape(2, 3, 224, 1000)) == 133_053_736
    trunk = count("drn_d_22", Shape(2, 3, 688, 1000)) - 1000 * 513
    assert trunk == 16_393_752 - 1000 * 513  # the published classifier has 1000 classes on the same 512 features


@pytest.mark.parametrize(
    ("teacher", "shape", "maps"),
    [
        ("resnet18", Shape(2, 3, 32, 5), [32, 16, 8, 4]),
        ("resnet18", Shape(2, 3, 224, 5), [56, 28, 14, 7]),
        ("resnet18", Shape(3, 1, 32, 5), [16, 8, 4, 2]),
        ("resnet18", Shape(3, 1, 32, 5, "7s2pool"), [8, 4, 2, 1]),
        ("resnet18", Shape(3, 1, 32, 5, "3s1"), [32, 16, 8, 4]),
        ("resnet34", Shape(3, 1, 32, 5), [16, 8, 4, 2]),
        ("resnet50", Shape(2, 3, 32, 5), [32, 16, 8, 4]),
        ("vgg16", Shape(2, 3, 224, 5), [224, 112, 56, 28, 14]),
        ("vgg16", Shape(2, 3, 32, 5), [32, 16, 8, 4, 2]),
        ("efficientnet-lite0", Shape(2, 3, 32, 5), [64, 32, 16, 8, 8, 4, 4]),
        ("efficientnet-lite0", Shape(2, 1, 300, 5), [112, 56, 28, 14, 14, 7, 7]),
        ("drn_d_22", Shape(2, 3, 688, 5), [688, 344, 172, 86, 86, 86, 86, 86]),
    ],
)
def test_teacher_and_student_have_modules_of_equal_map_size(teacher, shape, maps):
    with FakeTensorMode(), torch.no_grad():
        for name in (teacher, PAIRS[teacher]):
            output = MODELS[name](shape).eval()(torch.zeros(2, shape.channels, *[shape.edge] * shape.ndim))
            assert [m.shape[-1] for m in output.modules] == maps
            assert output.embedding.ndim == 2


@pytest.mark.parametrize(("teacher", "edge"), [("vgg16", 48), ("drn_d_22", 48), ("resnet50", 32)])
def test_maps_are_taken_after_the_relu_and_the_last_layer_makes_the_logits(teacher, edge):
    pair = build_pair(teacher, ndim=2, channels=3, edge=edge, classes=5, width=0.25, seed=0)
    x = torch.randn(2, 3, edge, edge)
    for net in pair.parts().values():
        with torch.inference_mode():
            output = net.eval()(x)
        assert all((m >= 0).all() and (m > 0).any() for m in output.modules)
        assert output.logits.shape[:2] == (2, 5)
        weight = net.fc.weight.detach().flatten(1)
        logits = output.logits if output.logits.ndim == 2 else None
        if logits is not None:
            torch.testing.assert_close(logits, output.embedding @ weight.T + net.fc.bias.detach())
        else:
            torch.testing.assert_close(output.embedding, output.modules[-1].mean((2, 3)))


@pytest.mark.parametrize("name", MODELS)
def test_convolutions_are_he_normal_and_networks_are_seeded(name):
    shape = Shape(2, 3, 32, 5, width=0.25)
    net = build_net(name, shape, 3)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    ratios = [
        m.weight.std().item() / (2 / (m.out_channels * m.kernel_size[0] ** 2)) ** 0.5
        for m in convolutions
        if m.weight.numel() > 2000
    ]
    np.testing.assert_allclose(ratios, 1, atol=0.06)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
    same, other = build_net(name, shape, 3), build_net(name, shape, 4)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))
    assert not torch.equal(convolutions[0].weight, next(other.parameters()))


def test_vgg_stages_are_convolution_norm_relu_and_pooling():
    """The first stage, by loops in float64."""
    net = build_net("vgg13", Shape(2, 1, 32, 3, width=0.25), 0).eval()
    x = np.random.default_rng(0).normal(size=(32, 32))
    h = x[None]
    for layer in net.stages[0]:
        weight, bias = (p.detach().double().numpy() for p in (layer[0].weight, layer[0].bias))
        padded = np.pad(h, ((0, 0), (1, 1), (1, 1)))
        out = np.zeros((len(weight), 32, 32))
        for o in range(len(weight)):
            for i in range(3):
                for j in range(3):
                    out[o] += (weight[o, :, i, j, None, None] * padded[:, i : i + 32, j : j + 32]).sum(0)
            out[o] += bias[o]
        h = np.maximum(out / np.sqrt(1 + 1e-5), 0)
    with torch.inference_mode():
        found = net(torch.from_numpy(x[None, None]).float())
    np.testing.assert_allclose(found.modules[0][0], h, atol=1e-4)
    pooled = h.reshape(len(h), 16, 2, 16, 2).max((2, 4))
    with torch.inference_mode():
        second = net.stages[1](torch.from_numpy(pooled[None]).float())
    torch.testing.assert_close(found.modules[1], second, atol=1e-4, rtol=1e-4)


def test_vgg_dropout_is_off_in_eval_seeded_and_its_own():
    shape, x = Shape(2, 3, 32, 4, width=0.25), torch.randn(2, 3, 32, 32)
    first, second = build_net("vgg13", shape, 1), build_net("vgg13", shape, 1)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for net in (first, second):
        net.train()
    a, b = first(x), first(x)
    assert not torch.equal(a.logits, b.logits)
    assert torch.equal(second(x).logits, a.logits)
    assert torch.equal(torch.get_rng_state(), state)  # the global stream is left alone
    assert 0.35 < (a.embedding == 0).float().mean() < 0.95
    first.eval()
    assert torch.equal(first(x).logits, first(x).logits)


def test_drn_dilates_instead_of_pooling():
    """One bright pixel reaches exactly as far as the dilations say."""
    net = build_net("drn_d_14", Shape(2, 1, 64, 3, width=0.25), 0).eval()
    for m in net.modules():
        if isinstance(m, torch.nn.Conv2d):
            torch.nn.init.ones_(m.weight)
    x = torch.zeros(1, 1, 512, 512)
    x[0, 0, 256, 256] = 1.0
    with torch.inference_mode():
        maps = net(x).modules
    reach = [int((m[0, 0].sum(0) > 0).sum()) for m in maps]
    # 7×7 gives 7 pixels, layer 1 two more; each stride halves (rounding outwards); then ± 2·2, 2·4, 2, 1 positions
    assert reach[0] == 9
    assert np.diff(reach[3:]).tolist() == [8, 16, 4, 2]


@pytest.mark.parametrize(("height", "width"), [(90, 120), (64, 64), (33, 47)])
def test_drn_logits_have_the_size_of_the_image_and_interpolate(height, width):
    net = build_net("drn_d_14", Shape(2, 3, 33, 4, width=0.25), 0).eval()
    x = torch.randn(1, 3, height, width)
    with torch.inference_mode():
        output = net(x)
        coarse = torch.nn.functional.conv2d(output.modules[-1], net.fc.weight, net.fc.bias)[0].double().numpy()
    assert output.logits.shape == (1, 4, height, width)
    for y, x_ in ((0, 0), (13, 21), (height - 1, width - 1)):
        at_y, at_x = (min(max((v + 0.5) / 8 - 0.5, 0), n - 1) for v, n in zip((y, x_), coarse.shape[1:], strict=True))
        i, j = int(at_y), int(at_x)
        k, l = min(i + 1, coarse.shape[1] - 1), min(j + 1, coarse.shape[2] - 1)
        u, v = at_y - i, at_x - j
        expected = (1 - u) * ((1 - v) * coarse[:, i, j] + v * coarse[:, i, l]) + u * (
            (1 - v) * coarse[:, k, j] + v * coarse[:, k, l]
        )
        np.testing.assert_allclose(output.logits[0, :, y, x_], expected, atol=1e-4)


def test_ways_to_compute_can_be_compared_on_every_kind_of_network():
    for name in ("vgg13", "efficientnet-lite0-half", "drn_d_14"):
        shape = Shape(2, 3, 32, 4, width=0.25)
        path = Compute("cpu", "float32", True, 0, 1)
        assert (
            choose(lambda n=name, s=shape: MODELS[n](s), (3, 32, 32), device="cpu", threads=1, paths=[path]).precision
            == "float32"
        )


@pytest.mark.parametrize(
    ("teacher", "shape", "message"),
    [
        ("vgg16", Shape(3, 1, 32, 5), "vgg16 is a network for images, and these items are volumes; choose resnet18"),
        ("drn_d_22", Shape(3, 1, 32, 5), "drn_d_22 is a network for images"),
        ("vgg16", Shape(2, 1, 32, 5, "3s1"), "stem is '3s1', but the first layer of vgg16 is fixed; expected auto"),
        (
            "efficientnet-lite0",
            Shape(2, 4, 32, 5),
            "takes grey images or RGB, and these have 4 channels; choose resnet18",
        ),
        ("vgg16", Shape(2, 1, 16, 5), "these have 16 pixels; expected 32 at least"),
    ],
)
def test_what_a_network_cannot_take_is_said(teacher, shape, message):
    with pytest.raises(TomoTutorError, match=message):
        MODELS[teacher](shape)


def test_students_of_resnets_have_half_the_blocks():
    for teacher, student in (("resnet18", "resnet10"), ("resnet34", "resnet34_half"), ("resnet50", "resnet50_half")):
        shape = Shape(2, 3, 32, 4, width=0.25)
        counts = [[len(stage) for stage in build_net(name, shape, 0).stages] for name in (teacher, student)]
        assert counts[1] == [max(1, n // 2) for n in counts[0]]
        assert PAIRS[teacher] == student
