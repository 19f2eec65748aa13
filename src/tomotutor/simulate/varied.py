"""Subtomograms of ever other conditions, on the fly: what a network should have seen before it meets anybody's
tomogram.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate.clutter import bilayer, debris, distance, gold
from tomotutor.simulate.densities import Structure, make_density
from tomotutor.simulate.fourier import SPHERICAL_MM, frequencies, wavelength_angst
from tomotutor.simulate.rotation import place, random_matrix

log = logging.getLogger(__name__)

LADDER_ANGST = (
    6.0,
    7.5,
    9.5,
    12.0,
    15.0,
)  # voxel sizes that densities are made at; those between are scaled from the nearest
NEAR = 1.12  # a rung serves voxel sizes up to this factor away
# voxels of ice around the box while it is imaged, so that little of what CTF and wedge spread comes back at the other
# side
MARGIN = 4
SMALLEST_VOXELS = 6  # a complex of a smaller diameter is not asked for at that voxel size


@dataclass(frozen=True)
class Variation:
    """Ranges that the conditions of an item are drawn from, each item on its own.

    Attributes
    ----------
    voxel_size_angst, snr : tuple of float
        Voxel sizes lie around those that densities are made at (`LADDER_ANGST`), each as often as any other that the
        complex fits; the logarithm of the SNR is most often at the middle of its range.
    tilt_deg, tilt_step_deg : tuple of float
        Largest tilt to either side (the two differ by up to 6°), and the increment.
    defocus_um, amplitude_contrast : tuple of float
        Of the CTF, which one item in eight has flipped to one sign, and one in eight lacks.
    pick_error_voxel : float
        Picks are off by up to so much along each axis; small errors are more frequent.
    false_picks : float
        Share of items that show no complex at their centre.
    neighbours : int
        Up to so many other complexes around; half of the items have none.
    box : int
        Even edge, voxels.
    """

    voxel_size_angst: tuple[float, float] = (6.0, 16.0)
    snr: tuple[float, float] = (0.02, 0.5)
    tilt_deg: tuple[float, float] = (40.0, 70.0)
    tilt_step_deg: tuple[float, float] = (1.0, 5.0)
    defocus_um: tuple[float, float] = (1.5, 8.0)
    amplitude_contrast: tuple[float, float] = (0.05, 0.2)
    pick_error_voxel: float = 3.0
    false_picks: float = 0.1
    neighbours: int = 4
    box: int = 32

    def __post_init__(self) -> None:
        # a voxel size is at most 12 % from a rung; tilts end 3° and half a step beyond tilt_deg at most, which must
        # stay below 90°
        _check_range("voxel size", self.voxel_size_angst, LADDER_ANGST[0] / NEAR, LADDER_ANGST[-1] * NEAR, "Å")
        _check_range("SNR", self.snr, 1e-4, 100)
        _check_range("tilt", self.tilt_deg, 10, 80, "degrees")
        _check_range("tilt step", self.tilt_step_deg, 0.1, 10, "degrees")
        _check_range("defocus", self.defocus_um, 0.01, 50, "µm")
        _check_range("amplitude contrast", self.amplitude_contrast, 0, 1)
        if self.box % 2 or not 16 <= self.box <= 128:
            raise TomoTutorError(f"box {self.box}: expected an even number of voxels between 16 and 128")
        if not 0 <= self.pick_error_voxel <= self.box / 2:
            raise TomoTutorError(
                f"pick error {self.pick_error_voxel:g}: expected between 0 and half a box, {self.box // 2} voxels"
            )
        if not 0 <= self.false_picks <= 0.9:
            raise TomoTutorError(f"false picks {self.false_picks:g}: expected a share between 0 and 0.9")
        if not 0 <= self.neighbours <= 50:
            raise TomoTutorError(f"neighbours {self.neighbours}: expected a number between 0 and 50")


def _check_range(what: str, bounds: tuple[float, float], least: float, most: float, unit: str = "") -> None:
    low, high = bounds
    if not least <= low <= high <= most:
        limits = f"{least:.3g} and {most:.3g} {unit}".rstrip()
        raise TomoTutorError(f"{what} {low:g},{high:g}: expected two numbers between {limits}, the smaller one first")


@dataclass(frozen=True)
class Library:
    """Densities of the complexes at the voxel sizes of the ladder.

    Attributes
    ----------
    names : tuple of str
        Of the complexes.
    fine_KL : dict
        (complex, rung) to a density (2 box, 2 box, 2 box) at half the voxel size of that rung.
    diameter_K : ndarray
        Diameters, Å.
    """

    names: tuple[str, ...]
    fine_KL: dict[tuple[int, int], Tensor]
    diameter_K: np.ndarray

    def rungs(self, k: int) -> list[int]:
        """Return the rungs of the ladder that complex k may be shown at: it fits the box and is not too small."""
        return [rung for (kk, rung) in self.fine_KL if kk == k]


def make_library(
    structures: Sequence[Structure], variation: Variation, report: Callable[[int, int], None] | None = None
) -> Library:
    """Make the densities; a complex that fits at no voxel size is left out with a warning.

    Raises
    ------
    TomoTutorError
        A file cannot be read, or fewer than two complexes are left.
    """
    names: list[str] = []
    fine: dict[tuple[int, int], Tensor] = {}
    diameters: list[float] = []
    low, high = variation.voxel_size_angst
    rungs = list(enumerate(LADDER_ANGST))
    # a narrow range can lie between two rungs
    ladder = [(rung, v) for rung, v in rungs if low / NEAR <= v <= high * NEAR] or [
        min(rungs, key=lambda r: abs(math.log(r[1] / low)))
    ]
    for number, structure in enumerate(structures):
        found, problem = {}, ""
        for rung, voxel in ladder:
            try:
                density = make_density(structure, variation.box, voxel)
            except TomoTutorError as error:
                if "does not fit" not in str(error):
                    raise
                problem = str(error)
                continue
            if density.diameter_angst >= SMALLEST_VOXELS * voxel:
                found[rung] = density
        if found:
            fine |= {(len(names), rung): torch.from_numpy(d.fine_DHW) for rung, d in found.items()}
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
    return Library(tuple(names), fine, np.array(diameters))


@dataclass
class _Item:
    """What is drawn of one item before anything is computed."""

    complex: int
    rung: int
    voxel_angst: float
    rng: np.random.Generator


@torch.inference_mode()
def make_varied(
    library: Library, items_N: np.ndarray, seed: int, variation: Variation
) -> tuple[np.ndarray, np.ndarray]:
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

    Returns
    -------
    x_NDHW : ndarray
        (N, box, box, box) float32, protein bright, mean 0 and deviation 1.
    class_N : ndarray
        Number of each one's complex; len(library.names) for a false pick.
    """
    box = variation.box
    edge = box + 2 * MARGIN
    items = _draw(library, items_N, seed, variation)
    signal, around, noise = _imaged(library, items, variation)
    x = signal + around + noise
    filters = {row: found for row, item in enumerate(items) if (found := _package_filter(item, edge)) is not None}
    if filters:
        rows = list(filters)
        x[rows] = _back(torch.fft.rfftn(x[rows], dim=(1, 2, 3)) * torch.stack(list(filters.values())))
    x = x[_inside(box)]
    mean, deviation = x.mean((1, 2, 3), keepdim=True), x.std((1, 2, 3), keepdim=True)
    return ((x - mean) / deviation).numpy(), np.array([item.complex for item in items])


