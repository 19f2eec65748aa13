"""Points (atoms, beads) to densities, with exact form factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tomotutor.simulate.fourier import low_pass


@dataclass(frozen=True)
class Points:
    """Points that scatter alike.

    Attributes
    ----------
    xyz_angst_N3 : ndarray
        Positions.
    weight_N : ndarray
        Occupancies.
    form_factor : callable
        Amplitude at k² (1/Å²).
    """

    xyz_angst_N3: np.ndarray
    weight_N: np.ndarray
    form_factor: Callable[[np.ndarray], np.ndarray]

    @property
    def mass_N(self) -> np.ndarray:
        """Weight of each in the centre of mass: its amplitude at k = 0."""
        return self.weight_N * float(self.form_factor(np.zeros(1))[0])


def spread(xyz_N3: np.ndarray, weight_N: np.ndarray, size: int) -> np.ndarray:
    """Share weights out among the eight voxels around each point (x, y, z, voxels); points outside are left out."""
    low_N3 = np.floor(xyz_N3).astype(np.int64)
    inside = ((low_N3 >= 0) & (low_N3 < size - 1)).all(1)
    low_N3, part_N3, weight_N = low_N3[inside], (xyz_N3 - low_N3)[inside], weight_N[inside]
    grid = np.zeros(size**3)
    for corner in np.ndindex(2, 2, 2):
        share_N = np.where(corner, part_N3, 1 - part_N3).prod(1)
        x, y, z = (low_N3 + corner).T
        grid += np.bincount((z * size + y) * size + x, weight_N * share_N, size**3)
    return grid.reshape(size, size, size)


def density_of_points(
    groups: list[Points], size: int, voxel_size_angst: float, resolution_angst: float, band_angst: float
) -> np.ndarray:
    """Return the density (size, size, size) [z, y, x] of points given from the centre, voxel size // 2.

    Σ over groups of F⁻¹[ F[points] · f(k²) · low_pass(k²) ]: points are shared among the voxels of a finer grid, what
    that sharing does to the amplitudes (sinc² along each axis) is divided out, and the finer grid is cropped in Fourier
    space.

    Parameters
    ----------
    groups : list of Points
        With positions from the centre, Å.
    size : int
        Even edge, voxels.
    voxel_size_angst, resolution_angst : float
        Of the result.
    band_angst : float
        Voxel size whose Nyquist frequency ends the band: that of the data set, which may be coarser.
    """
    finer = max(1, int(np.ceil(voxel_size_angst / 3.5)))
    edge = size * finer
    axis = np.fft.fftfreq(edge, voxel_size_angst / finer)
    kept = np.concatenate(
        (np.arange(size // 2), np.arange(edge - size // 2, edge))
    )  # the frequencies of the coarse grid
    kz, ky, kx = np.meshgrid(axis[kept], axis[kept], axis[kept[: size // 2 + 1]], indexing="ij")
    kx = np.abs(kx)
    k2 = kz**2 + ky**2 + kx**2
    spacing = voxel_size_angst / finer
    shared = (np.sinc(kz * spacing) * np.sinc(ky * spacing) * np.sinc(kx * spacing)) ** 2
    weight = low_pass(k2, resolution_angst, band_angst) / shared
    spectrum = np.zeros(k2.shape, complex)
    for group in groups:
        grid = spread(group.xyz_angst_N3 / spacing + size // 2 * finer, group.weight_N, edge)
        whole = np.fft.rfftn(grid)[np.ix_(kept, kept, np.arange(size // 2 + 1))]
        spectrum += whole * group.form_factor(k2)
    return np.fft.irfftn(spectrum * weight, s=(size,) * 3, axes=(0, 1, 2)).astype(np.float32) / voxel_size_angst**3
