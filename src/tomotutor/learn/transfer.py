"""Transfer from teacher to student: attention (arXiv 2509.15805, eq. 1; Zagoruyko and Komodakis, ICLR 2017) and its
ablations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tomotutor.base.errors import TomoTutorError

if TYPE_CHECKING:
    from tomotutor.learn.models import Output


def attention_map(activation: Tensor) -> Tensor:
    """Return the normalised attention map of one module.

    Parameters
    ----------
    activation : Tensor
        (N, C, ...spatial).

    Returns
    -------
    Tensor
        (N, positions) float32: Q = V / ‖V‖₂ per sample with V = vec(Σ_c |A_c|²).
    """
    v = activation.float().square().sum(1).flatten(1)
    return torch.nn.functional.normalize(v, dim=1)


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """‖Q_S − Q_T‖₂ of each item in one module."""
    # vector_norm has a zero subgradient where the maps agree; the root of a sum would give NaN
    return torch.linalg.vector_norm(attention_map(student) - attention_map(teacher), dim=1)


def _difference(student: Tensor, teacher: Tensor) -> Tensor:
    if student.shape != teacher.shape:
        raise TomoTutorError(
            f"comparing activations: a module has {student.shape[1]} channels in the student and {teacher.shape[1]} in "
            "the teacher; "
            "mse and l1 expect the same number: use attention (at) for this pair"
        )
    return (student.float() - teacher.float()).flatten(1)


# distance of one module's activations (N, C, ...spatial) of student and teacher, for each item
MODULE_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda student, teacher: _difference(student, teacher).square().mean(1),
    "l1": lambda student, teacher: _difference(student, teacher).abs().mean(1),
    "at": attention_distance,
}


def attention_l2(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Eq. 1 of the paper: mean over the batch of Σ_l ‖Q_S − Q_T‖₂; the teacher's maps are detached."""
    return torch.stack([attention_distance(s, t.detach()) for s, t in zip(student, teacher, strict=True)]).sum(0).mean()


def attention_mean_sq(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """The form of the public attention-transfer code: Σ_l mean over batch and positions of (Q_S − Q_T)²."""
    squares = [
        (attention_map(s) - attention_map(t.detach())).square().mean() for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(squares).sum()


ATTENTION_FORMS: dict[str, Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]] = {
    "l2": attention_l2,
    "mean_sq": attention_mean_sq,
}


def _activations(kind: str) -> Callable[[Output, Output], Tensor]:
    def loss(student: Output, teacher: Output) -> Tensor:
        distances = [
            MODULE_DISTANCES[kind](s, t.detach()) for s, t in zip(student.modules, teacher.modules, strict=True)
        ]
        return torch.stack(distances).sum(0).mean()

    return loss


def posterior_kl(student: Output, teacher: Output) -> Tensor:
    """KL(p_T ‖ p_S) of the answers, mean over the batch (Hinton, Vinyals and Dean, arXiv 1503.02531, at
    temperature 1).
    """
    log_t = torch.log_softmax(teacher.logits.detach().float(), 1)
    return (log_t.exp() * (log_t - torch.log_softmax(student.logits.float(), 1))).sum(1).mean()


# what the student can learn from the teacher instead of its attention
OTHER_TRANSFERS: dict[str, Callable[[Output, Output], Tensor]] = {
    "mse": _activations("mse"),
    "l1": _activations("l1"),
    "kl": posterior_kl,
}


def transfer_loss(kind: str, at_form: str) -> Callable[[Output, Output], Tensor]:
    """Return L_trans(student, teacher), float32, for "at" in one of its forms or another kind; nothing flows into the
    teacher.
    """
    if kind == "at":
        return lambda student, teacher: ATTENTION_FORMS[at_form](student.modules, teacher.modules)
    return OTHER_TRANSFERS[kind]
