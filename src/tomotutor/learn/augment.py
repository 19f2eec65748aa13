"""Augmentation of mini-batches; pools are always scored without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SHIFT_3D = 2  # voxels
PAD_2D = 4  # pixels: "crop 32, pad 4"

ASYMMETRIC_DEG = 3.0

# Spatial axes (of z, y, x) that a 180° rotation about x, y or z turns over. A wedge that is symmetric about the beam
# (z) with the tilt axis along y maps onto itself under all three, and rotations keep handedness, which mirrors do not.
_HALF_TURNS = {"x": (0, 1), "y": (0, 2), "z": (1, 2)}


def half_turn(x: Tensor, axis: str) -> Tensor:
    """Rotate (..., z, y, x) by 180° about the voxel size/2, the centre of a box.

    Flipping alone turns an even box about the point between two voxels, one voxel of shift away; the roll takes it
    back.
    """
    dims = [d - 3 for d in _HALF_TURNS[axis]]
    turned = x.flip(dims)
    even = [d for d in dims if x.shape[d] % 2 == 0]
    return turned.roll([1] * len(even), even) if even else turned


def asymmetric(tilt_range_N2: np.ndarray) -> list[bool]:
    """Return which tilt ranges (smallest and largest, degrees) leave a wedge that only the half turn about y maps onto
    itself.

    A range counts as symmetric up to 3° between |smallest| and |largest|: a tilt step, and less than one Fourier voxel
    at the edge (16 · 3° in radians = 0.84) of a box of 32. An unknown range (nan) counts as symmetric.
    """
    return [bool(abs(low + high) > ASYMMETRIC_DEG) for low, high in tilt_range_N2.tolist()]


def _shift(x: Tensor, offset: Tensor) -> Tensor:
    """Shift each item of (N, C, ...) by its own whole number of positions, filling with 0 (the mean)."""
    out = torch.zeros_like(x)
    for i, item_offset in enumerate(offset.tolist()):
        source: list[slice] = []
        target: list[slice] = []
        for o, size in zip(item_offset, x.shape[2:], strict=True):
            source.append(slice(max(0, -o), size - max(0, o)))
            target.append(slice(max(0, o), size - max(0, -o)))
        out[i][(slice(None), *target)] = x[i][(slice(None), *source)]
    return out


def augment(x: Tensor, kind: str, generator: torch.Generator, asymmetric_N: Sequence[bool] = ()) -> Tensor:
    """Augment a mini-batch.

    Parameters
    ----------
    x : Tensor
        (N, C, z, y, x) or (N, C, y, x).
    kind : {"none", "flip", "strong"}
        "flip" turns images left to right; volumes, whose handedness means something, stay as they are. "strong" in 3D:
        a 180° rotation about x, y or z or none, and a shift of up to ±2 voxels an axis, each uniformly. In 2D:
        horizontal flip and a crop of the image padded by 4, as the paper's CIFAR recipe.
    generator : torch.Generator
        Source of all randomness (on the CPU).
    asymmetric_N : sequence of bool
        Items whose tilt range is asymmetric (see `asymmetric`): they are turned about y or not at all. () where none
        is.
    """
    ndim, n = x.ndim - 2, len(x)
    if kind == "none" or (kind == "flip" and ndim == 3):
        return x
    if kind == "flip":
        turned = torch.randint(0, 2, (n,), generator=generator).bool()
        return torch.where(turned.view(-1, 1, 1, 1), x.flip(-1), x)
    limit = SHIFT_3D if ndim == 3 else PAD_2D
    offset = torch.randint(-limit, limit + 1, (n, ndim), generator=generator)
    x = _shift(x, offset)
    turn = torch.randint(0, 4 if ndim == 3 else 2, (n,), generator=generator).tolist()
    for i, t in enumerate(turn):
        if ndim == 3 and asymmetric_N and asymmetric_N[i]:
            t = 2 * (t // 2)  # 0 or 2: none or y, each half of the time
        if t:
            x[i] = half_turn(x[i], "xyz"[t - 1]) if ndim == 3 else x[i].flip(-1)
    return x
