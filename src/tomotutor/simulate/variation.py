"""What items of pretraining are drawn from, and the draws: plain numbers, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from tomotutor.base.errors import TomoTutorError

# voxel sizes that densities are made at; those between are scaled from the nearest
LADDER_ANGST = (6.0, 7.5, 9.5, 12.0, 15.0)
NEAR = 1.12  # a rung serves voxel sizes up to this factor away
# voxels of ice around the box while it is imaged, so that little of what CTF and wedge spread comes back at the other
# side
MARGIN = 4


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
class Bodies:
    """Complexes that lie in a batch.

    Attributes
    ----------
    row_M, complex_M, rung_M : ndarray
        Item, complex, and rung of the ladder whose density it is shown by.
    own_M : ndarray
        Whether it is the item's own, at the centre, or a neighbour.
    matrix_M33 : ndarray
        Rotations on (x, y, z).
    offset_M3 : ndarray
        (x, y, z) from the centre, voxels.
    amplitude_M : ndarray
        Density beside that of the library.
    """

    row_M: np.ndarray
    complex_M: np.ndarray
    rung_M: np.ndarray
    own_M: np.ndarray
    matrix_M33: np.ndarray
    offset_M3: np.ndarray
    amplitude_M: np.ndarray


@dataclass(frozen=True)
class Balls:
    """Debris, membranes and gold in a batch: functions of the distance from a point.

    Attributes
    ----------
    row_P : ndarray
        Item.
    kind_P : ndarray
        0 for a blob, 1 for a bilayer, 2 for a gold bead.
    centre_P3 : ndarray
        (z, y, x), voxels of the box with its margin.
    radius_angst_P, amplitude_P : ndarray
        Of each.
    """

    row_P: np.ndarray
    kind_P: np.ndarray
    centre_P3: np.ndarray
    radius_angst_P: np.ndarray
    amplitude_P: np.ndarray


@dataclass(frozen=True)
class Draws:
    """All that is random about a batch of items but the noise's voxels.

    Attributes
    ----------
    class_N : ndarray
        Complex of each; one more than the last for a false pick.
    voxel_angst_N : ndarray
        Voxel sizes.
    bodies, balls : Bodies, Balls
        What lies in the boxes.
    tilt_rad_N3 : ndarray
        First tilt, last tilt and increment.
    fading_N : ndarray
        Exponent of the tilts' cosine.
    defocus_angst_N, amplitude_N, envelope_N : ndarray
        Of the CTF, and the envelope's exponent in (2 voxels)².
    phases_N : ndarray
        0 without CTF, 1 with its modulus, 2 as it is.
    colour_N : ndarray
        Exponent of the noise's spectrum.
    like_N : ndarray
        Item whose signal the noise is set against: itself, for a false pick another; −1 where the batch has none.
    snr_N : ndarray
        var(signal) / var(noise).
    low_N, high_N : ndarray
        Deviation of a low-pass and of a high-pass, 1/voxel; 0 for none.
    noise_seed : int
        Seeds the noise's voxels.
    """

    class_N: np.ndarray
    voxel_angst_N: np.ndarray
    bodies: Bodies
    balls: Balls
    tilt_rad_N3: np.ndarray
    fading_N: np.ndarray
    defocus_angst_N: np.ndarray
    amplitude_N: np.ndarray
    envelope_N: np.ndarray
    phases_N: np.ndarray
    colour_N: np.ndarray
    like_N: np.ndarray
    snr_N: np.ndarray
    low_N: np.ndarray
    high_N: np.ndarray
    noise_seed: int


def draw(
    rungs_K: Sequence[Sequence[int]], diameter_K: np.ndarray, items_N: np.ndarray, seed: int, variation: Variation
) -> Draws:
    """Draw items by their numbers, each from a random stream of the seed and its number.

    Parameters
    ----------
    rungs_K : sequence
        Rungs of the ladder that each complex may be shown at.
    diameter_K : ndarray
        Diameters, Å.
    items_N : ndarray
        Numbers.
    seed : int
        Of the set.
    variation : Variation
        What to draw from.
    """
    junk = len(rungs_K)
    here_L = {rung: [k for k in range(junk) if rung in rungs_K[k]] for rung in sorted({r for k in rungs_K for r in k})}
    bodies: list[tuple[float, ...]] = []
    balls: list[tuple[float, ...]] = []
    items = [np.random.default_rng([seed, number]) for number in items_N.tolist()]
    rows = []
    for row, rng in enumerate(items):
        k = junk if rng.random() < variation.false_picks else int(rng.integers(junk))
        rungs = rungs_K[k] if k < junk else list(here_L)
        rung = rungs[int(rng.integers(len(rungs)))]
        voxel = min(
            max(LADDER_ANGST[rung] * math.exp(rng.uniform(-0.11, 0.11)), variation.voxel_size_angst[0]),
            variation.voxel_size_angst[1],
        )
        radius = float(diameter_K[k]) / 2 if k < junk else 0.0
        if k < junk:
            limit = variation.pick_error_voxel
            offset = np.clip(rng.normal(0, limit / 3, 3), -limit, limit) * rng.random()
            bodies.append((row, k, rung, True, *rng.standard_normal(4), *offset, 1.0))
        else:
            balls += [(row, *ball) for ball in _false(rng, variation.box, voxel)]
        few = variation.neighbours and rng.random() < 0.5
        for _ in range(int(rng.integers(1, variation.neighbours + 1)) if few else 0):
            other = here_L[rung][int(rng.integers(len(here_L[rung])))]
            reach = float(diameter_K[other]) / 2
            offset = _direction(rng) * (max(radius, 60.0) + reach) * rng.uniform(0.8, 1.25) / voxel
            if np.abs(offset).max() < variation.box / 2 + MARGIN + reach / voxel:
                amplitude = rng.uniform(0.6, 1.2)
                bodies.append((row, other, rung, False, *rng.standard_normal(4), *offset, amplitude))
        if k < junk and rng.random() < 0.1:
            balls += [(row, *ball) for ball in _beside(rng, variation.box, voxel, radius)]
        rows.append((k, voxel, *_draw_optics(rng, variation)))
    table_N = np.array(rows)
    true = np.flatnonzero(table_N[:, 0] < junk)
    like_N, last = np.arange(len(items)), []
    for row, rng in enumerate(items):
        if table_N[row, 0] == junk:  # as much noise as around a complex of this batch
            like_N[row] = true[rng.integers(len(true))] if len(true) else -1
        last.append((_draw_snr(rng, variation.snr), *_draw_filter(rng)))
    body = np.array(bodies).reshape(-1, 12)
    ball = np.array(balls).reshape(-1, 7)
    snr_N, low_N, high_N = np.array(last).T
    return Draws(
        class_N=table_N[:, 0].astype(np.int64),
        voxel_angst_N=table_N[:, 1],
        bodies=Bodies(
            row_M=body[:, 0].astype(np.int64),
            complex_M=body[:, 1].astype(np.int64),
            rung_M=body[:, 2].astype(np.int64),
            own_M=body[:, 3] > 0,
            # four normal numbers are a uniform quaternion, see random_matrix
            matrix_M33=Rotation.from_quat(body[:, 4:8]).as_matrix() if len(body) else np.zeros((0, 3, 3)),
            offset_M3=body[:, 8:11],
            amplitude_M=body[:, 11],
        ),
        balls=Balls(ball[:, 0].astype(np.int64), ball[:, 1].astype(np.int64), ball[:, 2:5], ball[:, 5], ball[:, 6]),
        tilt_rad_N3=table_N[:, 2:5],
        fading_N=table_N[:, 5],
        defocus_angst_N=table_N[:, 6],
        amplitude_N=table_N[:, 7],
        envelope_N=table_N[:, 8],
        phases_N=table_N[:, 9],
        colour_N=table_N[:, 10],
        like_N=like_N,
        snr_N=snr_N,
        low_N=low_N,
        high_N=high_N,
        noise_seed=int(np.random.SeedSequence([seed, *items_N.tolist()]).generate_state(1, np.uint64)[0] >> 1),
    )


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _draw_snr(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    low, high = map(math.log, bounds)
    return math.exp(rng.triangular(low, (low + high) / 2, high)) if low < high else bounds[0]


def _draw_filter(rng: np.random.Generator) -> tuple[float, float]:
    """Draw a filter as packages apply them to whole tomograms: low-pass, high-pass, both or none."""
    low, high = rng.random() < 0.4, rng.random() < 0.25
    return rng.uniform(0.1, 0.3) if low else 0.0, rng.uniform(0.01, 0.03) if high else 0.0


def _draw_optics(rng: np.random.Generator, variation: Variation) -> tuple[float, ...]:
    """Draw tilts (first, last, increment, rad), fading, defocus (Å), amplitude contrast, envelope, phases, colour."""
    reach, step = rng.uniform(*variation.tilt_deg), rng.uniform(*variation.tilt_step_deg)
    low, high = -math.radians(reach + rng.uniform(-3, 3)), math.radians(reach + rng.uniform(-3, 3))
    # thicker ice and more dose at high tilts
    fading = rng.uniform(0, 1.5)
    kind, envelope, amplitude, defocus = rng.random(), rng.uniform(0, 1.2), 0.0, 0.0
    if kind >= 0.125:
        amplitude, defocus = rng.uniform(*variation.amplitude_contrast), rng.uniform(*variation.defocus_um) * 1e4
    # from what SIRT leaves (little at high frequencies) to what an unweighted ramp gives
    colour = rng.uniform(-0.7, 0.5)
    phases = 0 if kind < 0.125 else 1 if kind < 0.25 else 2
    return low, high, math.radians(step), fading, defocus, amplitude, envelope, phases, colour


def _false(rng: np.random.Generator, box: int, voxel_angst: float) -> list[tuple[float, ...]]:
    """Draw what a false pick lies on: ice, debris, a membrane or a gold bead."""
    near = box // 2 + MARGIN + rng.normal(0, 25, 3) / voxel_angst
    kind = rng.integers(4)
    if kind == 1:
        return _debris(rng, near, voxel_angst)
    if kind == 2:
        ball = _membrane(rng, near, voxel_angst)
        return [(*ball, rng.uniform(0.5, 1.2))]
    return [(2, *near, 1.0, 1.0)] if kind == 3 else []


def _beside(rng: np.random.Generator, box: int, voxel_angst: float, own_angst: float) -> list[tuple[float, ...]]:
    """Draw a membrane, a gold bead or debris beside a complex of some radius."""
    direction = rng.standard_normal(3)
    apart = (own_angst + rng.uniform(30, 120)) / voxel_angst
    direction /= np.linalg.norm(direction)
    point = box // 2 + MARGIN + direction * apart
    kind = rng.integers(3)
    if kind == 0:  # its middle comes no nearer than the point
        radius = rng.uniform(150, 900)
        return [(1, *(point + direction * radius / voxel_angst), radius, 1.0)]
    return [(2, *point, 1.0, 1.0)] if kind == 1 else _debris(rng, point, voxel_angst)


def _debris(rng: np.random.Generator, near: np.ndarray, voxel_angst: float) -> list[tuple[float, ...]]:
    """Draw one to three blobs, as `debris` does."""
    found: list[tuple[float, ...]] = []
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(15, 32)
        found.append((0, *(near + rng.normal(0, 22, 3) / voxel_angst), radius, 1.0))
    return found


def _membrane(rng: np.random.Generator, through: np.ndarray, voxel_angst: float) -> tuple[float, ...]:
    direction, radius = _direction(rng), rng.uniform(150, 900)
    return (1, *(through - direction * radius / voxel_angst), radius)
