"""Subtomograms of ever other conditions, on the fly: what a network should have seen before it meets anybody's
tomogram.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch import Tensor
from torch.nn.functional import grid_sample

from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate.clutter import bilayer, blob, distance, gold
from tomotutor.simulate.densities import Density, Structure, make_density
from tomotutor.simulate.fourier import squared_frequency
from tomotutor.simulate.optics import ctf, tilt_planes
from tomotutor.simulate.variation import LADDER_ANGST, MARGIN, NEAR, Draws, Variation, draw

log = logging.getLogger(__name__)

SMALLEST_VOXELS = 6  # a complex of a smaller diameter is not asked for at that voxel size
_NOTHING = 0.005  # of a density's maximum: beyond it the cube is cut


@dataclass(frozen=True)
class Library:
    """Densities of the complexes at the voxel sizes of the ladder.

    Attributes
    ----------
    names : tuple of str
        Of the complexes.
    fine_KL : dict
        (complex, rung) to a density at half the voxel size of that rung, a cube of up to 2 box voxels around its centre
        voxel.
    hull_KL : dict
        The same to the corners (Q, 3) of its convex hull, (x, y, z) from the centre in voxels of the density.
    diameter_K : ndarray
        Diameters, Å.
    """

    names: tuple[str, ...]
    fine_KL: dict[tuple[int, int], Tensor]
    hull_KL: dict[tuple[int, int], np.ndarray]
    diameter_K: np.ndarray

    @property
    def rungs_K(self) -> list[list[int]]:
        """Rungs of the ladder that each complex may be shown at: it fits the box and is not too small."""
        found: list[list[int]] = [[] for _ in self.names]
        for k, rung in self.fine_KL:
            found[k].append(rung)
        return found

    def to(self, device: str) -> Library:
        """Return the same with its densities on a torch device."""
        return replace(self, fine_KL={key: fine.to(device) for key, fine in self.fine_KL.items()})


def make_library(
    structures: Sequence[Structure],
    variation: Variation,
    report: Callable[[int, int], None] | None = None,
    workers: int = 0,
) -> Library:
    """Make the densities; a complex that fits at no voxel size is left out with a warning.

    Parameters
    ----------
    structures, variation
        The complexes, and the range of voxel sizes.
    report : callable, optional
        Called with how many complexes are done, and of how many.
    workers : int
        Processes that make them, where there are two at least.

    Raises
    ------
    TomoTutorError
        A file cannot be read, or fewer than two complexes are left.
    """
    names: list[str] = []
    fine: dict[tuple[int, int], Tensor] = {}
    hull: dict[tuple[int, int], np.ndarray] = {}
    diameters: list[float] = []
    low, high = variation.voxel_size_angst
    rungs = list(enumerate(LADDER_ANGST))
    # a narrow range can lie between two rungs
    ladder = [(rung, v) for rung, v in rungs if low / NEAR <= v <= high * NEAR] or [
        min(rungs, key=lambda r: abs(math.log(r[1] / low)))
    ]
    make = partial(_at_rungs, ladder=ladder, box=variation.box)
    with contextlib.ExitStack() as stack:
        if workers > 1:
            # one thread each: those of a process do not outlive its fork
            pool = ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
            made = stack.enter_context(pool).map(make, structures)
        else:
            made = map(make, structures)
        for number, (structure, (found, problem)) in enumerate(zip(structures, made, strict=True)):
            if found:
                for rung, density in found.items():
                    fine[len(names), rung], hull[len(names), rung] = _cropped(density.fine_DHW)
                names.append(structure.name)
                diameters.append(next(iter(found.values())).diameter_angst)
            else:
                log.warning("%s: left out (%s)", structure.name, problem or "smaller than six voxels")
            if report:
                report(number + 1, len(structures))
    if len(names) < 2:
        raise TomoTutorError(
            f"found {len(names)} complexes that fit a box of {variation.box} voxels; expected two at least"
        )
    return Library(tuple(names), fine, hull, np.array(diameters))


def _at_rungs(structure: Structure, ladder: Sequence[tuple[int, float]], box: int) -> tuple[dict[int, Density], str]:
    """Return the densities of a complex at the rungs where it is neither too large nor too small, and why at others it
    is too large.
    """
    found, problem = {}, ""
    for rung, voxel in ladder:
        try:
            density = make_density(structure, box, voxel)
        except TomoTutorError as error:
            if "does not fit" not in str(error):
                raise
            problem = str(error)
            continue
        if density.diameter_angst >= SMALLEST_VOXELS * voxel:
            found[rung] = density
    return found, problem


def _cropped(fine_DHW: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Cut a density to the cube that holds it; return it with the corners of its convex hull."""
    middle = fine_DHW.shape[0] // 2
    solid_N3 = np.argwhere(np.abs(fine_DHW) > _NOTHING * fine_DHW.max()) - middle
    hull_Q3 = solid_N3[ConvexHull(solid_N3).vertices]
    half = min(middle, int(np.abs(hull_Q3).max()) + 2)
    inside = slice(middle - half, middle + half)
    return torch.from_numpy(fine_DHW[inside, inside, inside].copy()), hull_Q3[:, ::-1].astype(float)


