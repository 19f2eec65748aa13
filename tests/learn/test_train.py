import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import two_kinds
from tomotutor.base.errors import CancelledError, TomoTutorError, TrainingDivergedError
from tomotutor.learn import busy as busy_machine
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import Output, build_pair
from tomotutor.learn.recipe import Recipe, preset
from tomotutor.learn.train import batches, fit, number_of_steps, predict

X, Y = two_kinds()
X = X[:, None]
FAST = Recipe(steps=6, batch_size=8, precision="float32")
CPU = Compute(threads=1)


def pair(seed=0):
    return build_pair("resnet18", ndim=3, channels=1, edge=16, classes=2, width=0.25, seed=seed)


def parameters(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("form", ["l2", "mean_sq"])
def test_the_teacher_is_bit_identical_with_and_without_the_student(form):
    recipe = FAST.replace(at_form=form)
    both, alone = pair(), pair()
    fit(both, X.__getitem__, Y, recipe, CPU, seed=1)
    fit(alone, X.__getitem__, Y, recipe, CPU, seed=1, with_student=False)
    assert torch.equal(parameters(both.teacher), parameters(alone.teacher))
    for a, b in zip(both.teacher.parameters(), alone.teacher.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert torch.equal(parameters(alone.student), parameters(pair().student))


def test_the_student_learns_from_the_teachers_maps():
    plain, taught = pair(), pair()
    fit(plain, X.__getitem__, Y, FAST.replace(transfer_weight=0.0), CPU, seed=1)
    fit(taught, X.__getitem__, Y, FAST, CPU, seed=1)
    assert torch.equal(parameters(plain.teacher), parameters(taught.teacher))
    assert not torch.equal(parameters(plain.student), parameters(taught.student))


def test_golden_losses():
    """Losses of the first mini-batches at a fixed seed: a refactor computes the same. Remake with make golden.

    Processors round float32 differently, which each step multiplies: between AVX2 and AVX-512 the fifth loss differs by
    1 %.
    """
    golden = json.loads((Path(__file__).parent / "golden" / "losses.json").read_text())
    for name, expected in golden.items():
        assert golden_losses(name) == pytest.approx(expected, rel=2e-3, abs=2e-4), name


def golden_losses(name):
    losses = []
    recipe = FAST.replace(at_form=name.split()[0], augmentation=name.split()[1], schedule=name.split()[2])
    fit(pair(), X.__getitem__, Y, recipe, CPU, seed=1, report=lambda p: losses.append(p.loss))
    return losses[:4]


def test_training_learns_and_predict_matches_a_float64_softmax():
    nets = pair()
    fit(nets, X.__getitem__, Y, FAST.replace(steps=80), CPU, seed=1)
    scores = predict(nets.parts(), lambda rows: X[rows], np.arange(len(X)), CPU, batch_size=7)
    assert (scores["teacher"].log_probs_NC.argmax(1) == Y).mean() > 0.9
    with torch.inference_mode():
        logits = nets.teacher.eval()(torch.from_numpy(X)).logits.double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(scores["teacher"].probs_NC, expected, atol=1e-6)
    assert scores["student"].embedding_ND.shape == (60, 128)


@pytest.mark.parametrize(("edge", "most"), [(16, 64), (64, 16), (256, 1)])
def test_large_items_are_scored_few_at_a_time(edge, most):
    told, read = [], []

    def make(rows):
        read.append(len(rows))
        return np.zeros((len(rows), 1, edge, edge, edge), np.float32)

    class Mean(torch.nn.Module):
        fc = torch.nn.Linear(1, 2)

        def forward(self, x):
            h = x.mean((2, 3, 4))
            return Output(self.fc(h), h, (h,))

    predict({"net": Mean()}, make, np.arange(65 if edge < 256 else 2), CPU, report=told.append)
    assert max(read) == most == told[0].done


def test_predict_on_nothing():
    scores = predict(pair().parts(), lambda rows: X[rows], np.zeros(0, np.int64), CPU)
    assert scores["teacher"].log_probs_NC.shape == (0, 2)


def test_progress_tells_epoch_loss_and_time():
    seen = []
    fit(pair(), X[:20].__getitem__, Y[:20], FAST, CPU, seed=1, report=seen.append)
    assert [p.done for p in seen] == [1, 2, 3, 4, 5, 6]
    assert [p.epoch for p in seen] == [1, 1, 2, 2, 2, 3]
    assert seen[0].total == 6
    assert seen[0].epochs == 3
    assert seen[0].eta_s > 0
    assert seen[-1].eta_s == 0
    seen.clear()
    predict(pair().parts(), lambda rows: X[rows], np.arange(10), CPU, batch_size=4, report=seen.append)
    assert [(p.stage, p.done, p.total) for p in seen] == [("score", 4, 10), ("score", 8, 10), ("score", 10, 10)]


def test_progress_tells_that_the_thread_has_to_wait():
    class Waiting(type(pair().teacher)):
        def forward(self, x):
            time.sleep(0.05)
            return super().forward(x)

    nets, seen = pair(), []
    nets.teacher.__class__ = Waiting
    fit(nets, X[:8].__getitem__, Y[:8], FAST.replace(batch_size=2), CPU, seed=1, report=seen.append)
    assert seen[-1].busy


class Slow(torch.nn.Module):
    """As beside other programs: it takes longer the more threads there are."""

    def __init__(self):
        super().__init__()
        self.fc, self.threads, self.now = torch.nn.Linear(1, 2), [], 0.0

    def forward(self, x):
        self.threads.append(torch.get_num_threads())
        self.now += 0.01 * self.threads[-1]
        h = x.mean((1, 2, 3, 4))[:, None]
        return Output(self.fc(h), h, (h,))


@pytest.mark.parametrize(("pinned", "busy"), [(False, 0.7), (True, 0.7), (False, 0.0)])
def test_scoring_takes_fewer_threads_while_the_machine_is_busy_and_says_so(pinned, busy, monkeypatch):
    monkeypatch.setattr(busy_machine, "BUSY", busy)
    monkeypatch.setattr(busy_machine, "AGAIN", 10)
    net, seen = Slow(), []
    clocks = SimpleNamespace(perf_counter=lambda: net.now, thread_time=lambda: 0.0)  # real ones differ from run to run
    monkeypatch.setattr(busy_machine, "time", clocks)
    compute = Compute("cpu", threads=4, pinned=pinned)
    try:
        predict({"net": net}, lambda rows: X[rows], np.arange(30), compute, batch_size=2, report=seen.append)
    finally:
        torch.set_num_threads(1)
    assert {p.busy for p in seen} == {busy > 0}
    changing = [4, 4, 2, 2, 1, 1, *[1] * 7, 4, 2]  # the first of each makes ready; all are tried again
    assert net.threads == (changing if busy and not pinned else [4] * 15)


def test_a_report_that_raises_stops_at_the_next_mini_batch():
    done = []

    def cancel(progress):
        done.append(progress.done)
        if progress.done == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        fit(pair(), X.__getitem__, Y, FAST, CPU, seed=1, report=cancel)
    assert done == [1, 2]


def test_a_loss_that_is_not_finite_stops_the_training():
    broken = X.copy()
    broken[:] = np.inf
    with pytest.raises(TrainingDivergedError, match=r"loss became nan at mini-batch 1 of 6; the previous model stays"):
        fit(pair(), broken.__getitem__, Y, FAST, CPU, seed=1)


class SmallMemory(torch.nn.Module):
    """A network on a device that has no room for more than `most` items."""

    def __init__(self, net, most):
        super().__init__()
        self.net, self.most = net, most

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.net(x)

    @property
    def fc(self):
        return self.net.fc


def with_memory(nets, most):
    from tomotutor.learn.models import Pair

    return Pair(SmallMemory(nets.teacher, most), SmallMemory(nets.student, most))


def test_where_memory_ends_the_batch_is_split_and_training_goes_on():
    recipe = FAST.replace(steps=2)
    split = with_memory(pair(), 2)
    losses = []
    fit(split, X.__getitem__, Y, recipe, CPU, seed=1, report=lambda p: losses.append(p.loss))
    assert len(losses) == 2
    scores = predict({"teacher": split.teacher}, lambda rows: X[rows], np.arange(10), CPU, batch_size=8)
    whole = predict({"teacher": split.teacher.net}, lambda rows: X[rows], np.arange(10), CPU, batch_size=8)
    np.testing.assert_allclose(scores["teacher"].log_probs_NC, whole["teacher"].log_probs_NC, rtol=1e-6, atol=1e-5)


def test_accumulated_gradients_are_those_of_the_whole_batch():
    """With batch norm's statistics fixed, splitting a batch changes nothing."""
    from tomotutor.learn.train import _accumulate

    def no_aux(output, loss_N):
        return 0.0

    def gradient(pieces):
        nets = pair()
        for net in nets.parts().values():
            net.eval()
        _accumulate(
            nets,
            [nets.teacher, nets.student],
            torch.from_numpy(X[:6]),
            torch.from_numpy(Y[:6]),
            FAST,
            CPU,
            pieces,
            no_aux,
        )
        return torch.cat([p.grad.flatten() for net in nets.parts().values() for p in net.parameters()])

    torch.testing.assert_close(gradient(1), gradient(4), rtol=1e-3, atol=1e-5)


def test_no_memory_at_all_is_an_error():
    with pytest.raises(TomoTutorError, match="too little free memory even for a few items"):
        fit(with_memory(pair(), 0), X.__getitem__, Y, FAST, CPU, seed=1)
    with pytest.raises(TomoTutorError, match="too little free memory"):
        predict(with_memory(pair(), 0).parts(), lambda rows: X[rows], np.arange(3), CPU)


def test_batches_show_every_item_equally_often():
    seen = torch.cat(list(batches(10, 4, 25, torch.Generator().manual_seed(0))))
    assert torch.bincount(seen).tolist() == [10] * 10
    assert all(len(b) == 16 for b in batches(5, 16, 3, torch.Generator()))  # fewer items than a batch


def test_number_of_steps():
    app, paper, pretrained = preset("app", 2), preset("paper", 3), preset("app", 3)
    assert number_of_steps(app, 100, warm=False) == number_of_steps(app, 400, warm=False) == app.training.steps
    assert number_of_steps(app, 400, warm=True) == app.training.steps // 2
    assert number_of_steps(pretrained, 100, warm=False) == pretrained.training.steps == 200
    assert number_of_steps(pretrained, 800, warm=False) == 8 * 800 / 16
    assert number_of_steps(paper, 2400, warm=True) == 100 * 2400 / 64


def test_step_schedule_divides_by_ten_at_eighty_percent(monkeypatch):
    from tomotutor.learn.train import _optimizer

    optimizer, scheduler = _optimizer(pair().teacher, preset("paper", 3), 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:80] == [0.1] * 80
    assert rates[80:] == pytest.approx([0.01] * 20)
