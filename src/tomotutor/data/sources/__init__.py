"""Kinds of input, one file each: every one turns files into a Pool. Adding one is a file and a line here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.options import Source
from tomotutor.data.pool import Pool
from tomotutor.data.sources.array import open_array
from tomotutor.data.sources.base import measure_statistics
from tomotutor.data.sources.batches import open_cifar10, open_cifar100, open_svhn
from tomotutor.data.sources.boxes import prepare_items
from tomotutor.data.sources.class_folders import open_caltech101, open_imagenet
from tomotutor.data.sources.images import open_images
from tomotutor.data.sources.mrc_dir import open_mrc_dir
from tomotutor.data.sources.stack import open_stack
from tomotutor.data.sources.street import open_camvid, open_cityscapes
from tomotutor.data.sources.tilt import tilt_ranges
from tomotutor.data.sources.tomogram import Particles, open_boxes, open_denoised, open_particles, read_particle_list

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


@dataclass(frozen=True)
class Opened:
    """An input that is open: what was read of its files is handed on, so that nobody reads them again.

    Attributes
    ----------
    source : Source
        Where the items come from; of an optimisation set, the files that it names.
    pool : Pool
        The items; their voxels are read when they are asked for.
    particles : Particles or None
        The particle list and its tomogram set, where the input is one.
    """

    source: Source
    pool: Pool
    particles: Particles | None = None

    def with_statistics(self) -> Opened:
        """Return it with the mean and deviation of each channel of 2D items measured; 3D items stay as they are."""
        if self.pool.ndim == 3 or self.source.preparation.mean:
            return self
        mean, std = measure_statistics(self.pool)
        pool = dataclasses.replace(self.pool, mean_C=mean, std_C=std)
        return dataclasses.replace(self, source=self.source.replace(mean=mean, std=std), pool=pool)

    def with_tilts_of(self, first: Source) -> Opened:
        """Return it with the tilt range that the user gave for `first`, where nothing tells that of its own items."""
        if not first.reading.tilt_range or np.isfinite(self.pool.tilt_range_N2).any():
            return self
        pool = _all_tilted(self.pool, first.reading.tilt_range)
        return dataclasses.replace(self, source=self.source.replace(tilt_range=first.reading.tilt_range), pool=pool)

    def denoised(self) -> Pool | None:
        """Open the same items from denoised tomograms, to look at; None where there are none (see `open_denoised`)."""
        return open_denoised(self.particles) if self.particles else None


def open_pool(source: Source) -> Pool:
    """Open the items of the input that `source` describes, without reading voxels."""
    return open_input(source).pool


def open_input(source: Source) -> Opened:
    """Open the input that `source` describes, without reading voxels."""
    if source.kind == "particles":
        particles = read_particle_list(source, to_cut=True)
        pool = open_boxes(particles)
        return Opened(particles.source, _with_tilt_range(pool, particles), particles)
    return Opened(source, _open_items(source))


def _open_items(source: Source) -> Pool:
    """Open items that come as they are, not cut from tomograms."""
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
        if (
            source.preparation.rescale
            or source.preparation.low_pass
            or source.reading.tilt_range
            or source.where.tilt_dir
        ):
            raise TomoTutorError(
                f"{source.path}: its items are 2D; rescale, low-pass and tilt range are for 3D items: leave them out"
            )
        return pool
    if source.where.tilt_dir:
        raise TomoTutorError(
            f"{source.path}: its items belong to no tomogram, so --tilt-dir has no files for them; use --tilt-range"
        )
    pool = prepare_items(pool, source)
    return _all_tilted(pool, source.reading.tilt_range) if source.reading.tilt_range else pool


def _all_tilted(pool: Pool, tilt_range: tuple[float, ...]) -> Pool:
    return dataclasses.replace(pool, tilt_range_N2=np.tile(np.array(tilt_range, float), (len(pool), 1)))


def _with_tilt_range(pool: Pool, particles: Particles) -> Pool:
    """Add what is known of tilts: what the user says goes before what the list says, which goes before the tomogram
    set's files.
    """
    source = particles.source
    if np.isfinite(pool.tilt_range_N2).any() and not (source.reading.tilt_range or source.where.tilt_dir):
        return pool
    names = list(dict.fromkeys(pool.tomogram_N.tolist()))
    found = tilt_ranges(names, particles.entries, source)
    return dataclasses.replace(pool, tilt_range_N2=np.array([found[name] for name in pool.tomogram_N.tolist()]))


__all__ = ["DATASETS", "SOURCES", "Opened", "Source", "open_input", "open_pool"]
