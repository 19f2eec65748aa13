"""What an electron microscope passes, in Fourier space: frequencies, missing wedge, contrast transfer, low-pass,
resampling.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

VOLTAGE_KV, SPHERICAL_MM, AMPLITUDE = 300.0, 2.7, 0.07


def frequencies(shape: tuple[int, ...], voxel_size_angst: float, device: str = "cpu") -> list[Tensor]:
    """Return spatial frequencies (1/Å) along each axis of `shape`, broadcastable, for rfftn."""
    axes = [torch.fft.fftfreq(n, voxel_size_angst) for n in shape[:-1]] + [
        torch.fft.rfftfreq(shape[-1], voxel_size_angst)
    ]
    return [a.reshape([-1 if i == d else 1 for i in range(len(shape))]).to(device) for d, a in enumerate(axes)]


def squared_frequency(shape: tuple[int, ...], voxel_size_angst: float, device: str = "cpu") -> Tensor:
    """Return k² (1/Å²) on the grid of rfftn."""
    return torch.as_tensor(sum(f**2 for f in frequencies(shape, voxel_size_angst, device)))


def wedge(shape: tuple[int, int, int], tilt_range_deg: tuple[float, float], device: str = "cpu") -> Tensor:
    """Return the mask of measured frequencies, for rfftn of (z, y, x): tilts about y, beam along z at tilt 0.

    A tilt of θ is a right-handed turn of the sample about y; its projection measures the plane kz / kx = tan θ (central
    slice theorem). Measured is what lies between the two ends; the other double wedge, around kz, is missing.
    """
    fz, _, fx = frequencies(shape, 1.0, device)
    low, high = (math.tan(math.radians(t)) for t in tilt_range_deg)
    # kx is never negative in rfftn; of the two signs of kz at Nyquist only one is there, and it stands for both
    nyquist = fz.abs() == 0.5
    measured = (fz <= fx * high + 1e-9) & (fz >= fx * low - 1e-9) | nyquist & (fz.abs() <= fx * max(high, -low) + 1e-9)
    return measured.float().expand(*shape[:-1], shape[-1] // 2 + 1)


def wavelength_angst(voltage_kv: float = VOLTAGE_KV) -> float:
    """Return the relativistic wavelength of an electron, Å (h / sqrt(2 m e V (1 + e V / 2 m c²)))."""
    volt = voltage_kv * 1e3
    return 12.2643 / math.sqrt(volt + 0.97845e-6 * volt**2)


def ctf(shape: tuple[int, ...], voxel_size_angst: float, defocus_angst_N: Tensor) -> Tensor:
    """Return contrast transfer functions (N, ...) for rfftn of images or volumes, positive at low frequencies.

    −CTF of the weak-phase approximation (Erickson and Klug 1971): sqrt(1 − A²) sin γ + A cos γ with
    γ = π λ Δf k² − ½ π Cs λ³ k⁴, at 300 kV, Cs 2.7 mm and 7 % amplitude contrast; underfocus Δf is positive.
    """
    k2 = squared_frequency(shape, voxel_size_angst, str(defocus_angst_N.device))
    wavelength = wavelength_angst()
    defocus = defocus_angst_N.reshape(-1, *[1] * len(shape)).to(k2.dtype)
    gamma = math.pi * wavelength * defocus * k2 - 0.5 * math.pi * SPHERICAL_MM * 1e7 * wavelength**3 * k2**2
    return math.sqrt(1 - AMPLITUDE**2) * torch.sin(gamma) + AMPLITUDE * torch.cos(gamma)


def low_pass(k2: np.ndarray, resolution_angst: float, voxel_size_angst: float) -> np.ndarray:
    """Return the weight of frequencies k² (1/Å²): exp(−k² d²), and a cosine edge to nothing at the voxel size's
    Nyquist.

    The Gaussian falls to 1/e at k = 1/d, which is how ChimeraX's molmap defines the resolution d; the edge, over the
    last tenth, keeps what the voxels cannot hold from folding back.
    """
    k = np.sqrt(k2) * 2 * voxel_size_angst  # 1 at Nyquist
    edge = 0.5 + 0.5 * np.cos(np.pi * np.clip((k - 0.9) / 0.1, 0, 1))
    return np.exp(-k2 * resolution_angst**2) * edge


def resample(volume: np.ndarray, size: int) -> np.ndarray:
    """Fourier-crop or pad an even cube to another even edge of the same extent; voxel edge // 2 stays where it is."""
    old = volume.shape[0]
    spectrum = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))
    if size <= old:
        start = old // 2 - size // 2
        spectrum = spectrum[(slice(start, start + size),) * 3]
    else:
        start = size // 2 - old // 2
        padded = np.zeros((size,) * 3, spectrum.dtype)
        padded[(slice(start, start + old),) * 3] = spectrum
        spectrum = padded
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(spectrum))).real * (size / old) ** 3
