"""From clean volumes to what a reconstruction shows of them: missing wedge and CTF at once in Fourier space, or a real
tilt series.

Signal and noise are imaged apart, so that their ratio can be set exactly afterwards; both ways are linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate.fourier import squared_frequency
from tomotutor.simulate.optics import ctf, wedge


@dataclass(frozen=True)
class Imaging:
    """How volumes are imaged.

    Attributes
    ----------
    voxel_size_angst : float
        Voxel size.
    snr : float
        var(signal) / var(noise), the signal after CTF and wedge, the noise with the same wedge.
    tilt_range_deg : tuple of float
        First and last tilt about y; see `wedge` for the sign.
    tilt_step_deg : float
        Between two tilts, for `projections`; the Fourier wedge is continuous.
    defocus_um : tuple of float
        Least and largest underfocus; each volume draws its own.
    ctf : bool
        Whether there is a CTF (it is not corrected for).
    projections : bool
        Project at each tilt, add the noise there and reconstruct by weighted back-projection, instead of the Fourier
        wedge.
    """

    voxel_size_angst: float = 10.0
    snr: float = 0.1
    tilt_range_deg: tuple[float, float] = (-60.0, 60.0)
    tilt_step_deg: float = 3.0
    defocus_um: tuple[float, float] = (3.0, 6.0)
    ctf: bool = True
    projections: bool = False

    def __post_init__(self) -> None:
        low, high = self.tilt_range_deg
        if not -90 < low < high < 90:
            raise TomoTutorError(
                f"tilt range {low:g},{high:g}: expected two tilts between −90 and 90 degrees, the smaller one first"
            )
        if not 0 < self.tilt_step_deg <= high - low:
            raise TomoTutorError(
                f"tilt step {self.tilt_step_deg:g}: expected above 0 and no more than the range of {high - low:g} "
                "degrees"
            )
        if not 0 < self.defocus_um[0] <= self.defocus_um[1] < math.inf:
            raise TomoTutorError(
                f"defocus {self.defocus_um[0]:g},{self.defocus_um[1]:g}: expected two numbers above 0 µm, the smaller "
                "one first"
            )
        if not 0 < self.snr < math.inf:
            raise TomoTutorError(f"SNR {self.snr:g}: expected a number above 0")
        if not 0 < self.voxel_size_angst < math.inf:
            raise TomoTutorError(f"voxel size {self.voxel_size_angst:g}: expected Å above 0")

    @property
    def tilts_deg(self) -> np.ndarray:
        """Tilts of the series: from the first in steps, up to the last."""
        low, high = self.tilt_range_deg
        return low + self.tilt_step_deg * np.arange(int((high - low) / self.tilt_step_deg + 1e-6) + 1)

    def noise_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape of the white noise that a volume of `shape` is given: its own, or (tilt, y, x) in a tilt
        series.
        """
        return (len(self.tilts_deg), *shape[1:]) if self.projections else shape

    def draw_defocus(self, rng: np.random.Generator) -> float:
        """Draw an underfocus, Å."""
        return float(rng.uniform(*self.defocus_um)) * 1e4

    def image(self, signal_NDHW: Tensor, noise_NDHW: Tensor, defocus_angst_N: Tensor) -> tuple[Tensor, Tensor]:
        """Image volumes and noise.

        Parameters
        ----------
        signal_NDHW : Tensor
            (N, z, y, x) clean volumes.
        noise_NDHW : Tensor
            (N, *noise_shape(shape)) white noise.
        defocus_angst_N : Tensor
            Underfocus of each.

        Returns
        -------
        signal_NDHW, noise_NDHW : Tensor
            As the microscope shows them; their sum, each scaled, is a reconstruction.
        """
        depth, height, width = signal_NDHW.shape[1:]
        shape = (depth, height, width)
        if self.projections:
            series = tilt_series(shape, tuple(self.tilts_deg.tolist()), str(signal_NDHW.device))
            transfer = self._transfer(shape[1:], defocus_angst_N)[:, None] if self.ctf else None
            images = series.project(signal_NDHW)
            return series.reconstruct(images, transfer), series.reconstruct(noise_NDHW, None)
        passed = wedge(shape, self.tilt_range_deg, str(signal_NDHW.device))
        seen = self._transfer(shape, defocus_angst_N) * passed if self.ctf else passed
        axes = (1, 2, 3)
        signal = torch.fft.irfftn(torch.fft.rfftn(signal_NDHW, dim=axes) * seen, s=shape, dim=axes)
        return signal, torch.fft.irfftn(torch.fft.rfftn(noise_NDHW, dim=axes) * passed, s=shape, dim=axes)

    def _transfer(self, shape: tuple[int, ...], defocus_angst_N: Tensor) -> Tensor:
        k2 = squared_frequency(shape, self.voxel_size_angst, str(defocus_angst_N.device))
        return ctf(k2, defocus_angst_N.reshape(-1, *[1] * len(shape)).to(k2.dtype))


