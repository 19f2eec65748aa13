import math

import numpy as np
import pytest
import torch

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.models import Output
from tomotutor.learn.transfer import ATTENTION_FORMS, MODULE_DISTANCES, attention_map, transfer_loss


def reference(students, teachers, form):
    """The formulas in float64, with loops over samples, channels and positions."""
    per_sample = np.zeros(len(students[0]))
    for s, t in zip(students, teachers, strict=True):
        for n in range(len(s)):
            maps = []
            for a in (s[n], t[n]):
                v = np.zeros(a[0].size)
                for channel in a:
                    v += channel.reshape(-1) ** 2
                maps.append(v / math.sqrt(sum(x * x for x in v)))
            difference = [float(a - b) for a, b in zip(*maps, strict=True)]
            if form == "l2":
                per_sample[n] += math.sqrt(sum(d * d for d in difference))
            else:
                per_sample[n] += sum(d * d for d in difference) / len(difference)
    return per_sample.mean()


@pytest.mark.parametrize("form", ["l2", "mean_sq"])
@pytest.mark.parametrize("spatial", [(3, 4), (2, 3, 4)])
def test_against_loops(form, spatial):
    rng = np.random.default_rng(0)
    students = [rng.normal(size=(3, 4, *spatial)), rng.normal(size=(3, 2, *spatial[:-1], 2))]
    teachers = [
        rng.normal(size=(3, 6, *spatial)),
        rng.normal(size=(3, 5, *spatial[:-1], 2)),
    ]  # other numbers of channels
    got = ATTENTION_FORMS[form]([torch.tensor(s) for s in students], [torch.tensor(t) for t in teachers])
    assert float(got) == pytest.approx(reference(students, teachers, form), rel=1e-5)


@pytest.mark.parametrize("form", ["l2", "mean_sq"])
def test_gradient_reaches_the_student_alone_and_is_finite_where_the_maps_agree(form):
    student = torch.rand(2, 3, 4, 4, requires_grad=True)
    teacher = torch.rand(2, 5, 4, 4, requires_grad=True)
    ATTENTION_FORMS[form]([student], [teacher]).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0
    same = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = ATTENTION_FORMS[form]([same], [same.detach().clone()])
    loss.backward()
    assert float(loss) == 0
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("form", ["l2", "mean_sq"])
def test_gradient_equals_a_finite_difference(form):
    rng = np.random.default_rng(1)
    s, t = rng.normal(size=(2, 2, 3, 3)), rng.normal(size=(2, 2, 3, 3))
    student = torch.tensor(s, dtype=torch.float32, requires_grad=True)
    ATTENTION_FORMS[form]([student], [torch.tensor(t)]).backward()
    for index in [(0, 0, 0, 0), (1, 1, 2, 1)]:
        step = np.zeros_like(s)
        step[index] = 1e-6
        numeric = (reference([s + step], [t], form) - reference([s - step], [t], form)) / 2e-6
        assert float(student.grad[index]) == pytest.approx(numeric, rel=1e-3, abs=1e-6)


def test_maps_have_unit_length_and_an_empty_map_stays_zero():
    q = attention_map(torch.rand(2, 3, 4, 4).bfloat16())
    assert q.dtype == torch.float32
    torch.testing.assert_close(q.square().sum(1), torch.ones(2))
    assert not attention_map(torch.zeros(1, 3, 4, 4)).any()


def test_the_two_forms_differ_by_orders_of_magnitude():
    """On the maps of a 32³ item the loss that λ multiplies is about a hundred times larger in the paper's form."""
    torch.manual_seed(0)
    sizes = (16, 8, 4, 2)
    student = [torch.rand(4, 8, s, s, s) for s in sizes]
    teacher = [torch.rand(4, 8, s, s, s) for s in sizes]
    ratio = float(ATTENTION_FORMS["l2"](student, teacher) / ATTENTION_FORMS["mean_sq"](student, teacher))
    assert 20 < ratio < 500


def outputs(seed, channels=3):
    torch.manual_seed(seed)
    modules = tuple(torch.randn(4, channels, *(size,) * 3, requires_grad=True) for size in (4, 2))
    return Output(torch.randn(4, 5, requires_grad=True), torch.randn(4, 8), modules)


@pytest.mark.parametrize("kind", ["at", "mse", "l1", "kl"])
def test_each_transfer_loss_against_loops_and_only_the_student_learns(kind):
    student, teacher = outputs(0), outputs(1)
    loss = transfer_loss(kind, "l2")(student, teacher)
    loss.backward()
    per_item = []
    for n in range(4):
        total = 0.0
        if kind == "kl":
            t, s = (o.logits[n].detach().double().exp().tolist() for o in (teacher, student))
            total = sum(a / sum(t) * math.log((a / sum(t)) / (b / sum(s))) for a, b in zip(t, s, strict=True))
        else:
            for a, b in zip(student.modules, teacher.modules, strict=True):
                d = (a[n] - b[n]).detach().double().flatten().tolist()
                if kind == "at":
                    total += reference([a[n : n + 1].detach().numpy()], [b[n : n + 1].detach().numpy()], "l2")
                else:
                    total += sum(x * x if kind == "mse" else abs(x) for x in d) / len(d)
        per_item.append(total)
    assert float(loss) == pytest.approx(sum(per_item) / 4, rel=1e-5)
    assert teacher.logits.grad is None
    assert all(m.grad is None for m in teacher.modules)
    assert (student.logits.grad is not None) == (kind == "kl")
    if kind in MODULE_DISTANCES:
        got = sum(MODULE_DISTANCES[kind](a, b) for a, b in zip(student.modules, teacher.modules, strict=True))
        assert got.tolist() == pytest.approx(per_item, rel=1e-5)  # the same distance as an uncertainty, for each item


def test_raw_activations_need_the_same_number_of_channels():
    with pytest.raises(TomoTutorError, match="2 channels in the student and 3 in the teacher"):
        transfer_loss("mse", "l2")(outputs(0, channels=2), outputs(1))
    transfer_loss("at", "l2")(outputs(0, channels=2), outputs(1))
