"""The tomogram that particles were picked in: its voxels, and where all its particles lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomotutor.data.sources.base import open_source_volume
from tomotutor.data.sources.tomogram import Particles, denoised_finder, find_tomogram, measure_tomogram, places
from tomotutor.formats.volumes.voxels import Voxels


@dataclass(frozen=True)
class Tomogram:
    """A tomogram and its particles.

    Attributes
    ----------
    name : str
        As the particle list calls it.
    data : ndarray, LazyArray or FileArray
        Voxels (z, y, x), read where they are asked for.
    protein : {"dark", "bright"}
        Its contrast; `slab` is bright always.
    rows : ndarray
        (N,) rows of its particles.
    zyx_N3 : ndarray
        Their places, voxels of `data`.
    box : float
        Edge of a particle's box, voxels of `data`.
    """

    name: str
    data: Voxels
    protein: str
    rows: np.ndarray
    zyx_N3: np.ndarray
    box: float

    def slab(self, z: int, slices: int) -> np.ndarray:
        """Return the mean of some slices about z as (y, x) float32, protein bright; only those slices are read."""
        low = max(0, min(z - slices // 2, self.data.shape[0] - slices))
        mean_YX = np.asarray(self.data[low : low + slices], np.float32).mean(0)
        return -mean_YX if self.protein == "dark" else mean_YX

    def within(self, z: int) -> np.ndarray:
        """Return which particles the slice z meets, taken to be half as wide as their boxes, (N,) bool."""
        return np.abs(self.zyx_N3[:, 0] - z) <= self.box / 4


def open_tomogram(particles: Particles, row: int, *, denoised: bool = False) -> Tomogram:
    """Open the tomogram of a particle of a list, without reading its voxels.

    Parameters
    ----------
    particles : Particles
        The list.
    row : int
        Its particle, from 0.
    denoised : bool
        Open the denoised tomogram, where there is one.

    Raises
    ------
    TomoTutorError
        The tomogram is missing or damaged.
    """
    source, name = particles.source, str(particles.table.tomogram_N[row])
    find = (denoised_finder(particles) if denoised else None) or find_tomogram
    path, entry = measure_tomogram(name, particles.entries.get(name), source, needed=False, find=find)
    rows = np.flatnonzero(particles.table.tomogram_N == name)
    zyx_N3, step_N, *_ = places(particles.table.take(rows), {name: entry}, source)
    box = source.preparation.box * float(step_N[0])
    return Tomogram(name, open_source_volume(path, source).data, source.reading.protein or "dark", rows, zyx_N3, box)
