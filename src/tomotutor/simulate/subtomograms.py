"""Sets of simulated subtomograms, streamed to disk: each item is drawn from the seed and its own number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_folder
from tomotutor.formats.volumes.mrc_writer import write_mrc
from tomotutor.simulate.clutter import false_pick
from tomotutor.simulate.densities import Structure, make_density, stack_densities
from tomotutor.simulate.imaging import Imaging
from tomotutor.simulate.records import check_new, optics_block, star_text, write_record, write_truth
from tomotutor.simulate.rotation import place, random_matrix, relion_angles

JUNK = "junk"


@dataclass(frozen=True)
class SubtomogramSettings:
    """What a set of subtomograms holds.

    Attributes
    ----------
    per_class : int
        Items of the largest class.
    imbalance : float
        Largest class over smallest; between them sizes fall in a geometric series in the order of the classes.
    false_picks : float
        Share of all items that show no complex; their class is "junk".
    membrane, gold : bool
        Whether false picks lie on membranes and gold beads too, besides empty ice and debris.
    box : int
        Even edge, voxels.
    resolution_angst : float
        Of the densities; 0 takes two voxels.
    max_shift_voxel : float
        Centres are off by up to so much along each axis, uniformly.
    mode : int
        MRC mode of the stack: 12 (float16) or 2 (float32).
    seed : int
        Same seed, same bytes.
    """

    per_class: int = 480
    imbalance: float = 1.0
    false_picks: float = 0.0
    membrane: bool = False
    gold: bool = False
    box: int = 32
    resolution_angst: float = 0.0
    max_shift_voxel: float = 1.0
    mode: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise TomoTutorError(f"per class {self.per_class}: expected 1 at least")
        check_shared(self.imbalance, self.false_picks, self.box, self.resolution_angst, self.seed)
        if (self.membrane or self.gold) and not self.false_picks:
            raise TomoTutorError("membrane and gold are what false picks lie on; give their share with --false-picks")
        if not 0 <= self.max_shift_voxel <= self.box / 4:
            raise TomoTutorError(
                f"shift {self.max_shift_voxel:g}: expected 0 to {self.box / 4:g} voxels, a quarter of the box"
            )
        if self.mode not in (2, 12):
            raise TomoTutorError(f"MRC mode {self.mode}: expected 12 (float16) or 2 (float32)")


def check_shared(imbalance: float, false_picks: float, box: int, resolution_angst: float, seed: int) -> None:
    """Refuse settings that make no sense and that sets and tomograms have in common."""
    if not 1 <= imbalance < math.inf:
        raise TomoTutorError(f"imbalance {imbalance:g}: expected 1 or more, the largest class over the smallest")
    if not 0 <= false_picks < 1:
        raise TomoTutorError(f"false picks {false_picks:g}: expected a share from 0 to below 1")
    if box % 2 or not 16 <= box <= 256:
        raise TomoTutorError(f"box {box}: expected an even number of 16 to 256 voxels")
    if not 0 <= resolution_angst < math.inf:
        raise TomoTutorError(f"resolution {resolution_angst:g}: expected Å above 0, or 0 for two voxels")
    if seed < 0:
        raise TomoTutorError(f"seed {seed}: expected 0 or more")


def class_sizes(classes: int, largest: int, imbalance: float) -> list[int]:
    """Return how many items each class gets: largest · imbalance^(−i / (classes − 1)), 1 at least (Cui et al. 2019)."""
    return [max(1, round(largest * imbalance ** (-i / max(1, classes - 1)))) for i in range(classes)]


def false_kinds(membrane: bool, gold: bool) -> list[str]:
    """Return what false picks may lie on."""
    return ["empty", "debris", *(["membrane"] if membrane else []), *(["gold"] if gold else [])]


@dataclass(frozen=True)
class Batch:
    """Some finished items: `x_NDHW` normalised, protein bright; `matrix_N33` and `xyz_voxel_N3` are the poses,
    `defocus_angst_N` Å.
    """

    x_NDHW: np.ndarray
    matrix_N33: np.ndarray
    xyz_voxel_N3: np.ndarray
    defocus_angst_N: np.ndarray


@torch.inference_mode()
def make_subtomograms(
    fine_KDHW: Tensor,
    class_N: np.ndarray,
    items_N: np.ndarray,
    settings: SubtomogramSettings,
    imaging: Imaging,
    power: float = 1.0,
) -> Batch:
    """Make items of given classes.

    Parameters
    ----------
    fine_KDHW : Tensor
        Densities of the classes at half the voxel size; where they lie is where things are computed.
    class_N : ndarray
        Class of each item, −1 for a false pick.
    items_N : ndarray
        Number of each item: with the seed, it decides everything that is random about it.
    settings, imaging
        What and how.
    power : float
        Variance of the signal that the noise of false picks is set against: see `mean_power`.

    Notes
    -----
    ----- Volumes are imaged with half a box of ice around them, so that what CTF and wedge spread does not come back at
    the other side.
    """
    box = settings.box
    edge = box + 2 * (box // 4)
    margin = slice(box // 4, box // 4 + box)
    kinds = false_kinds(settings.membrane, settings.gold)
    matrix_N33, xyz_N3 = np.zeros((len(items_N), 3, 3)), np.zeros((len(items_N), 3))
    defocus_N, noise, clutter = np.zeros(len(items_N)), [], {}
    for row, item in enumerate(items_N.tolist()):
        rng = np.random.default_rng([settings.seed, item])
        matrix_N33[row] = random_matrix(rng)
        xyz_N3[row] = rng.uniform(-settings.max_shift_voxel, settings.max_shift_voxel, 3)
        defocus_N[row] = imaging.draw_defocus(rng)
        noise.append(rng.standard_normal(imaging.noise_shape((edge,) * 3), np.float32))
        if class_N[row] < 0:
            clutter[row] = false_pick(kinds[rng.integers(len(kinds))], edge, imaging.voxel_size_angst, rng)
    device = fine_KDHW.device
    clean = torch.zeros(len(items_N), edge, edge, edge, device=device)
    rows = np.flatnonzero(class_N >= 0)
    if len(rows):
        chosen = fine_KDHW[torch.from_numpy(class_N[rows]).to(device)]
        clean[torch.from_numpy(rows).to(device), margin, margin, margin] = place(
            chosen, matrix_N33[rows], xyz_N3[rows], box
        )
    for row, body in clutter.items():
        clean[row] = torch.from_numpy(body).to(device)
    defocus = torch.from_numpy(defocus_N).float().to(device)
    signal, grain = imaging.image(clean, torch.from_numpy(np.stack(noise)).to(device), defocus)
    made = []
    for row, (s, n) in enumerate(zip(signal[:, margin, margin, margin], grain[:, margin, margin, margin], strict=True)):
        # one item at a time, in float64: sums over a batch would depend on its size
        wanted = power if class_N[row] < 0 else s.double().var()
        x = s.double() + n.double() * (wanted / imaging.snr / n.double().var()) ** 0.5
        made.append(((x - x.mean()) / x.std()).float())
    return Batch(torch.stack(made).cpu().numpy(), matrix_N33, xyz_N3, defocus_N)


@torch.inference_mode()
def mean_power(fine_KDHW: Tensor, settings: SubtomogramSettings, imaging: Imaging) -> float:
    """Return the mean variance of the classes' signals in their boxes after CTF and wedge, from one pose of each."""
    total = 0.0
    edge, quarter = settings.box + 2 * (settings.box // 4), settings.box // 4
    for number in range(len(fine_KDHW)):
        rng = np.random.default_rng([settings.seed, number])
        clean = place(fine_KDHW[number : number + 1], random_matrix(rng)[None], np.zeros((1, 3)), settings.box)
        clean = torch.nn.functional.pad(clean, (quarter,) * 6)
        nothing = torch.zeros(1, *imaging.noise_shape((edge,) * 3), device=clean.device)
        signal = imaging.image(clean, nothing, torch.full((1,), imaging.draw_defocus(rng), device=clean.device))[0]
        total += float(signal[0, quarter:-quarter, quarter:-quarter, quarter:-quarter].double().var())
    return total / len(fine_KDHW)


def draw_classes(settings: SubtomogramSettings, classes: int) -> np.ndarray:
    """Return the class of each item in a random order, −1 for false picks."""
    sizes = class_sizes(classes, settings.per_class, settings.imbalance)
    false = round(sum(sizes) * settings.false_picks / (1 - settings.false_picks))
    class_N = np.repeat(np.arange(-1, classes), [false, *sizes])
    return np.random.default_rng([settings.seed]).permutation(class_N)


def simulate_subtomograms(
    folder: Path,
    structures: Sequence[Structure],
    settings: SubtomogramSettings,
    imaging: Imaging,
    *,
    device: str = "cpu",
    batch: int = 16,
    report: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write a set of subtomograms: subtomograms.mrc, truth.csv, particles.star and simulate.toml.

    Parameters
    ----------
    folder : Path
        New; it appears whole or not at all.
    structures : sequence of Structure
        The classes.
    settings, imaging
        What and how.
    device : str
        torch device; the bytes are the same for every batch size, but not for every device.
    batch : int
        Items computed at once.
    report : callable, optional
        Called with (done, all).

    Returns
    -------
    list of str
        Class names, with "junk" if there are false picks.

    Raises
    ------
    TomoTutorError
        The folder exists, a complex does not fit, or the disk is full; nothing is left behind.
    """
    if batch < 1:
        raise TomoTutorError(f"batch {batch}: expected 1 at least")
    check_new(folder)
    densities = [make_density(s, settings.box, imaging.voxel_size_angst, settings.resolution_angst) for s in structures]
    names = [d.name for d in densities]
    class_N = draw_classes(settings, len(densities))
    fine_KDHW = stack_densities(densities, device)
    power = mean_power(fine_KDHW, settings, imaging) if settings.false_picks else 1.0
    shape = (len(class_N), *(settings.box,) * 3)
    pose_N7 = np.zeros((len(class_N), 7))
    done = 0
    with new_folder(folder) as partial, _one_thread():
        label = f"simulated by TomoTutor, seed {settings.seed}"
        with write_mrc(partial / "subtomograms.mrc", shape, settings.mode, imaging.voxel_size_angst, label) as mrc:
            for made in _batches(fine_KDHW, class_N, settings, imaging, power, batch):
                mrc.write(made.x_NDHW)
                angles = relion_angles(made.matrix_N33)
                # RELION's origin is what moves a particle back to the centre of its box
                origin = -made.xyz_voxel_N3 * imaging.voxel_size_angst
                pose_N7[done : done + len(angles)] = np.hstack((angles, origin, made.defocus_angst_N[:, None]))
                done += len(angles)
                if report:
                    report(done, len(class_N))
        labels = [JUNK if k < 0 else names[k] for k in class_N.tolist()]
        write_truth(partial / "truth.csv", ("item", "class"), [(i, label) for i, label in enumerate(labels)])
        (partial / "particles.star").write_text(_star(pose_N7, class_N, len(names), settings, imaging))
        record = {"subtomograms": settings, "imaging": imaging}
        write_record(
            partial / "simulate.toml", record, [s.describe() for s in structures], [d.diameter_angst for d in densities]
        )
    return [*names, *([JUNK] if settings.false_picks else [])]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: boxes are so small that handing parts of them to others costs more than it gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(
    fine_KDHW: Tensor, class_N: np.ndarray, settings: SubtomogramSettings, imaging: Imaging, power: float, batch: int
) -> Iterator[Batch]:
    for first in range(0, len(class_N), batch):
        items = np.arange(first, min(first + batch, len(class_N)))
        yield make_subtomograms(fine_KDHW, class_N[items], items, settings, imaging, power)


def _star(
    pose_N7: np.ndarray, class_N: np.ndarray, classes: int, settings: SubtomogramSettings, imaging: Imaging
) -> str:
    """Return particles.star: poses as RELION writes them; false picks come last among the class numbers."""
    columns = [
        "ImageName",
        "AngleRot",
        "AngleTilt",
        "AnglePsi",
        "OriginXAngst",
        "OriginYAngst",
        "OriginZAngst",
        "DefocusU",
        "DefocusV",
    ]
    rows = []
    for number, (rot, tilt, psi, x, y, z, defocus) in enumerate(pose_N7.tolist(), start=1):
        label = class_N[number - 1] + 1 or classes + 1
        rows.append(
            f"{number:06d}@subtomograms.mrc {rot:.4f} {tilt:.4f} {psi:.4f} {x:.4f} {y:.4f} {z:.4f} {defocus:.1f} "
            f"{defocus:.1f} {label} 1"
        )
    return star_text(
        {
            "optics": optics_block(imaging, ImageSize=settings.box, ImageDimensionality=3),
            "particles": ([*columns, "ClassNumber", "OpticsGroup"], rows),
        }
    )
