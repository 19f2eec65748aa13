import dataclasses
import json
import logging
import time

import pytest
import torch

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn import compute as computing
from tomotutor.learn.compute import Compute, choose, layer_errors, relative_error
from tomotutor.learn.compute_file import remembered
from tomotutor.learn.models import Output, build_pair

SHAPE = (1, 16, 16, 16)


def teacher():
    return build_pair("resnet18", ndim=3, channels=1, edge=16, classes=4, width=0.25, seed=0).teacher


class WrongBackward(torch.autograd.Function):
    """Right forward, wrong gradient: what torch 2.13 does to bfloat16 3D convolutions on 2³ maps."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * 3.0 + 1.0


class BrokenConv3d(torch.nn.Conv3d):
    """A convolution one of whose gradients is wrong in the channels-last layout."""

    broken = "input"

    def forward(self, x):
        if not self.weight.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x)
        if self.broken == "input":
            return super().forward(WrongBackward.apply(x))
        return self._conv_forward(x, WrongBackward.apply(self.weight), None)


def broken_when_channels_last():
    net = teacher()
    good = net.stages[3][0].conv2
    net.stages[3][0].conv2 = BrokenConv3d(good.in_channels, good.out_channels, 3, padding=1, bias=False)
    return net


@pytest.mark.parametrize("broken", ["input", "weight"])
def test_a_path_with_wrong_gradients_is_refused_and_logged(caplog, monkeypatch, broken):
    monkeypatch.setattr(BrokenConv3d, "broken", broken)
    wrong = Compute("cpu", "float32", True, 0, 1)
    with caplog.at_level(logging.WARNING):
        chosen = choose(broken_when_channels_last, SHAPE, device="cpu", threads=1, paths=[wrong], batch=4)
    assert chosen == Compute("cpu", "float32", False, 0, 1)
    assert (
        "% off float32 in layer stages.3.0.conv2 (limit 5 %); falling back to 1 CPU thread, float32, contiguous"
        in caplog.text
    )


def test_a_path_that_does_not_run_is_passed_over(caplog):
    with caplog.at_level(logging.WARNING):
        chosen = choose(
            teacher, SHAPE, device="cpu", threads=1, paths=[Compute("meta", "float32", False, 0, 1)], batch=4
        )
    assert chosen.device == "cpu"
    assert "does not run here" in caplog.text


def test_the_choice_on_this_machine_computes_the_network():
    chosen = choose(teacher, SHAPE, batch=4)
    torch.manual_seed(1)
    errors = layer_errors(teacher(), torch.randn(4, *SHAPE), chosen)
    assert max(errors.values()) < computing.TOLERANCE
    assert {"stem.0", "stages.3.1.bn2", "fc"} < set(errors)


def test_small_maps_can_stay_in_float32():
    """Under bfloat16 autocast, stages below the limit compute in float32 and the others do not."""
    net, path = teacher(), Compute("cpu", "bfloat16", False, 4, 1)
    path.prepare(net)
    kinds = {}
    for number, stage in enumerate(net.stages):
        stage[0].conv1.register_forward_hook(lambda m, a, out, n=number: kinds.__setitem__(n, out.dtype))
    with torch.inference_mode(), path.autocast():
        net(torch.randn(2, *SHAPE))
    assert kinds == {0: torch.bfloat16, 1: torch.bfloat16, 2: torch.float32, 3: torch.float32}  # maps 8, 4, 2, 1


def test_relative_error():
    good = torch.ones(10)
    assert relative_error(good, good) == relative_error(torch.zeros(3), torch.zeros(3)) == 0
    assert relative_error(good * 1.1, good) == pytest.approx(0.1, rel=1e-3)
    for bad in (torch.nan, torch.inf):
        assert relative_error(torch.full((10,), bad), good) == float("inf")


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_rounding_is_no_fault_however_deep_the_network(architecture):
    """bfloat16 of 2D kernels is right everywhere; in a ResNet-50 its rounding changes gradients by more than
    themselves.
    """

    def build():
        return build_pair(architecture, ndim=2, channels=3, edge=32, classes=4, width=0.25, seed=0).teacher

    path = Compute("cpu", "bfloat16", False, 0, 1)
    torch.manual_seed(0)
    errors = layer_errors(build(), torch.randn(8, 3, 32, 32), path)
    assert 1e-4 < max(errors.values()) < 0.01
    assert computing.checked(path, build, (3, 32, 32)) == path


def test_the_choice_is_measured_once_and_remembered(tmp_path):
    path, calls = tmp_path / "compute.json", []

    def measure():
        calls.append(1)
        return Compute("cpu", "float32", True, 0, 2)

    assert remembered(path, "a", measure) == remembered(path, "a", measure)
    assert len(calls) == 1
    remembered(path, "b", measure)
    assert set(json.loads(path.read_text())) == {"a", "b"}
    path.write_text("{damaged")
    assert remembered(path, "a", measure).channels_last
    assert len(calls) == 3


@pytest.mark.parametrize(
    "content", ["[]", "3", '{"a": 1}', '{"a": {}}', '{"a": {"device": 5}}', "[" * 100_000, '{"a": {"threads": 0}}']
)
def test_a_damaged_memory_is_measured_anew_and_written_whole(tmp_path, content):
    path, good = tmp_path / "compute.json", Compute("cpu", "float32", True, 0, 2)
    path.write_text(content)
    assert remembered(path, "a", lambda: good) == good
    assert list(json.loads(path.read_text())) == ["a"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_cannot_be_written_is_no_reason_not_to_train(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    good = Compute("cpu", "float32", True, 0, 2)
    assert remembered(tmp_path / "file" / "compute.json", "a", lambda: good) == good
    assert "cannot be written" in caplog.text


def test_threads_are_those_of_the_machine_or_fewer_where_asked(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert computing.available_threads() == computing.cores()
    for limit, expected in (
        ("1", 1),
        ("100000", computing.cores()),
        ("", computing.cores()),
        ("2,1", computing.cores()),
    ):
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        assert computing.available_threads() == expected
        assert computing.available_threads(keep_one=True) == max(1, expected - 1)


def test_a_precision_that_is_insisted_on_is_refused_where_it_computes_something_else():
    path = Compute("cpu", "bfloat16", True, 4, 1)
    with pytest.raises(
        TomoTutorError,
        match=r"precision bfloat16: on this machine layer stages.3.0.conv2 is \d+ % off float32; choose float32",
    ):
        computing.checked(path, broken_when_channels_last, SHAPE)
    assert computing.checked(path, teacher, SHAPE) == path


def test_pretraining_insists_on_no_precision_that_computes_something_else(monkeypatch):
    import argparse
    from types import SimpleNamespace

    from tomotutor.cli.pretrain import _compute
    from tomotutor.learn.pretrain_settings import PretrainSettings
    from tomotutor.simulate.varied import Variation

    monkeypatch.setattr("tomotutor.learn.models.build_pair", lambda *a, **k: SimpleNamespace(teacher=broken()))

    def broken():
        net = teacher()
        good = net.stages[0][0].conv1  # stays in bfloat16: its map is 4³ or more
        net.stages[0][0].conv1 = BrokenConv3d(good.in_channels, good.out_channels, 3, good.stride, 1, bias=False)
        return net

    args = argparse.Namespace(device="cpu", precision="bfloat16")
    with pytest.raises(TomoTutorError, match=r"precision bfloat16: on this machine layer stages.0.0.conv1 is"):
        _compute(args, PretrainSettings(), Variation(box=16), 3)


def test_threads_are_measured_and_the_network_is_left_where_it_was_drawn(monkeypatch):
    """What is chosen is one of the numbers tried, and the random numbers of the program go on as before."""
    monkeypatch.setattr(computing, "PROBE_S", 0.02)
    torch.manual_seed(3)
    path, before = Compute("cpu", "float32", True, 0, 2), torch.get_rng_state()
    try:
        assert computing.measured_threads(path, teacher(), SHAPE) in (path, dataclasses.replace(path, threads=1))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.get_rng_state(), before)
    alone = Compute("cpu", threads=1)
    assert computing.measured_threads(alone, teacher(), SHAPE) is alone


def test_fewer_threads_are_taken_where_more_of_them_are_slower(monkeypatch):
    """As beside other programs: a network that takes longer the more threads there are."""

    class Waiting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(1, 2)

        def forward(self, x):
            time.sleep(0.002 * torch.get_num_threads())
            h = x.mean((2, 3, 4))
            return Output(self.fc(h), h, (h,))

    monkeypatch.setattr(computing, "PROBE_S", 0.02)
    try:
        found = computing.measured_threads(Compute("cpu", threads=4), Waiting(), SHAPE)
    finally:
        torch.set_num_threads(1)
    assert found == Compute("cpu", threads=1)
