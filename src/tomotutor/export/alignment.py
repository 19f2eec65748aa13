"""Quick alignment of particles whose list has no angles, aware of the missing wedge."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Pool

EDGE = 32  # boxes are brought to this many voxels before they are searched
RADIUS = 7  # Fourier voxels of such a box that are compared: low resolution, where the signal is
PADDED = 2  # times the box: how finely the reference's transform is sampled before it is turned
ROTATIONS = 600  # of the coarse grid: about 30° from one to the next
STEP = 1.5  # voxels between the shifts that are tried, of a box of `EDGE`
MAX_SHIFT = 0.1  # of the box, by which the centre may move unless told otherwise
MOST = 32  # particles that make the reference; the others are aligned to it
STARTS, PASSES = 3, 3  # first references that are tried, and how often each is averaged anew
NEAR_DEG = (14.0, 7.0)  # how far the local searches turn
LEAST_WEIGHT = 0.1


@dataclass(frozen=True)
class Aligned:
    """Where particles lie.

    Attributes
    ----------
    matrix_N33 : ndarray
        (N, 3, 3) on (x, y, z): from the reference into the tomogram; in the order of the rows.
    shift_zyx_N3 : ndarray
        Voxels by which the centre of each lies from where the list has it.
    score_N : ndarray
        Constrained correlation of each with the reference, -1 to 1.
    """

    matrix_N33: np.ndarray
    shift_zyx_N3: np.ndarray
    score_N: np.ndarray


def rotation_grid(n: int) -> np.ndarray:
    """Return n rotations (n, 3, 3) spread evenly: the super-Fibonacci spiral (Alexa, CVPR 2022)."""
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(n) + 0.5
    a, b = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    r, q = np.sqrt(s / n), np.sqrt(1 - s / n)
    return Rotation.from_quat(np.column_stack([r * np.sin(a), r * np.cos(a), q * np.sin(b), q * np.cos(b)])).as_matrix()


def align(
    pool: Pool,
    rows: np.ndarray,
    *,
    max_shift: float | None = None,
    seed: int = 0,
    report: Callable[[int], None] = lambda _: None,
) -> Aligned:
    """Align particles to a reference that is made of them.

    The reference begins as one particle, and is averaged anew from up to `MOST` of them, each turned back by the
    rotation and shift that fit best; of several such beginnings the one with the best mean score is kept. What fits is
    told by the correlation over the frequencies that the particle has measured (Förster et al., J. Struct. Biol. 2008):

        Σ W R* P / √(Σ W |R|² · Σ W |P|²)

    R the turned reference within a sphere, P the particle, W its wedge, over frequencies up to `RADIUS`; shifts are
    phases. Coarse rotations first, then two local searches.

    Parameters
    ----------
    pool : Pool
        Items, 3D cubes.
    rows : ndarray
        Which of them.
    max_shift : float, optional
        Voxels by which a centre may move; by default a tenth of the box.
    seed : int
        Of the particles that references begin with.
    report : callable
        Called after each particle of the last search with how many are done.

    Raises
    ------
    TomoTutorError
        There are no particles, or they are no cubes.
    """
    if not len(rows) or pool.ndim != 3 or len(set(pool.shape[1:])) != 1:
        raise TomoTutorError(f"align: found {len(rows)} items of shape {pool.shape[1:]}; expected 3D cubes")
    search = _Search(pool.shape[-1], max_shift)
    rng = np.random.default_rng([seed, 0xA119])
    raw = dataclasses.replace(pool, prepared=None, cache=None)
    some = [search.particle(raw, row) for row in rng.permutation(rows)[:MOST].tolist()]
    found, best = None, -np.inf
    for first in some[:STARTS]:
        reference = search.average([first], [_Fit(np.eye(3), np.zeros(3), 1.0)])
        for _ in range(PASSES):
            fits = list(search.globally(reference, some))
            reference = search.average(some, fits)
        score = float(np.mean([fit.score for fit in fits]))
        if score > best:
            found, best = (reference, fits), score
    assert found is not None
    reference, fits = found
    for near in NEAR_DEG:
        fits = [search.locally(reference, one, fit, near) for one, fit in zip(some, fits, strict=True)]
        reference = search.average(some, fits)
    last = []
    for done, row in enumerate(rows.tolist(), start=1):
        one = search.particle(raw, row)
        (fit,) = search.globally(reference, [one])
        for near in NEAR_DEG:
            fit = search.locally(reference, one, fit, near)
        last.append(fit)
        report(done)
    return Aligned(
        np.stack([fit.matrix_33 for fit in last]),
        np.stack([fit.shift_3 for fit in last]) / search.scale,
        np.array([fit.score for fit in last]),
    )


@dataclass(frozen=True)
class _Particle:
    transform: np.ndarray  # its low frequencies, finely sampled, centred where the list has the particle
    spectrum_K: np.ndarray  # its frequencies that are compared, times its wedge, of length 1
    wedge_K: np.ndarray
    tilt: tuple[float, float]


@dataclass(frozen=True)
class _Fit:
    matrix_33: np.ndarray
    shift_3: np.ndarray
    score: float


class _Search:
    """What all particles of a box size share: the frequencies, the shifts and the coarse rotations."""

    def __init__(self, edge: int, max_shift: float | None) -> None:
        self.scale = EDGE / edge
        self.max_shift = (MAX_SHIFT * edge if max_shift is None else max_shift) * self.scale
        k = np.stack(np.meshgrid(*[np.arange(-RADIUS, RADIUS + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        z, y, x = k.T
        half = (x > 0) | (x == 0) & ((y > 0) | (y == 0) & (z > 0))  # the other half says the same
        self.k_K3 = k[half & ((k**2).sum(1) <= RADIUS**2)]
        self.coarse_G33 = rotation_grid(ROTATIONS)
        radius = np.linalg.norm(np.indices((EDGE,) * 3) - EDGE // 2, axis=0)
        self.sphere = np.clip((EDGE / 2 - self.max_shift - radius) / 3 + 1, 0, 1).astype(np.float32)
        reach = np.arange(-np.floor(self.max_shift / STEP), np.floor(self.max_shift / STEP) + 1) * STEP
        self.shifts_S3 = self._allowed(np.stack(np.meshgrid(reach, reach, reach), -1).reshape(-1, 3))
        near = np.stack(np.meshgrid(*[[-STEP / 2, 0, STEP / 2]] * 3), -1).reshape(-1, 3)
        self.near_S3 = near[(near != 0).sum(1) <= 2]

    def _allowed(self, shifts_S3: np.ndarray) -> np.ndarray:
        return shifts_S3[np.linalg.norm(shifts_S3, axis=1) <= self.max_shift]

    def particle(self, pool: Pool, row: int) -> _Particle:
        box = pool.read(np.array([row]))[0, 0]
        centred = scipy.fft.fftshift(scipy.fft.fftn(scipy.fft.ifftshift(box)))
        at = self.k_K3 + np.array(box.shape) // 2
        spectrum_K = centred[tuple(at.T)] * self._phases(pool.offset_zyx_N3[row][None] * self.scale)[0]
        low, high = pool.tilt_range_N2[row].tolist()
        wedge_K = self._wedge((low, high))
        spectrum_K = spectrum_K * wedge_K
        transform = self._transform(self._volume(spectrum_K))
        length = max(float(np.linalg.norm(spectrum_K)), 1e-12)
        return _Particle(transform, (spectrum_K / length).astype(np.complex64), wedge_K, (low, high))

    def _wedge(self, tilt: tuple[float, float], matrix_33: np.ndarray | None = None) -> np.ndarray:
        """Return the frequencies that are measured, as `simulate.optics.wedge`, at those that are compared."""
        if np.isnan(tilt).any():
            return np.ones(len(self.k_K3), np.float32)
        low, high = np.tan(np.deg2rad(np.clip(tilt, -89.99, 89.99)))
        k_xyz = self.k_K3[:, ::-1] if matrix_33 is None else self.k_K3[:, ::-1] @ matrix_33.T
        x, z = k_xyz[:, 0], k_xyz[:, 2]
        z, x = np.where(x < 0, -z, z), np.abs(x)
        return ((z >= low * x - 1e-9) & (z <= high * x + 1e-9)).astype(np.float32)

    def _phases(self, shifts_S3: np.ndarray) -> np.ndarray:
        """Return what moves a particle back by shifts, (S, K)."""
        return np.exp(2j * np.pi / EDGE * (shifts_S3 @ self.k_K3.T))

    def _volume(self, spectrum_K: np.ndarray) -> np.ndarray:
        whole = np.zeros((EDGE,) * 3, complex)
        whole[tuple((self.k_K3 + EDGE // 2).T)] = spectrum_K
        whole[tuple((EDGE // 2 - self.k_K3).T)] = spectrum_K.conj()
        return scipy.fft.fftshift(scipy.fft.ifftn(scipy.fft.ifftshift(whole)).real).astype(np.float32)

    def _transform(self, volume: np.ndarray) -> np.ndarray:
        """Return the low frequencies of a volume, finely sampled: (2, z, y, x), real and imaginary."""
        edge, reach = PADDED * EDGE, PADDED * (RADIUS + 1)
        padded = np.zeros((edge,) * 3, np.float32)
        padded[(slice(edge // 2 - EDGE // 2, edge // 2 + EDGE // 2),) * 3] = volume
        whole = scipy.fft.fftshift(scipy.fft.fftn(scipy.fft.ifftshift(padded)))
        middle = whole[(slice(edge // 2 - reach, edge // 2 + reach + 1),) * 3]
        return np.stack([middle.real, middle.imag])

    def _turned(self, transform: np.ndarray, matrix_G33: np.ndarray) -> np.ndarray:
        """Return the frequencies (G, K) of a volume turned by matrices: those of the volume at A⁻¹ k."""
        at_G3K = PADDED * np.matmul(np.swapaxes(matrix_G33[:, ::-1, ::-1], 1, 2), self.k_K3.T) + PADDED * (RADIUS + 1)
        at = np.moveaxis(at_G3K, 1, 0).reshape(3, -1)
        real, imaginary = (map_coordinates(part, at, np.float32, order=1) for part in transform)
        return (real + 1j * imaginary).reshape(len(matrix_G33), -1)

    def _best(self, spectra_GK: np.ndarray, one: _Particle, shifts_S3: np.ndarray, length_G: np.ndarray) -> tuple:
        moved_SK = (one.spectrum_K * self._phases(shifts_S3)).astype(np.complex64)
        real_SG = moved_SK.real @ spectra_GK.real.T  # the real part alone, in half the multiplications
        score_SG = (real_SG + moved_SK.imag @ spectra_GK.imag.T) / length_G
        s, g = np.unravel_index(score_SG.argmax(), score_SG.shape)
        return int(s), int(g), float(score_SG[s, g])

    def globally(self, reference: np.ndarray, particles: list[_Particle]) -> Iterator[_Fit]:
        """Find the best of the coarse rotations and shifts for each particle."""
        spectra_GK = self._turned(reference, self.coarse_G33)
        lengths: dict[tuple[float, float], np.ndarray] = {}
        for one in particles:
            if one.tilt not in lengths:
                lengths[one.tilt] = _lengths(spectra_GK, one.wedge_K)
            s, g, score = self._best(spectra_GK, one, self.shifts_S3, lengths[one.tilt])
            yield _Fit(self.coarse_G33[g], self.shifts_S3[s], score)

    def locally(self, reference: np.ndarray, one: _Particle, fit: _Fit, near_deg: float) -> _Fit:
        """Find the best rotation and shift near a fit; the fit itself where there is none better."""
        turns = np.concatenate([np.zeros((1, 3)), np.deg2rad(near_deg) * _DIRECTIONS])
        matrix_G33 = fit.matrix_33 @ Rotation.from_rotvec(turns).as_matrix()
        spectra_GK = self._turned(reference, matrix_G33)
        shifts_S3 = np.concatenate([fit.shift_3[None], self._allowed(fit.shift_3 + self.near_S3)])
        s, g, score = self._best(spectra_GK, one, shifts_S3, _lengths(spectra_GK, one.wedge_K))
        return _Fit(matrix_G33[g], shifts_S3[s], score)

    def average(self, particles: list[_Particle], fits: list[_Fit]) -> np.ndarray:
        """Return the transform of the mean of particles turned back, weighted by their wedges, within the sphere."""
        total_K, weight_K = np.zeros(len(self.k_K3), complex), np.zeros(len(self.k_K3))
        for one, fit in zip(particles, fits, strict=True):
            moved_K = np.exp(2j * np.pi / EDGE * (self.k_K3 @ (fit.matrix_33[::-1, ::-1].T @ fit.shift_3)))
            total_K += self._turned(one.transform, fit.matrix_33.T[None])[0] * moved_K
            weight_K += self._wedge(one.tilt, fit.matrix_33)
        mean = self._volume(total_K / np.maximum(weight_K, LEAST_WEIGHT * len(particles)))
        return self._transform(mean * self.sphere)


def _lengths(spectra_GK: np.ndarray, wedge_K: np.ndarray) -> np.ndarray:
    return np.maximum(np.sqrt((np.abs(spectra_GK) ** 2) @ wedge_K), 1e-12)


_DIRECTIONS = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], float)
_DIRECTIONS /= np.linalg.norm(_DIRECTIONS, axis=1, keepdims=True)
