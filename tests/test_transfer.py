import math

import numpy as np
import pytest
import torch

from tomotutor.transfer import TRANSFER_LOSSES, attention_map


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
    teachers = [rng.normal(size=(3, 6, *spatial)), rng.normal(size=(3, 5, *spatial[:-1], 2))]  # other numbers of channels
    got = TRANSFER_LOSSES[form]([torch.tensor(s) for s in students], [torch.tensor(t) for t in teachers])
    assert float(got) == pytest.approx(reference(students, teachers, form), rel=1e-5)


@pytest.mark.parametrize("form", ["l2", "mean_sq"])
def test_gradient_reaches_the_student_alone_and_is_finite_where_the_maps_agree(form):
    student = torch.rand(2, 3, 4, 4, requires_grad=True)
    teacher = torch.rand(2, 5, 4, 4, requires_grad=True)
    TRANSFER_LOSSES[form]([student], [teacher]).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0
    same = torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = TRANSFER_LOSSES[form]([same], [same.detach().clone()])
    loss.backward()
    assert float(loss) == 0
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("form", ["l2", "mean_sq"])
def test_gradient_equals_a_finite_difference(form):
    rng = np.random.default_rng(1)
    s, t = rng.normal(size=(2, 2, 3, 3)), rng.normal(size=(2, 2, 3, 3))
    student = torch.tensor(s, dtype=torch.float32, requires_grad=True)
    TRANSFER_LOSSES[form]([student], [torch.tensor(t)]).backward()
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
    ratio = float(TRANSFER_LOSSES["l2"](student, teacher) / TRANSFER_LOSSES["mean_sq"](student, teacher))
    assert 20 < ratio < 500
