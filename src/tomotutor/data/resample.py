"""Fourier operations on boxes: resampling to another voxel size, and a soft low-pass filter."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy.fft


def resampling_matrix(size: int, position_P: np.ndarray, step: float) -> np.ndarray:
    """Return the matrix that Fourier-crops or -pads `size` periodic samples and evaluates the result at given
    positions.

    The discrete Fourier series of the samples, cut at the Nyquist frequency of the coarser of the two grids (terms
    exactly on it count half, so that the result is real), is evaluated at positions in units of samples:

    W[p, n] = (1 / size) Σ_k w_k cos(2π k (position_p − n) / size), w_k = 1 for |k| < size · min(1, 1 / step) / 2, 1/2
    on it, 0 beyond.

    With positions on whole samples and size / step a whole number this is Fourier cropping as `ifft(crop(fft(x)))` does
    it; any other ratio or sub-voxel position is evaluated as exactly.

    Parameters
    ----------
    size : int
        Number of samples.
    position_P : ndarray
        (P,) where to evaluate.
    step : float
        Distance of two positions, samples: the ratio of the new to the old voxel size.

    Returns
    -------
    ndarray
        (P, size) float64.
    """
    limit = size * min(1.0, 1.0 / step) / 2
    k = np.arange(1, math.floor(limit + 1e-6) + 1)
    weight = np.where(np.abs(k - limit) < 1e-6, 1.0, 2.0)  # 2: k and −k; half of that on the limit
    sample = np.arange(size)
    # cos(a − b) = cos a cos b + sin a sin b: two products of small matrices
    a, b = 2 * np.pi / size * np.outer(position_P, k), 2 * np.pi / size * np.outer(sample, k)
    return (1.0 + (np.cos(a) * weight) @ np.cos(b).T + (np.sin(a) * weight) @ np.sin(b).T) / size


def resample(values_zyx: np.ndarray, position_zyx: tuple[np.ndarray, ...], step: float) -> np.ndarray:
    """Resample a periodic box at positions (in its voxels) along z, y and x, `step` voxels apart, as float32."""
    mean = float(values_zyx.mean(dtype=np.float64))  # single precision is for the contrast alone
    out = values_zyx.astype(np.float32) - np.float32(mean)
    for axis, position in enumerate(position_zyx):
        matrix = resampling_matrix(out.shape[axis], position, step).astype(np.float32)
        out = np.moveaxis(np.tensordot(matrix, out, (1, axis)), 0, axis)
    return np.ascontiguousarray(out + np.float32(mean))


def low_pass(values_zyx: np.ndarray, resolution_voxels: float) -> np.ndarray:
    """Filter a box: frequencies above 1 / resolution go, with a soft edge.

    H(f) = 1 for f ≤ 0.75 f0, (1 + cos(π (f − 0.75 f0) / (0.5 f0))) / 2 up to 1.25 f0, 0 beyond; f0 = 1 / resolution,
    where H is 1/2.

    Parameters
    ----------
    values_zyx : ndarray
        (z, y, x), taken as periodic.
    resolution_voxels : float
        Resolution in voxels, above 2.
    """
    mean = float(values_zyx.mean(dtype=np.float64))
    spectrum = scipy.fft.rfftn(values_zyx.astype(np.float32) - np.float32(mean))
    return scipy.fft.irfftn(spectrum * _transfer(values_zyx.shape, resolution_voxels), values_zyx.shape) + np.float32(
        mean
    )


@lru_cache(maxsize=4)  # takes as long as the transforms, and is the same for all boxes of a session
def _transfer(shape: tuple[int, int, int], resolution_voxels: float) -> np.ndarray:
    axes = (np.fft.fftfreq(shape[0])[:, None, None], np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2]))
    frequency = np.sqrt(axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2)
    edge = np.clip((frequency * resolution_voxels - 0.75) / 0.5, 0, 1)
    return ((1 + np.cos(np.pi * edge)) / 2).astype(np.float32)


def low_pass_margin(resolution_voxels: float) -> int:
    """Return how many voxels around a box the filter needs, so that the box is as if the whole volume had been
    filtered.
    """
    return math.ceil(2 * resolution_voxels)
