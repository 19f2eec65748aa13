"""Whole tomograms with their particle list and truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_folder
from tomotutor.formats.volumes.mrc_writer import MODES, write_mrc
from tomotutor.simulate.crowd import Scene, add_gold, add_vesicles, fill, signal_power
from tomotutor.simulate.densities import Structure, make_density, stack_densities
from tomotutor.simulate.imaging import Imaging
from tomotutor.simulate.records import check_new, optics_block, star_text, write_record, write_truth
from tomotutor.simulate.rotation import relion_angles
from tomotutor.simulate.subtomograms import JUNK, check_shared, class_sizes, false_kinds

BINNING = 4
# grey levels of one standard deviation in the integer modes
_SCALE = {0: 28.0, 1: 1000.0}


@dataclass(frozen=True)
class TomogramSettings:
    """What tomograms hold.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) voxels.
    count : int
        Tomograms.
    particles : int
        Picks in each, the false ones among them.
    imbalance : float
        Most frequent class over the rarest, as in `class_sizes`.
    false_picks : float
        Share of the picks that show no complex ("junk").
    vesicles, gold_beads : int
        In each tomogram; false picks lie on them too.
    pick_error_voxel : float
        Standard deviation of the picks from the true centres, along each axis.
    box : int
        Even edge of the boxes that are to be cut; none leaves its tomogram.
    resolution_angst : float
        Of the densities; 0 takes two voxels.
    mode : int
        MRC mode: 0 (int8), 1 (int16), 2 (float32) or 12 (float16).
    seed : int
        Same seed, same bytes.
    """

    shape: tuple[int, int, int] = (96, 288, 288)
    count: int = 1
    particles: int = 260
    imbalance: float = 1.0
    false_picks: float = 0.0
    vesicles: int = 0
    gold_beads: int = 0
    pick_error_voxel: float = 0.7
    box: int = 32
    resolution_angst: float = 0.0
    mode: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_shared(self.imbalance, self.false_picks, self.box, self.resolution_angst, self.seed)
        if min(self.count, self.particles) < 1 or min(self.vesicles, self.gold_beads) < 0:
            raise TomoTutorError(
                "tomograms, particles, vesicles and gold beads: expected 1 tomogram and 1 particle at least"
            )
        if not 0 <= self.pick_error_voxel <= self.box / 8:
            raise TomoTutorError(
                f"pick error {self.pick_error_voxel:g}: expected 0 to {self.box / 8:g} voxels, an eighth of the box"
            )
        if self.mode not in MODES:
            raise TomoTutorError(f"MRC mode {self.mode}: expected one of {', '.join(map(str, MODES))}")
        needed = 2 * self.margin + 1
        if min(self.shape) < needed:
            size = "×".join(map(str, self.shape))
            raise TomoTutorError(
                f"shape {size} (z, y, x): boxes of {self.box} voxels and the pick error need {needed} along each axis"
            )

    @property
    def margin(self) -> int:
        """Voxels from a true centre to the border that keep the box of its pick inside; errors are cut at three
        deviations.
        """
        return self.box // 2 + math.ceil(3 * self.pick_error_voxel) + 1


@dataclass(frozen=True)
class Tomogram:
    """A simulated tomogram.

    Attributes
    ----------
    volume : Tensor
        (z, y, x) float32, protein dark, mean 0 and deviation 1.
    zyx_voxel_N3 : ndarray
        True centres.
    class_N : ndarray
        Class of each, −1 for false picks.
    matrix_N33 : ndarray
        Rotations, as in `place`.
    defocus_angst : float
        Underfocus.
    """

    volume: Tensor
    zyx_voxel_N3: np.ndarray
    class_N: np.ndarray
    matrix_N33: np.ndarray
    defocus_angst: float


def share_out(settings: TomogramSettings, classes: int) -> tuple[list[int], dict[str, int]]:
    """Return how many complexes of each class and how many false picks of each kind a tomogram is meant to get."""
    false = round(settings.particles * settings.false_picks)
    weights = np.array(class_sizes(classes, 10**6, settings.imbalance), float)
    exact = (settings.particles - false) * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: settings.particles - false - counts.sum()]] += 1
    kinds = false_kinds(settings.vesicles > 0, settings.gold_beads > 0)
    return counts.tolist(), {kind: false // len(kinds) + (i < false % len(kinds)) for i, kind in enumerate(kinds)}


@torch.inference_mode()
def make_tomogram(
    fine_KDHW: Tensor, diameter_K: list[float], number: int, settings: TomogramSettings, imaging: Imaging
) -> Tomogram:
    """Make the tomogram of a number (from 0): with the seed, it decides everything that is random about it.

    Where there is no room, fewer complexes are placed. The SNR holds in the boxes of the complexes: the mean over them
    of var(signal of all complexes), over var(noise).
    """
    rng = np.random.default_rng([settings.seed, number])
    scene = Scene(settings.shape, imaging.voxel_size_angst, settings.margin)
    add_vesicles(scene, settings.vesicles, rng)
    add_gold(scene, settings.gold_beads, rng)
    counts, false_counts = share_out(settings, len(fine_KDHW))
    zyx_N3, class_N, matrix_N33 = fill(scene, fine_KDHW, diameter_K, counts, false_counts, rng)
    if not (class_N >= 0).any():
        size = "×".join(map(str, settings.shape))
        raise TomoTutorError(
            f"shape {size} (z, y, x): found no room for a single complex; expected a larger tomogram, or fewer vesicles"
        )
    defocus = imaging.draw_defocus(rng)
    defocus_N = torch.full((1,), defocus, device=fine_KDHW.device)
    noise = torch.from_numpy(rng.standard_normal(imaging.noise_shape(settings.shape), np.float32)).to(fine_KDHW.device)
    signal, grain = (
        v[0]
        for v in imaging.image(torch.from_numpy(scene.complexes)[None].to(fine_KDHW.device), noise[None], defocus_N)
    )
    power = signal_power(signal, zyx_N3[class_N >= 0], settings.box)
    volume = signal + grain * (power / imaging.snr / float(grain.double().var())) ** 0.5
    if scene.others.any():
        volume += imaging.image(torch.from_numpy(scene.others)[None].to(fine_KDHW.device), noise[None], defocus_N)[0][0]
    volume = -(volume - volume.double().mean().float()) / volume.double().std().float()
    return Tomogram(volume.cpu(), zyx_N3, class_N, matrix_N33, defocus)


def simulate_tomograms(
    folder: Path,
    structures: Sequence[Structure],
    settings: TomogramSettings,
    imaging: Imaging,
    *,
    device: str = "cpu",
    report: Callable[[int, int], None] | None = None,
) -> list[tuple[str, int, int]]:
    """Write tomograms with a RELION 5 particle list and tomogram set, truth.csv and simulate.toml.

    Parameters
    ----------
    folder : Path
        New; it appears whole or not at all. Tomograms lie in tomograms/.
    structures : sequence of Structure
        The classes.
    settings, imaging
        What and how.
    device : str
        torch device; the bytes are not the same for every device.
    report : callable, optional
        Called with (done, all) tomograms.

    Returns
    -------
    list of (str, int, int)
        Name of each tomogram, picks placed, complexes among them.

    Raises
    ------
    TomoTutorError
        The folder exists, a complex does not fit its box, or the disk is full; nothing is left behind.
    """
    check_new(folder)
    densities = [make_density(s, settings.box, imaging.voxel_size_angst, settings.resolution_angst) for s in structures]
    fine_KDHW = stack_densities(densities, device)
    particles: list[str] = []
    sets: list[str] = []
    truth: list[tuple[str, int, str]] = []
    placed: list[tuple[str, int, int]] = []
    with new_folder(folder) as partial:
        (partial / "tomograms").mkdir()
        for number in range(settings.count):
            name = f"tomo_{number + 1}"
            made = make_tomogram(fine_KDHW, [d.diameter_angst for d in densities], number, settings, imaging)
            label = f"simulated by TomoTutor, seed {settings.seed}"
            with write_mrc(
                partial / "tomograms" / f"{name}.mrc", settings.shape, settings.mode, imaging.voxel_size_angst, label
            ) as mrc:
                for plane in made.volume.numpy():
                    mrc.write(plane * _SCALE.get(settings.mode, 1.0))
            particles += _rows(name, made, number, settings, imaging)
            truth += [
                (name, len(truth) + i, JUNK if k < 0 else densities[k].name)
                for i, k in enumerate(made.class_N.tolist(), 1)
            ]
            bin1 = " ".join(str(BINNING * s) for s in settings.shape[::-1])
            pixel = imaging.voxel_size_angst / BINNING
            sets.append(f"{name} {pixel:.6f} {BINNING}.000000 {bin1} tomograms/{name}.mrc {made.defocus_angst:.1f}")
            placed.append((name, len(made.class_N), int((made.class_N >= 0).sum())))
            if report:
                report(number + 1, settings.count)
        columns = [
            "TomoName",
            *(f"CenteredCoordinate{a}Angst" for a in "XYZ"),
            "AngleRot",
            "AngleTilt",
            "AnglePsi",
            "OpticsGroup",
        ]
        blocks = {"optics": optics_block(imaging), "particles": (columns, particles)}
        (partial / "particles.star").write_text(star_text(blocks))
        columns = ["TomoName", "TomoTiltSeriesPixelSize", "TomoTomogramBinning", "TomoSizeX", "TomoSizeY", "TomoSizeZ"]
        columns += ["TomoReconstructedTomogram", "DefocusU"]
        (partial / "tomograms.star").write_text(star_text({"global": (columns, sets)}))
        write_truth(partial / "truth.csv", ("tomogram", "star_row", "class"), truth)
        record = {"tomograms": settings, "imaging": imaging}
        write_record(
            partial / "simulate.toml", record, [s.describe() for s in structures], [d.diameter_angst for d in densities]
        )
    return placed


def _rows(name: str, made: Tomogram, number: int, settings: TomogramSettings, imaging: Imaging) -> list[str]:
    """Return a tomogram's rows of the particle list: picks off by the pick error, Å from the centre size / 2, and
    poses.
    """
    rng = np.random.default_rng([settings.seed, number, 1])
    limit = 3 * settings.pick_error_voxel
    error = np.clip(rng.normal(0, 1, made.zyx_voxel_N3.shape) * settings.pick_error_voxel, -limit, limit)
    xyz = ((made.zyx_voxel_N3 + error - np.array(settings.shape) / 2) * imaging.voxel_size_angst)[:, ::-1]
    rows = np.hstack((xyz, relion_angles(made.matrix_N33)))
    return [
        f"{name} {x:.3f} {y:.3f} {z:.3f} {rot:.4f} {tilt:.4f} {psi:.4f} 1" for x, y, z, rot, tilt, psi in rows.tolist()
    ]
