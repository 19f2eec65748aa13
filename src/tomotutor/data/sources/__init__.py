"""Kinds of input, one file each: every one turns files into a Pool. Adding one is a file and a line here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Pool
from tomotutor.data.sources.array import open_array
from tomotutor.data.sources.base import Source, with_statistics
from tomotutor.data.sources.batches import open_cifar10, open_cifar100, open_svhn
from tomotutor.data.sources.boxes import prepare_items
from tomotutor.data.sources.class_folders import open_caltech101, open_imagenet
from tomotutor.data.sources.images import open_images
from tomotutor.data.sources.mrc_dir import open_mrc_dir
from tomotutor.data.sources.stack import open_stack
from tomotutor.data.sources.street import open_camvid, open_cityscapes
from tomotutor.data.sources.tilt import tilt_ranges
from tomotutor.data.sources.tomogram import open_denoised, open_particles, resolve

SOURCES: dict[str, Callable[[Source], Pool]] = {
    "particles": open_particles,
    "stack": open_stack,
    "mrc_dir": open_mrc_dir,
    "array": open_array,
    "images": open_images,
}

# published data sets with their truth, named by --dataset
DATASETS: dict[str, Callable[[Source], Pool]] = {
    "cifar10": open_cifar10,
    "cifar100": open_cifar100,
    "svhn": open_svhn,
    "caltech101": open_caltech101,
    "imagenet": open_imagenet,
    "cityscapes": open_cityscapes,
    "camvid": open_camvid,
}


_LARGEST_ITEM = 512**3  # voxels


def open_pool(source: Source) -> Pool:
    """Open the input that `source` describes, without reading voxels."""
    pool = (SOURCES | DATASETS)[source.kind](source)
    if math.prod(pool.shape) > _LARGEST_ITEM:
        size = "×".join(map(str, pool.shape[:0:-1]))
        what = (
            "subtomograms (cut them from tomograms with --particles)"
            if pool.ndim == 3
            else "images of a few megapixels"
        )
        raise TomoTutorError(
            f"{source.path}: its items have {size} {'voxels' if pool.ndim == 3 else 'pixels'}; expected {what}"
        )
    if pool.ndim == 2:
        if source.rescale or source.low_pass or source.tilt_range or source.tilt_dir:
            raise TomoTutorError(
                f"{source.path}: its items are 2D; rescale, low-pass and tilt range are for 3D items: leave them out"
            )
        return pool
    if source.kind != "particles":
        pool = prepare_items(pool, source)
    return _with_tilt_range(pool, source)


def _with_tilt_range(pool: Pool, source: Source) -> Pool:
    """Add what is known of tilts: what the user says goes before what the list says, which goes before the tomogram
    set's files.
    """
    if len(pool.tilt_range_N2) and not (source.tilt_range or source.tilt_dir):
        return pool
    if source.kind != "particles":
        if source.tilt_dir:
            raise TomoTutorError(
                f"{source.path}: its items belong to no tomogram, so --tilt-dir has no files for them; use --tilt-range"
            )
        return (
            dataclasses.replace(pool, tilt_range_N2=np.tile(source.tilt_range, (len(pool), 1)))
            if source.tilt_range
            else pool
        )
    found = tilt_ranges(list(dict.fromkeys(pool.group_N.tolist())), source)
    if np.isnan(list(found.values())).all():
        return pool
    return dataclasses.replace(pool, tilt_range_N2=np.array([found[name] for name in pool.group_N.tolist()]))


def with_tilts_of(first: Source, source: Source) -> Source:
    """Return `source` with the tilt range that the user gave for `first`, where nothing tells that of its own items."""
    own = np.isfinite(open_pool(source).tilt_range_N2).any()
    return source.replace(tilt_range=first.tilt_range) if first.tilt_range and not own else source


__all__ = ["DATASETS", "SOURCES", "Source", "open_denoised", "open_pool", "resolve", "with_statistics", "with_tilts_of"]