@torch.inference_mode()
def make_varied(
    library: Library, items_N: np.ndarray, seed: int, variation: Variation, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Make items by their numbers.

    Parameters
    ----------
    library : Library
        The complexes.
    items_N : ndarray
        Numbers; with the seed and its batch, a number decides everything that is random about an item.
    seed : int
        Of the set.
    variation : Variation
        What varies.
    device : str
        torch device to compute on; each has noise of its own.

    Returns
    -------
    x_NDHW : Tensor
        (N, box, box, box) float32, protein bright, mean 0 and deviation 1.
    class_N : Tensor
        Number of each one's complex; len(library.names) for a false pick.
    """
    draws = draw(library.rungs_K, library.diameter_K, items_N, seed, variation)
    x = _image(*place_bodies(library, draws, variation.box, device), draws, variation.box)[-1]
    x = x - x.mean((1, 2, 3), keepdim=True)
    return x / _variance(x).sqrt()[:, None, None, None], torch.from_numpy(draws.class_N)


def place_bodies(library: Library, draws: Draws, box: int, device: str) -> tuple[Tensor, Tensor]:
    """Return the complexes at the centres, and what lies around them or under false picks, each (N, edge, edge, edge)
    with a margin.
    """
    edge, bodies, balls = box + 2 * MARGIN, draws.bodies, draws.balls
    own, others = (torch.zeros(len(draws.class_N), *(edge,) * 3, device=device) for _ in range(2))
    for row, kind, centre, radius, amplitude in zip(
        balls.row_P, balls.kind_P, balls.centre_P3, balls.radius_angst_P, balls.amplitude_P, strict=True
    ):
        voxel = draws.voxel_angst_N[row]
        away = distance((edge,) * 3, centre, voxel)
        body = blob(away, radius) if kind == 0 else bilayer(away - radius) if kind == 1 else gold(away, voxel)
        others[row] += amplitude * torch.from_numpy(body).to(device)
    step_M = 2 * draws.voxel_angst_N[bodies.row_M] / np.array(LADDER_ANGST)[bodies.rung_M]
    for m, (row, k, rung) in enumerate(zip(bodies.row_M, bodies.complex_M, bodies.rung_M, strict=True)):
        add_body(
            (own if bodies.own_M[m] else others)[row],
            library.fine_KL[k, rung].to(device),
            library.hull_KL[k, rung],
            bodies.matrix_M33[m],
            bodies.offset_M3[m],
            step_M[m],
            bodies.amplitude_M[m],
        )
    return own, others


def add_body(
    target: Tensor,
    fine: Tensor,
    hull_Q3: np.ndarray,
    matrix_33: np.ndarray,
    offset_3: np.ndarray,
    step: float,
    amplitude: float = 1.0,
) -> None:
    """Add a density to a cube, in place, turned and moved as `place` does; computed only where there is some.

    Parameters
    ----------
    target : Tensor
        (edge, edge, edge) [z, y, x].
    fine : Tensor
        (fine, fine, fine) density about its voxel fine // 2.
    hull_Q3 : ndarray
        Corners of its convex hull, (x, y, z) from there.
    matrix_33, offset_3 : ndarray
        Rotation and offset, (x, y, z), voxels.
    step : float
        Voxels of the density to one of the cube.
    amplitude : float
        Factor.
    """
    size, edge, device = fine.shape[0], target.shape[0], target.device
    centre_3 = edge // 2 + offset_3
    hull_Q3 = hull_Q3 @ matrix_33.T / step + centre_3
    low = np.maximum(np.floor(hull_Q3.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(hull_Q3.max(0)) + 1, edge).astype(int)
    if (low >= high).any():
        return
    # from a voxel back into the density, (x, y, z), in the units of grid_sample: −1 at the first voxel, 1 at the last
    back_33 = matrix_33.T * (2 * step / (size - 1))
    x, y, z = (np.outer(np.arange(low[i], high[i]) - centre_3[i], back_33[:, i]) for i in range(3))
    x += 2 / (size - 1) * (size // 2) - 1
    columns, rows = (torch.from_numpy(part).float().to(device) for part in (z[:, None] + y, x))
    body = grid_sample(fine[None, None], (columns[:, :, None] + rows)[None], align_corners=True)[0, 0]
    window = tuple(slice(int(low[i]), int(high[i])) for i in (2, 1, 0))
    target[window].add_(body, alpha=amplitude)


@cache
def _grid(box: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for rfftn of a box with its margin: the squared frequency in steps, as an index; squared frequencies
    (1/voxel²) by that index; and how much white noise of a frequency adds to the variance in the box.
    """
    edge = box + 2 * MARGIN
    index = torch.round(squared_frequency((edge,) * 3, 1.0) * edge**2).long()
    # the mean over the box takes what the box's window lets through
    window = torch.fft.fft(torch.ones(box), n=edge).abs().double() / box
    z, y, x = window[:, None, None], window[:, None], window[: edge // 2 + 1]
    twice = torch.full((edge // 2 + 1,), 2.0, dtype=torch.double)
    twice[0] = twice[-1] = 1  # the others stand for their mirror image, too
    adds = (1 - (z * y * x) ** 2) * twice / edge**3
    return (
        index.flatten().to(device),
        (torch.arange(int(index.max()) + 1) / edge**2).to(device),
        adds.float().flatten().to(device),
    )


def _image(own: Tensor, others: Tensor, draws: Draws, box: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the signal of the complexes at the centres in their boxes, (N, box, box, box), what scales white noise
    before it passes (N), and the finished boxes, not normalised.
    """
    device, edge, axes = own.device, own.shape[-1], (1, 2, 3)
    index, k2_R, adds = _grid(box, str(device))

    def spread(table_NR: Tensor) -> Tensor:  # many times as fast as indexing with the grid
        return table_NR.index_select(1, index).view(len(table_NR), edge, edge, edge // 2 + 1)

    def put(value: np.ndarray) -> Tensor:
        return torch.from_numpy(value).float().to(device)[:, None]

    passed = tilt_planes(edge, torch.from_numpy(draws.tilt_rad_N3).float().to(device), put(draws.fading_N)[:, 0])
    phases, k2_NR = put(draws.phases_N), k2_R / put(draws.voxel_angst_N) ** 2
    contrast = ctf(k2_NR, put(draws.defocus_angst_N), put(draws.amplitude_N))
    contrast = torch.where(phases == 0, 1.0, torch.where(phases == 1, contrast.abs(), contrast))
    seen = spread(contrast * torch.exp(-4 * put(draws.envelope_N) * k2_R)).mul_(passed)
    coloured = spread((k2_R.sqrt() + 0.02) ** put(draws.colour_N)).mul_(passed)

    spectrum = torch.fft.rfftn(own, dim=axes) * seen
    signal = _back(spectrum, box)
    power_N = _variance(signal)
    like_N = torch.from_numpy(draws.like_N).to(device)
    power_N = torch.where(like_N < 0, 1.0, power_N[like_N])
    scale_N = (power_N / put(draws.snr_N)[:, 0] / (coloured.square().flatten(1) @ adds)).sqrt()
    around = torch.from_numpy(np.union1d(draws.balls.row_P, draws.bodies.row_M[~draws.bodies.own_M])).to(device)
    if len(around):
        spectrum[around] += torch.fft.rfftn(others[around], dim=axes) * seen[around]
    spectrum += _white(spectrum, draws.noise_seed).mul_(coloured.mul_(scale_N[:, None, None, None]))
    filtered = np.flatnonzero((draws.low_N > 0) | (draws.high_N > 0))
    if len(filtered):
        low, high = put(draws.low_N[filtered]), put(draws.high_N[filtered])
        found = torch.where(low > 0, torch.exp(-k2_R / (2 * low**2)), 1.0)
        found = found * torch.where(high > 0, 1 - torch.exp(-k2_R / (2 * high**2)), 1.0)
        spectrum[torch.from_numpy(filtered).to(device)] *= spread(found)
    return signal, scale_N, _back(spectrum, box)


def _white(like: Tensor, seed: int) -> Tensor:
    """Return the rfftn of white noise of variance 1 in cubes, drawn as it is."""
    edge = like.shape[1]
    generator = torch.Generator(like.device).manual_seed(seed)
    noise = torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)
    for plane in (0, edge // 2):  # here k and −k are both there, and of a real volume conjugate
        half = noise[..., plane]
        noise[..., plane] = (half + half.flip(1, 2).roll((1, 1), (1, 2)).conj()) / math.sqrt(2)
    return noise.mul_(edge**1.5)


def _back(spectrum: Tensor, box: int) -> Tensor:
    """Transform back and cut the margin off, after each axis: that leaves less to do."""
    edge, inside = spectrum.shape[1], slice(MARGIN, MARGIN + box)
    columns = torch.fft.ifft(spectrum, dim=1)[:, inside]
    planes = torch.fft.ifft(columns, dim=2)[:, :, inside]
    return torch.fft.irfft(planes, n=edge, dim=3)[..., inside].contiguous()


def _variance(x: Tensor) -> Tensor:
    """Return the variance of each item; ten times as fast as torch.var over three axes."""
    flat = x.flatten(1)
    return (flat * flat).mean(1) - flat.mean(1) ** 2
