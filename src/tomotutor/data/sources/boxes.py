"""Boxes out of volumes: whole voxels, resampled to another voxel size, low-passed with the surroundings they need."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Cut, ItemCache, Pool
from tomotutor.data.resample import low_pass, low_pass_margin, resample
from tomotutor.data.sources.base import Source
from tomotutor.formats.volumes.voxels import Voxels

_MARGIN = 4  # voxels around a box that is resampled, so that the ends of the cut, which Fourier joins, lie away from it
_BLOCK, _BLOCKS = 16, 5  # statistics of a tomogram: blocks of 16³ voxels, 5 an axis


def cut_box(volume: Voxels, start_zyx: np.ndarray, box: int) -> Cut:
    """Cut a cube of `box` voxels that may leave the volume; what lies outside is left 0 and marked invalid."""
    low = np.maximum(start_zyx, 0)
    high = np.minimum(start_zyx + box, volume.shape)
    if (low == start_zyx).all() and (high == start_zyx + box).all():
        z, y, x = start_zyx.tolist()
        return Cut(volume[z : z + box, y : y + box, x : x + box][None])
    values = np.zeros((1, box, box, box), np.float32)
    high = np.maximum(high, low)
    inside = tuple(slice(int(a), int(b)) for a, b in zip(low - start_zyx, high - start_zyx, strict=True))
    if values[0][inside].size:
        values[0][inside] = volume[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    return Cut(values, inside)


def cut_resampled(volume: Voxels, zyx_voxel: np.ndarray, box: int, step: float) -> Cut:
    """Cut a cube of `box` new voxels, each `step` old ones wide, whose voxel box // 2 lies exactly on a position (old
    voxels).

    A larger (or smaller) cube is cut and Fourier-cropped (or -padded), `tomotutor.data.resample.resampling_matrix`; the
    remaining part of a voxel is a phase there. What lies outside the volume is filled with the mean for that, and
    marked invalid.
    """
    reach = int(np.ceil(box / 2 * step + _MARGIN * max(step, 1.0)))
    start = np.floor(zyx_voxel).astype(np.int64) - reach
    wide = cut_box(volume, start, 2 * reach)
    values = np.asarray(wide.values_C[0], np.float32)
    if wide.valid is not None:
        inside = values[wide.valid]
        values = np.full(values.shape, inside.mean(dtype=np.float64) if inside.size else 0.0, np.float32)
        values[wide.valid] = inside
    offset = (np.arange(box) - box // 2) * step
    position_zyx = tuple(float(at) - int(first) + offset for at, first in zip(zyx_voxel, start, strict=True))
    nearest = [np.floor(position + first + 0.5) for position, first in zip(position_zyx, start, strict=True)]
    valid = tuple(
        slice(int(np.searchsorted(n, 0)), int(np.searchsorted(n, size)))
        for n, size in zip(nearest, volume.shape, strict=True)
    )
    whole = wide.valid is None or all(s == slice(0, box) for s in valid)
    return Cut(resample(values, position_zyx, step)[None], None if whole else valid)


def leaves(zyx_voxel_N3: np.ndarray, box: int, step_N1: np.ndarray, size_zyx_N3: np.ndarray) -> np.ndarray:
    """Return whether boxes of `box` voxels, each `step_N1` voxels of its volume wide, leave a volume of that size."""
    first = np.floor(zyx_voxel_N3 - (box // 2) * step_N1 + 0.5)
    last = np.floor(zyx_voxel_N3 + (box - 1 - box // 2) * step_N1 + 0.5)
    return np.any((first < 0) | (last >= size_zyx_N3), axis=1)


def low_passed(cut: Cut, margin: int, resolution_voxels: float) -> Cut:
    """Filter a cut that has `margin` more voxels on each side than the box, and return the box; outside the volume lies
    the mean.
    """
    values = np.asarray(cut.values_C[0], np.float32)
    if cut.valid is not None:
        inside = values[cut.valid]
        values = np.full(values.shape, inside.mean(dtype=np.float64) if inside.size else 0.0, np.float32)
        values[cut.valid] = inside
    keep = tuple(slice(margin, size - margin) for size in values.shape)
    valid = None
    if cut.valid is not None:
        sides = [size - 2 * margin for size in values.shape]
        valid = tuple(
            slice(*np.clip([s.start - margin, s.stop - margin], 0, n).tolist())
            for s, n in zip(cut.valid, sides, strict=True)
        )
    return Cut(low_pass(values, resolution_voxels)[keep][None], valid)


def low_pass_in_voxels(source: Source, voxel_size_angst: float) -> float:
    """Return the resolution of `source.preparation.low_pass` in voxels.

    Raises
    ------
    TomoTutorError
        The voxel size is not known, or the voxels are too coarse for the filter to change anything.
    """
    if not voxel_size_angst:
        raise TomoTutorError(
            f"{source.path}: its header has no voxel size, which --low-pass needs; give it with --voxel-size"
        )
    resolution = source.preparation.low_pass / voxel_size_angst
    if resolution < 2:
        raise TomoTutorError(
            f"low-pass is {source.preparation.low_pass:g} Å; with voxels of {voxel_size_angst:g} Å it changes nothing "
            "below twice that: leave it out, or give a larger one"
        )
    return resolution


def prepare_items(pool: Pool, source: Source) -> Pool:
    """Add rescaling and low-pass to a pool of volumes that come as boxes.

    They have no surroundings: Fourier takes an item as periodic when it is rescaled (its edge becomes the largest even
    number of new voxels in it), and it is continued by reflection for the low-pass.
    """
    voxel, raw, shape = pool.voxel_size_angst, pool.cut, pool.shape[1:]
    cut = raw
    if source.preparation.rescale and not voxel:
        raise TomoTutorError(
            f"{source.path}: its header has no voxel size, which --rescale needs; give it with --voxel-size"
        )
    step = source.step(voxel)
    if step != 1.0:
        old = shape
        shape = tuple(max(2, int(size / step / 2 + 1e-6) * 2) for size in old)
        if min(shape) < 8:
            raise TomoTutorError(
                f"{source.path}: items of {'×'.join(map(str, old[::-1]))} voxels have an edge of {min(shape)} at "
                f"{source.preparation.rescale:g} Å; "
                "expected 8 at least: choose a smaller --rescale"
            )
        voxel = source.preparation.rescale
        position_zyx = tuple(n // 2 + (np.arange(m) - m // 2) * step for n, m in zip(old, shape, strict=True))

        def cut(row: int) -> Cut:
            return Cut(resample(np.asarray(raw(row).values_C[0], np.float32), position_zyx, step)[None])

    prepared: Callable[[int], Cut] | None = None
    if source.preparation.low_pass:
        resolution = low_pass_in_voxels(source, voxel)
        margin = low_pass_margin(resolution)

        def prepared(row: int) -> Cut:
            values = np.pad(np.asarray(cut(row).values_C[0], np.float32), margin, mode="symmetric")
            return low_passed(Cut(values[None]), margin, resolution)

    cache = ItemCache() if prepared or cut is not raw else None
    return dataclasses.replace(
        pool, cut=cut, prepared=prepared, cache=cache, shape=(pool.shape[0], *shape), voxel_size_angst=voxel
    )


def sample_statistics(volume: Voxels) -> tuple[float, float]:
    """Return mean and deviation of a tomogram, from blocks of 16³ voxels on a grid of 5³ over it (all of
    a small one).
    """
    slices = [
        [slice(a, a + _BLOCK) for a in np.unique(np.linspace(0, max(size - _BLOCK, 0), _BLOCKS).astype(int)).tolist()]
        for size in volume.shape
    ]
    values = np.concatenate(
        [np.ravel(volume[z, y, x]) for z in slices[0] for y in slices[1] for x in slices[2]]
    ).astype(np.float64)
    values = values[np.isfinite(values)]
    return (float(values.mean()), float(values.std())) if values.size else (0.0, 1.0)
