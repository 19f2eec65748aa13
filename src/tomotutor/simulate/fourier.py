"""Fourier space: frequencies, low-pass, resampling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def frequencies(shape: tuple[int, ...], voxel_size_angst: float, device: str = "cpu") -> list[Tensor]:
    """Return spatial frequencies (1/Å) along each axis of `shape`, broadcastable, for rfftn."""
    axes = [torch.fft.fftfreq(n, voxel_size_angst) for n in shape[:-1]] + [
        torch.fft.rfftfreq(shape[-1], voxel_size_angst)
    ]
    return [a.reshape([-1 if i == d else 1 for i in range(len(shape))]).to(device) for d, a in enumerate(axes)]


def squared_frequency(shape: tuple[int, ...], voxel_size_angst: float, device: str = "cpu") -> Tensor:
    """Return k² (1/Å²) on the grid of rfftn."""
    return torch.as_tensor(sum(f**2 for f in frequencies(shape, voxel_size_angst, device)))


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
