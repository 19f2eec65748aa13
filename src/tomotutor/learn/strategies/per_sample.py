"""Norms of each item's own parameter gradients, for a whole batch at once.

Summing the losses of a batch and going backward once gives every layer's output gradients of every item. With a layer's
inputs they determine each item's parameter gradients, whose norms are taken without going backward again. In eval mode
no item sees another (batch norm is a fixed scale and shift), so the figures are those of batch 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tomotutor.base.errors import TomoTutorError

WHOLE = 2**24  # numbers of unfolded input to hold at a time (64 MB)


@contextmanager
def recorded(net: nn.Module) -> Iterator[list[Tensor]]:
    """Give a list that a backward pass through `net` fills with (N,) squared gradient norms, one tensor for each
    parameter.

    Parameters need no gradients of their own while it is open, which saves a third of the backward pass; the input must
    need one.
    """
    squares: list[Tensor] = []
    layers = [module for module in net.modules() if next(module.parameters(recurse=False), None) is not None]
    wanted = [(p, p.requires_grad) for p in net.parameters()]

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        a = inputs[0].detach()
        output.register_hook(lambda gradient: squares.extend(squared_norms(module, a, gradient)))

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        for p, _ in wanted:
            p.requires_grad_(False)
        yield squares
    finally:
        for handle in handles:
            handle.remove()
        for p, needed in wanted:
            p.requires_grad_(needed)


@torch.no_grad()
def squared_norms(module: nn.Module, a: Tensor, gradient: Tensor) -> list[Tensor]:
    """Return the squared norm of each item's gradient for each parameter of a layer, from its input and output
    gradient.
    """
    if isinstance(module, nn.Linear) and a.ndim == 2:
        weight = gradient.square().sum(1) * a.square().sum(1)
        bias = gradient.square().sum(1)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        shape = (-1, *(1,) * (a.ndim - 2))
        mean, variance = (s.view(shape) for s in (module.running_mean, module.running_var))  # type: ignore[union-attr]
        weight = (gradient * (a - mean)).flatten(2).sum(2).square() @ (1 / (variance.flatten() + module.eps))
        bias = gradient.flatten(2).sum(2).square().sum(1)
    elif isinstance(module, nn.Conv2d | nn.Conv3d) and module.groups == 1 and module.padding_mode == "zeros":
        weight = _conv(module, a, gradient)
        bias = gradient.flatten(2).sum(2).square().sum(1)
    else:
        raise TomoTutorError(
            f"gradient norms: a layer {type(module).__name__} is not known; choose another strategy for this network"
        )
    return [weight] if getattr(module, "bias", None) is None else [weight, bias]


def _conv(module: Any, a: Tensor, gradient: Tensor) -> Tensor:
    """Return ‖G Uᵀ‖² of each item, G (channels out × positions) and U the unfolded input (channels in · kernel ×
    positions).

    Where the map is small, ‖G Uᵀ‖² = Σ (GᵀG ∘ UᵀU) over pairs of positions is far cheaper than the weight gradient
    itself.
    """
    a = pad(a, [p for size in reversed(module.padding) for p in (size, size)])
    g_NOP = gradient.flatten(2)
    channels, positions, offsets = a.shape[1], g_NOP.shape[2], math.prod(module.kernel_size)

    def shifted(offset: tuple[int, ...]) -> Tensor:
        """Return the input that meets the kernel at one offset, (N, channels in, positions)."""
        axes = zip(offset, module.dilation, module.stride, gradient.shape[2:], strict=True)
        met: list[Any] = [slice(o * d, o * d + s * (n - 1) + 1, s) for o, d, s, n in axes]
        return a[(..., *met)].flatten(2)

    places = list(itertools.product(*map(range, module.kernel_size)))
    in_pairs = positions * (g_NOP.shape[1] + channels * offsets) < g_NOP.shape[1] * channels * offsets
    if in_pairs or len(a) * channels * offsets * positions <= WHOLE:
        u_NUP = torch.cat([shifted(offset) for offset in places], 1)
        if in_pairs:
            return ((g_NOP.mT @ g_NOP) * (u_NUP.mT @ u_NUP)).sum((1, 2)).clamp_min(0)
        return (g_NOP @ u_NUP.mT).square().sum((1, 2))
    return torch.stack([(g_NOP @ shifted(offset).mT).square().sum((1, 2)) for offset in places]).sum(0)