@dataclass(frozen=True)
class TiltSeries:
    """Projection along a tilt series and weighted back-projection.

    Attributes
    ----------
    matrix, transposed : Tensor
        Sparse (tilts · x, z · x): what each voxel of a slice across y adds to each pixel of a line, linearly
        interpolated.
    shape : tuple of int
        (z, y, x) of the volumes.
    """

    matrix: Tensor
    transposed: Tensor
    shape: tuple[int, int, int]

    def project(self, volume_NDHW: Tensor) -> Tensor:
        """Project (N, z, y, x) at every tilt, to (N, tilt, y, x)."""
        depth, height, width = self.shape
        columns = volume_NDHW.permute(1, 3, 0, 2).reshape(depth * width, -1)
        return (self.matrix @ columns).reshape(-1, width, len(volume_NDHW), height).permute(2, 0, 3, 1)

    def reconstruct(self, images_NTHW: Tensor, transfer_N1HW: Tensor | None) -> Tensor:
        """Filter images by |kx| and, where given, a CTF (on the grid of rfftn), and project them back,
        to (N, z, y, x).
        """
        depth, height, width = self.shape
        weight = torch.fft.rfftfreq(width, device=images_NTHW.device)
        spectrum = torch.fft.rfftn(images_NTHW, dim=(2, 3)) * weight
        if transfer_N1HW is not None:
            spectrum = spectrum * transfer_N1HW
        images = torch.fft.irfftn(spectrum, s=(height, width), dim=(2, 3))
        columns = images.permute(1, 3, 0, 2).reshape(-1, len(images) * height)
        return (self.transposed @ columns).reshape(depth, width, len(images), height).permute(2, 0, 3, 1)


@cache
def tilt_series(shape: tuple[int, int, int], tilts_deg: tuple[float, ...], device: str = "cpu") -> TiltSeries:
    """Return the projection of (z, y, x) volumes along tilts about y, all axes about their voxel size // 2.

    A tilt of θ turns the sample right-handed about y: voxel (x, z) falls on pixel x cos θ + z sin θ.
    """
    depth, _, width = shape
    z, x = np.meshgrid(np.arange(depth) - depth // 2, np.arange(width) - width // 2, indexing="ij")
    voxel = np.arange(depth * width)
    rows, columns, values = [], [], []
    for number, tilt in enumerate(np.deg2rad(tilts_deg)):
        pixel = (x * np.cos(tilt) + z * np.sin(tilt)).ravel() + width // 2
        low = np.floor(pixel).astype(np.int64)
        for index, share in ((low, 1 - (pixel - low)), (low + 1, pixel - low)):
            inside = (index >= 0) & (index < width)
            rows.append(number * width + index[inside])
            columns.append(voxel[inside])
            values.append(share[inside])
    indices = torch.from_numpy(np.stack((np.concatenate(rows), np.concatenate(columns)))).to(device)
    weights = torch.from_numpy(np.concatenate(values)).float().to(device)
    size = (len(tilts_deg) * width, depth * width)
    matrix = torch.sparse_coo_tensor(indices, weights, size, check_invariants=False).coalesce()
    return TiltSeries(matrix, matrix.t().coalesce(), shape)