def _draw(library: Library, items_N: np.ndarray, seed: int, variation: Variation) -> list[_Item]:
    """Draw what each item shows, and its voxel size."""
    junk = len(library.names)
    items = []
    for number in items_N.tolist():
        rng = np.random.default_rng([seed, number])
        k = junk if rng.random() < variation.false_picks else int(rng.integers(junk))
        rungs = library.rungs(k) if k < junk else sorted({rung for _, rung in library.fine_KL})
        rung = int(rng.choice(rungs))
        voxel = float(np.clip(LADDER_ANGST[rung] * np.exp(rng.uniform(-0.11, 0.11)), *variation.voxel_size_angst))
        items.append(_Item(k, rung, voxel, rng))
    return items


def _imaged(library: Library, items: list[_Item], variation: Variation) -> tuple[Tensor, Tensor, Tensor]:
    """Return the complexes at the centres, what lies around them, and noise of the SNR drawn, imaged; with margin, so
    not yet cropped.
    """
    box = variation.box
    edge = box + 2 * MARGIN
    clean, others = _place_bodies(library, items, variation, edge)
    imaged = [_optics(item, variation, edge) for item in items]
    seen, passed, colour = (torch.stack(part) for part in zip(*imaged, strict=True))
    axes = (1, 2, 3)
    white = torch.from_numpy(np.stack([item.rng.standard_normal((edge,) * 3, np.float32) for item in items]))
    signal = _back(torch.fft.rfftn(clean, dim=axes) * seen)
    around = _back(torch.fft.rfftn(others, dim=axes) * seen)
    noise = _back(torch.fft.rfftn(white, dim=axes) * (passed * colour))
    power_N = signal[_inside(box)].flatten(1).var(1)
    true = np.array([item.complex < len(library.names) for item in items])
    for row in np.flatnonzero(~true):  # as much noise as around a complex of this batch
        power_N[row] = power_N[int(items[row].rng.choice(np.flatnonzero(true)))] if true.any() else 1.0
    snr_N = torch.tensor([_draw_snr(item.rng, variation.snr) for item in items])
    scale_N = (power_N / snr_N / noise[_inside(box)].flatten(1).var(1)).sqrt()
    return signal, around, noise * scale_N[:, None, None, None]


