"""Attention transfer from teacher to student (arXiv 2509.15805, eq. 1; Zagoruyko and Komodakis, ICLR 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


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


def attention_l2(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Eq. 1 of the paper: mean over the batch of Σ_l ‖Q_S − Q_T‖₂; the teacher's maps are detached."""
    distances = [
        # vector_norm has a zero subgradient where the maps agree; the root of a sum would give NaN
        torch.linalg.vector_norm(attention_map(s) - attention_map(t.detach()), dim=1)
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(distances).sum(0).mean()


def attention_mean_sq(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """The form of the public attention-transfer code: Σ_l mean over batch and positions of (Q_S − Q_T)²."""
    squares = [(attention_map(s) - attention_map(t.detach())).square().mean() for s, t in zip(student, teacher, strict=True)]
    return torch.stack(squares).sum()


TRANSFER_LOSSES: dict[str, Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]] = {
    "l2": attention_l2,
    "mean_sq": attention_mean_sq,
}
