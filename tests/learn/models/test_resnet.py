import pytest
import torch
from monai.networks.nets import ResNet as MonaiResNet
from monai.networks.nets import resnet10, resnet18, resnet34, resnet50

from tomotutor.learn.models import MODELS, Shape, build_pair


@pytest.mark.parametrize("stem", ["7s2pool", "3s2", "3s1"])
@pytest.mark.parametrize(("name", "theirs"), [("resnet18", resnet18), ("resnet10", resnet10)])
def test_3d_equals_monai_for_copied_weights(name, theirs, stem):
    check_against_monai(name, theirs, 3, stem, 32, 0.25)


@pytest.mark.parametrize(("name", "theirs", "ndim"), [("resnet34", resnet34, 3), ("resnet34", resnet34, 2)])
def test_resnet34_equals_monai_for_copied_weights(name, theirs, ndim):
    check_against_monai(name, theirs, ndim, "3s2", 24, 0.25)


@pytest.mark.parametrize("ndim", [2, 3])
def test_resnet50_equals_monai_for_copied_weights(ndim):
    # MONAI's widen_factor narrows a bottleneck twice over, so this one is compared at full width
    check_against_monai("resnet50", resnet50, ndim, "3s2", 16, 1.0)


def test_a_halved_resnet_is_monais_with_half_the_blocks():
    def theirs(**options):
        return MonaiResNet(block="basic", layers=[1, 2, 3, 1], block_inplanes=[64, 128, 256, 512], **options)

    check_against_monai("resnet34_half", theirs, 3, "3s2", 24, 0.25)


def check_against_monai(name, theirs, ndim, stem, edge, width):
    kernel, stride, pool = {"7s2pool": (7, 2, True), "3s2": (3, 2, False), "3s1": (3, 1, False)}[stem]
    # MONAI 1.6 puts the width factor on the channels; its block order is ours, so the tensors pair up one by one
    reference = theirs(
        spatial_dims=ndim,
        n_input_channels=1,
        num_classes=7,
        conv1_t_size=kernel,
        conv1_t_stride=stride,
        no_max_pool=not pool,
        shortcut_type="B",
        bias_downsample=False,
        widen_factor=width,
    ).eval()
    net = MODELS[name](Shape(ndim, 1, edge, 7, stem, width)).eval()
    ours, others = net.state_dict(), reference.state_dict()
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in reference.parameters())
    torch.manual_seed(0)
    copied = dict(zip(ours, others.values(), strict=True))
    for key, value in copied.items():
        if (
            value.is_floating_point() and value.ndim == 1
        ):  # statistics other than (0, 1), so that batch norm is tested too
            value.add_(0.1 * torch.rand_like(value))
        assert value.shape == ours[key].shape
    net.load_state_dict(copied)
    reference.load_state_dict(others)
    x = torch.randn(2, 1, *[edge] * ndim)
    with torch.inference_mode():
        torch.testing.assert_close(net(x).logits, reference(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("ndim", "edge", "channels", "maps"),
    [(3, 32, 1, [16, 8, 4, 2]), (2, 32, 3, [32, 16, 8, 4]), (2, 224, 3, [56, 28, 14, 7])],
)
def test_pair_has_modules_of_equal_map_size(ndim, edge, channels, maps):
    pair = build_pair("resnet18", ndim=ndim, channels=channels, edge=edge, classes=5, width=0.25, seed=0)
    x = torch.randn(2, channels, *[edge] * ndim)
    with torch.inference_mode():
        teacher, student = pair.teacher.eval()(x), pair.student.eval()(x)
    for output in (teacher, student):
        assert [m.shape[-1] for m in output.modules] == maps
        assert all((m >= 0).all() for m in output.modules)  # after the last ReLU
        assert output.logits.shape == (2, 5)
        assert output.embedding.shape == (2, 128)


def test_initialisation_is_he_normal_and_seeded():
    pair = build_pair("resnet18", ndim=3, channels=1, edge=32, classes=5, width=1.0, seed=3)
    weight = pair.teacher.stages[2][1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 27)) ** 0.5, rel=0.01)
    again = build_pair("resnet18", ndim=3, channels=1, edge=32, classes=5, width=1.0, seed=3)
    other = build_pair("resnet18", ndim=3, channels=1, edge=32, classes=5, width=1.0, seed=4)
    assert torch.equal(weight, again.teacher.stages[2][1].conv2.weight)
    assert not torch.equal(weight, other.teacher.stages[2][1].conv2.weight)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build_pair("resnet18", ndim=2, channels=1, edge=32, classes=5, width=0.25, seed=3)
    assert torch.rand(1) == expected