def _inside(box: int) -> tuple[slice, ...]:
    """Return the box within its margin, of a batch."""
    return (slice(None), *(slice(MARGIN, MARGIN + box),) * 3)


def _back(spectrum: Tensor) -> Tensor:
    edge = spectrum.shape[1]
    return torch.fft.irfftn(spectrum, s=(edge,) * 3, dim=(1, 2, 3))


def _draw_snr(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    low, high = map(math.log, bounds)
    return math.exp(rng.triangular(low, (low + high) / 2, high)) if low < high else bounds[0]


def _place_bodies(library: Library, items: list[_Item], variation: Variation, edge: int) -> tuple[Tensor, Tensor]:
    """Return the complexes at the centres, and what lies around them or under false picks, each (N,
    edge, edge, edge).
    """
    junk = len(library.names)
    clean, others = torch.zeros(len(items), *(edge,) * 3), torch.zeros(len(items), *(edge,) * 3)
    bodies: list[
        tuple[Tensor, int, Tensor, np.ndarray, np.ndarray, float]
    ] = []  # target, row, density, matrix, offset, step
    for row, item in enumerate(items):
        rng, voxel, step = item.rng, item.voxel_angst, 2 * item.voxel_angst / LADDER_ANGST[item.rung]
        own = 0.0
        if item.complex < junk:
            own = library.diameter_K[item.complex] / 2
            limit = variation.pick_error_voxel
            offset = np.clip(rng.normal(0, limit / 3, 3), -limit, limit) * rng.random()
            bodies.append((clean, row, library.fine_KL[item.complex, item.rung], random_matrix(rng), offset, step))
        else:
            _add_false(others[row].numpy(), rng, voxel)
        here = [k for k, rung in library.fine_KL if rung == item.rung]
        for _ in range(
            int(rng.integers(1, variation.neighbours + 1)) if variation.neighbours and rng.random() < 0.5 else 0
        ):
            k = int(rng.choice(here))
            direction = rng.standard_normal(3)
            apart = (max(own, 60.0) + library.diameter_K[k] / 2) * rng.uniform(0.8, 1.25) / voxel
            offset = direction / np.linalg.norm(direction) * apart
            if np.abs(offset).max() < edge / 2 + library.diameter_K[k] / 2 / voxel:
                bodies.append(
                    (
                        others,
                        row,
                        rng.uniform(0.6, 1.2) * library.fine_KL[k, item.rung],
                        random_matrix(rng),
                        offset,
                        step,
                    )
                )
        if item.complex < junk and rng.random() < 0.1:
            _add_beside(others[row].numpy(), rng, voxel, own)
    for target, row, fine, matrix, offset, step in bodies:
        _add_body(target[row], fine, matrix, offset, step)
    return clean, others


def _add_body(target: Tensor, fine: Tensor, matrix: np.ndarray, offset: np.ndarray, step: float) -> None:
    """Add a density about an offset (x, y, z) from the centre of a cube, in place, where it lies inside."""
    size, edge = fine.shape[0] // 2, target.shape[0]
    whole = np.round(offset).astype(int)
    body = place(fine[None], matrix[None], (offset - whole)[None], size, step)[0]
    start = edge // 2 - size // 2 + whole[::-1]
    low, high = np.maximum(start, 0), np.minimum(start + size, edge)
    if (low < high).all():
        target[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] += body[
            tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        ]


def _add_false(body: np.ndarray, rng: np.random.Generator, voxel_angst: float) -> None:
    """Add what a false pick lies on, in place: ice, debris, a membrane or a gold bead."""
    shape = body.shape
    near = body.shape[0] // 2 + rng.normal(0, 25, 3) / voxel_angst
    kind = rng.integers(4)
    if kind == 1:
        body += debris(shape, near, voxel_angst, rng)
    elif kind == 2:
        _add_membrane(body, rng, voxel_angst, near)
    elif kind == 3:
        body += gold(distance(shape, near, voxel_angst), voxel_angst)


def _add_membrane(body: np.ndarray, rng: np.random.Generator, voxel_angst: float, through: np.ndarray) -> None:
    direction, radius = rng.standard_normal(3), rng.uniform(150, 900)
    centre = through - direction / np.linalg.norm(direction) * radius / voxel_angst
    body += rng.uniform(0.5, 1.2) * bilayer(distance(body.shape, centre, voxel_angst) - radius)


def _add_beside(body: np.ndarray, rng: np.random.Generator, voxel_angst: float, own_angst: float) -> None:
    """Add a membrane, a gold bead or debris beside a complex of some radius, in place."""
    direction = rng.standard_normal(3)
    apart = (own_angst + rng.uniform(30, 120)) / voxel_angst
    point = body.shape[0] // 2 + direction / np.linalg.norm(direction) * apart
    kind = rng.integers(3)
    if kind == 0:
        radius = rng.uniform(150, 900)
        centre = point + direction / np.linalg.norm(direction) * radius / voxel_angst
        body += bilayer(distance(body.shape, centre, voxel_angst) - radius)
    elif kind == 1:
        body += gold(distance(body.shape, point, voxel_angst), voxel_angst)
    else:
        body += debris(body.shape, point, voxel_angst, rng)


def _optics(item: _Item, variation: Variation, edge: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the signal is multiplied by in Fourier space, what the noise is, and the noise's colour, on the grid
    of rfftn.
    """
    rng = item.rng
    fz, fy, fx = frequencies((edge,) * 3, 1.0)
    k = (fz**2 + fy**2 + fx**2).sqrt()
    passed = _tilts(rng, variation, edge).expand(edge, edge, edge // 2 + 1)
    k2 = (k / item.voxel_angst) ** 2
    kind = rng.random()
    envelope = torch.exp(-k2 * rng.uniform(0, 1.2) * (2 * item.voxel_angst) ** 2)
    if kind < 0.125:
        transfer = envelope
    else:
        wavelength, amplitude = wavelength_angst(), rng.uniform(*variation.amplitude_contrast)
        gamma = math.pi * wavelength * rng.uniform(*variation.defocus_um) * 1e4 * k2
        gamma = gamma - 0.5 * math.pi * SPHERICAL_MM * 1e7 * wavelength**3 * k2**2
        transfer = envelope * torch.sin(gamma + math.asin(amplitude))  # sqrt(1 − A²) sin γ + A cos γ
        if kind < 0.25:
            transfer = transfer.abs()
    # from what SIRT leaves (little at high frequencies) to what an unweighted ramp gives
    colour = (k + 0.02) ** float(rng.uniform(-0.7, 0.5))
    return transfer * passed, passed, colour


def _tilts(rng: np.random.Generator, variation: Variation, edge: int) -> Tensor:
    """Return how much of each frequency (z, 1, x) a tilt series measures: planes of a voxel's width within the tilt
    range.
    """
    fz, _, fx = frequencies((edge,) * 3, 1.0)
    reach, step = rng.uniform(*variation.tilt_deg), rng.uniform(*variation.tilt_step_deg)
    low, high = (-math.radians(reach + rng.uniform(-3, 3)), math.radians(reach + rng.uniform(-3, 3)))
    angle = torch.atan2(fz.abs() * torch.sign(fz), fx.clamp(min=1e-9)).expand(edge, 1, edge // 2 + 1)
    radius = edge * (fz**2 + fx**2).sqrt()
    spacing = math.radians(step)
    nearest = low + spacing * torch.round((angle.clamp(low, high) - low) / spacing)
    away = radius * (angle - nearest).abs()
    measured = (1.5 - away).clamp(0, 1)
    outside = ((angle < low) | (angle > high)) & (radius > 1)
    fading = torch.cos(nearest) ** float(rng.uniform(0, 1.5))  # thicker ice and more dose at high tilts
    return torch.where(outside, (1.0 - away).clamp(0, 1), measured) * fading


def _package_filter(item: _Item, edge: int) -> Tensor | None:
    """Return a filter as packages apply them to whole tomograms, or None: low-pass, high-pass, or both."""
    rng = item.rng
    low, high = rng.random() < 0.4, rng.random() < 0.25
    if not (low or high):
        return None
    fz, fy, fx = frequencies((edge,) * 3, 1.0)
    k2 = fz**2 + fy**2 + fx**2
    found = torch.ones_like(k2)
    if low:
        found = found * torch.exp(-k2 / (2 * rng.uniform(0.1, 0.3) ** 2))
    if high:
        found = found * (1 - torch.exp(-k2 / (2 * rng.uniform(0.01, 0.03) ** 2)))
    return found
