"""What an electron microscope passes, in Fourier space: contrast transfer, and what a tilt series measures."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from tomotutor.simulate.fourier import frequencies

VOLTAGE_KV, SPHERICAL_MM, AMPLITUDE = 300.0, 2.7, 0.07


def wavelength_angst(voltage_kv: float = VOLTAGE_KV) -> float:
    """Return the relativistic wavelength of an electron, Å (h / sqrt(2 m e V (1 + e V / 2 m c²)))."""
    volt = voltage_kv * 1e3
    return 12.2643 / math.sqrt(volt + 0.97845e-6 * volt**2)


def ctf(k2: Tensor, defocus_angst: Tensor, amplitude: float | Tensor = AMPLITUDE) -> Tensor:
    """Return contrast transfer at squared frequencies (1/Å²), positive at low ones; the arguments are broadcast.

    −CTF of the weak-phase approximation (Erickson and Klug 1971): sqrt(1 − A²) sin γ + A cos γ with
    γ = π λ Δf k² − ½ π Cs λ³ k⁴, at 300 kV and Cs 2.7 mm, A the amplitude contrast; underfocus Δf is positive.
    """
    wavelength = wavelength_angst()
    gamma = math.pi * wavelength * defocus_angst * k2 - 0.5 * math.pi * SPHERICAL_MM * 1e7 * wavelength**3 * k2**2
    phase = torch.sqrt(1 - amplitude**2) if isinstance(amplitude, Tensor) else math.sqrt(1 - amplitude**2)
    return phase * torch.sin(gamma) + amplitude * torch.cos(gamma)


def wedge(
    shape: tuple[int, ...],
    tilt_range_deg: tuple[float, float],
    device: str = "cpu",
    matrix_33: np.ndarray | None = None,
) -> Tensor:
    """Return the mask of measured frequencies, for rfftn of (z, y, x): tilts about y, beam along z at tilt 0.

    A tilt of θ is a right-handed turn of the sample about y; its projection measures the plane kz / kx = tan θ (central
    slice theorem). Measured is what lies between the two ends; the other double wedge, around kz, is missing.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the volume.
    tilt_range_deg : tuple of float
        Smallest and largest tilt; nan: everything is measured.
    device : str
        torch device.
    matrix_33 : ndarray, optional
        A, on (x, y, z), of a particle that was turned back: the frequency k of the result is A · k of the tomogram.
    """
    fz, fy, fx = (f.double() for f in frequencies(shape, 1.0, device))
    whole = (*shape[:-1], shape[-1] // 2 + 1)
    if np.isnan(tilt_range_deg).any():
        return torch.ones(whole, device=device)
    low, high = (math.tan(math.radians(t)) for t in np.clip(tilt_range_deg, -89.99, 89.99))
    if matrix_33 is not None:
        x, z = (a * fx + b * fy + c * fz for a, b, c in (matrix_33[0].tolist(), matrix_33[2].tolist()))
        z, x = torch.where(x < 0, -z, z), x.abs()
        return ((z >= low * x - 1e-9) & (z <= high * x + 1e-9)).float()
    # kx is never negative in rfftn; of the two signs of kz at Nyquist only one is there, and it stands for both
    nyquist = fz.abs() == 0.5
    measured = (fz <= fx * high + 1e-9) & (fz >= fx * low - 1e-9) | nyquist & (fz.abs() <= fx * max(high, -low) + 1e-9)
    return measured.float().expand(whole)


def tilt_planes(edge: int, tilt_rad_N3: Tensor, fading_N: Tensor) -> Tensor:
    """Return how much of each frequency tilt series measure, (N, z, 1, x) for rfftn of cubes.

    A tilt measures a plane of a voxel's thickness: a frequency d voxels from the nearest one passes with
    min(1, max(0, 1.5 − d)), beyond the ends with max(0, 1 − d), so that coarse steps leave gaps.

    Parameters
    ----------
    edge : int
        Of the cubes.
    tilt_rad_N3 : Tensor
        First tilt, last tilt and increment, rad; the sign is that of `wedge`.
    fading_N : Tensor
        Tilts θ pass cos(θ) to this power.
    """
    fz, _, fx = frequencies((edge,) * 3, 1.0, str(tilt_rad_N3.device))
    low, high, step = (value[:, None, None, None] for value in tilt_rad_N3.unbind(1))
    angle = torch.atan2(fz, fx.clamp(min=1e-9))
    radius = edge * (fz**2 + fx**2).sqrt()
    nearest = low + step * torch.round((torch.minimum(torch.maximum(angle, low), high) - low) / step)
    away = radius * (angle - nearest).abs()
    outside = ((angle < low) | (angle > high)) & (radius > 1)
    passed = torch.where(outside, (1.0 - away).clamp(0, 1), (1.5 - away).clamp(0, 1))
    return passed * torch.cos(nearest) ** fading_N[:, None, None, None]
