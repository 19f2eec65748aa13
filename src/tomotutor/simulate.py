"""A small simulator: idealised complexes in crowded tomograms with a missing wedge, CTF and noise, and the truth beside them.

The shapes are our own (a shell, a barrel, a two-lobed body, a rod), so that what ships with the package needs no structure
from elsewhere. `python -m tomotutor.simulate FOLDER` makes sample_data.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

_Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]


def _soft(distance_angst: np.ndarray, width_angst: float = 12.0) -> np.ndarray:
    """Return 1 inside (negative distance) and 0 outside, with an edge about as wide as the resolution."""
    return 1.0 / (1.0 + np.exp(4.0 * distance_angst / width_angst))


def _shell(zyx: _Coordinates) -> np.ndarray:
    return _soft(np.abs(np.sqrt(sum(c**2 for c in zyx)) - 100.0) - 18.0)


def _barrel(zyx: _Coordinates) -> np.ndarray:
    z, y, x = zyx
    wall = np.abs(np.hypot(y, x) - 50.0) - 22.0
    gap = 0.6 * _soft(np.abs(z) - 6.0)  # two stacked rings
    return _soft(np.maximum(wall, np.abs(z) - 75.0)) * (1 - gap)


def _two_lobed(zyx: _Coordinates) -> np.ndarray:
    z, y, x = zyx
    large = np.sqrt(z**2 + y**2 + (x + 35) ** 2) - 80.0
    small = np.sqrt((z / 1.5) ** 2 + (y - 15) ** 2 + (x - 75) ** 2) - 45.0
    return np.maximum(_soft(large), _soft(small))


def _rod(zyx: _Coordinates) -> np.ndarray:
    z, y, x = zyx
    return _soft(np.maximum(np.hypot(y, x) - 32.0, np.abs(z) - 125.0))


COMPLEXES: dict[str, Callable[[_Coordinates], np.ndarray]] = {
    "shell": _shell,
    "barrel": _barrel,
    "two_lobed": _two_lobed,
    "rod": _rod,
}


def density(name: str, box: int, voxel_size_angst: float) -> np.ndarray:
    """Return an idealised complex as (box, box, box) float32 [z, y, x], centred on voxel box // 2, maximum 1."""
    axis = (np.arange(box) - box // 2) * voxel_size_angst
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return COMPLEXES[name]((z, y, x)).astype(np.float32)


def rotate(volume: Tensor, matrix_xyz: np.ndarray) -> Tensor:
    """Rotate (box, box, box) about voxel box // 2: a point r (x, y, z from the centre) goes to matrix · r. Trilinear, 0 outside."""
    box = volume.shape[0]
    # grid_sample looks up, for each output point, the input point: the inverse rotation, in units of half a box about its
    # middle (box − 1)/2, while ours is about box // 2
    centre = 2.0 * (box // 2) / (box - 1) - 1.0
    inverse = torch.from_numpy(np.ascontiguousarray(matrix_xyz.T)).float()
    offset = torch.full((3,), centre) - inverse @ torch.full((3,), centre)
    theta = torch.cat((inverse, offset[:, None]), 1)[None]
    grid = affine_grid(theta, [1, 1, box, box, box], align_corners=True)
    return grid_sample(volume[None, None], grid, align_corners=True)[0, 0]


def _frequencies(shape: tuple[int, ...], voxel_size_angst: float) -> list[Tensor]:
    """Return spatial frequencies (1/Å) along z, y, x, broadcastable, for rfftn."""
    axes = [torch.fft.fftfreq(n, voxel_size_angst) for n in shape[:-1]] + [torch.fft.rfftfreq(shape[-1], voxel_size_angst)]
    return [a.reshape([-1 if i == d else 1 for i in range(len(shape))]) for d, a in enumerate(axes)]


def wedge(shape: tuple[int, ...], tilt_deg: float) -> Tensor:
    """Return the mask of measured frequencies, for rfftn: tilts of ±tilt_deg about y, beam along z."""
    fz, _, fx = _frequencies(shape, 1.0)
    return (fz.abs() <= fx.abs() * np.tan(np.deg2rad(tilt_deg)) + 1e-9).float().expand(*shape[:-1], shape[-1] // 2 + 1)


def ctf(shape: tuple[int, ...], voxel_size_angst: float, defocus_angst: float) -> Tensor:
    """Return the contrast transfer function for rfftn (300 kV, Cs 2.7 mm, 7 % amplitude contrast), positive at low frequencies.

    −CTF of the weak-phase approximation (Erickson and Klug 1971); one defocus for the whole volume.
    """
    wavelength, spherical, amplitude = 0.0196875, 2.7e7, 0.07  # Å
    k2 = torch.as_tensor(sum(f**2 for f in _frequencies(shape, voxel_size_angst)))
    phase = np.pi * wavelength * defocus_angst * k2 - 0.5 * np.pi * spherical * wavelength**3 * k2**2
    return np.sqrt(1 - amplitude**2) * torch.sin(phase) + amplitude * torch.cos(phase)


@dataclass(frozen=True)
class Tomogram:
    """A simulated tomogram.

    Attributes
    ----------
    volume : ndarray
        (z, y, x) int8, protein dark.
    zyx_voxel_N3 : ndarray
        True centres.
    classes : tuple of str
        Class of each; false picks are "junk".
    """

    volume: np.ndarray
    zyx_voxel_N3: np.ndarray
    classes: tuple[str, ...]


def _place(shape: tuple[int, ...], count: int, distance: float, margin: int, rng: np.random.Generator) -> np.ndarray:
    """Draw up to `count` centres (z, y, x) at least `distance` voxels apart, `margin` voxels from the border."""
    low, high = np.full(3, margin), np.array(shape) - margin
    placed = np.zeros((0, 3))
    for _ in range(200 * count):
        if len(placed) == count:
            break
        candidate = rng.uniform(low, high)
        if not len(placed) or np.linalg.norm(placed - candidate, axis=1).min() >= distance:
            placed = np.vstack((placed, candidate))
    return placed


def simulate_tomogram(
    shape: tuple[int, int, int],
    counts: dict[str, int],
    *,
    voxel_size_angst: float = 10.0,
    snr: float = 0.1,
    tilt_deg: float = 60.0,
    seed: int = 0,
) -> Tomogram:
    """Simulate a tomogram of idealised complexes and false picks.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) voxels.
    counts : dict of str to int
        Complexes of each kind; "junk" are picks of nothing and of small debris. Where there is no room, fewer are placed.
    voxel_size_angst, tilt_deg : float
        Voxel size and largest tilt.
    snr : float
        var(signal) / var(noise) in the particles' boxes after CTF and wedge, the noise wedged alike.
    seed : int
        Same seed, same tomogram.
    """
    rng = np.random.default_rng(seed)
    box = 32
    names = [name for name, count in counts.items() for _ in range(count)]
    rng.shuffle(names)
    centres = _place(shape, len(names), 23.0, box // 2 + 3, rng)  # picks are off by a little and should stay inside
    names = names[: len(centres)]
    canvas = torch.zeros(shape)
    maps = {name: torch.from_numpy(density(name, box, voxel_size_angst)) for name in COMPLEXES}
    for name, centre in zip(names, centres, strict=True):
        whole = np.floor(centre + 0.5).astype(int)
        if name == "junk":
            if rng.random() < 0.5:
                continue
            axis = (torch.arange(box) - box // 2) * voxel_size_angst
            radius = rng.uniform(25, 40)
            squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
            body = torch.exp(-squared / radius**2)
        else:
            body = rotate(maps[name], Rotation.random(rng=rng).as_matrix())
        z, y, x = whole - box // 2
        canvas[z : z + box, y : y + box, x : x + box] += body
    # an even pad would do for speed; what matters is that the volume's ends do not meet
    transfer = wedge(shape, tilt_deg)
    seen = ctf(shape, voxel_size_angst, rng.uniform(3e4, 5e4)) * transfer
    signal = torch.fft.irfftn(torch.fft.rfftn(canvas) * seen, s=shape)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = torch.fft.irfftn(torch.fft.rfftn(torch.randn(shape, generator=generator)) * transfer, s=shape)
    boxes = []
    for name, centre in zip(names, centres, strict=True):
        if name != "junk":
            z, y, x = np.floor(centre + 0.5).astype(int) - box // 2
            boxes.append((slice(z, z + box), slice(y, y + box), slice(x, x + box)))
    signal_variance = float(torch.stack([signal[b].var() for b in boxes]).mean())
    noise_variance = float(noise.var())
    volume = signal + noise * np.sqrt(signal_variance / snr / noise_variance)
    volume = -(volume - volume.mean()) / volume.std()
    return Tomogram((volume * 28).round().clamp(-127, 127).to(torch.int8).numpy(), centres, tuple(names))


def write_tomograms(
    folder: Path, tomograms: dict[str, Tomogram], voxel_size_angst: float, *, error_voxel: float = 0.7, seed: int = 0
) -> None:
    """Write tomograms with a RELION 5 particle list, a tomogram set, and truth.csv.

    Parameters
    ----------
    folder : Path
        Gets particles.star, tomograms.star, truth.csv and tomograms/.
    tomograms : dict of str to Tomogram
        By name.
    voxel_size_angst : float
        Voxel size; the tilt series' pixel is a quarter of it (binning 4).
    error_voxel : float
        Deviation of the picks from the true centres, per axis.
    seed : int
        Of that error.
    """
    rng = np.random.default_rng(seed)
    (folder / "tomograms").mkdir(parents=True, exist_ok=True)
    particles = ["# version 50001", "", "data_particles", "", "loop_"]
    particles += [f"_rln{name} #{i}" for i, name in enumerate(("TomoName", *(f"CenteredCoordinate{a}Angst" for a in "XYZ")), 1)]
    sets = ["# version 50001", "", "data_global", "", "loop_"]
    columns = (
        "TomoName",
        "TomoTiltSeriesPixelSize",
        "TomoTomogramBinning",
        "TomoSizeX",
        "TomoSizeY",
        "TomoSizeZ",
        "TomoReconstructedTomogram",
    )
    sets += [f"_rln{name} #{i}" for i, name in enumerate(columns, 1)]
    truth: list[tuple[str, int, str]] = []
    for name, tomogram in tomograms.items():
        with mrcfile.new(folder / "tomograms" / f"{name}.mrc", tomogram.volume, overwrite=True) as mrc:
            mrc.voxel_size = voxel_size_angst
            mrc.set_volume()
            mrc.header.label[0] = b"simulated by TomoTutor: idealised complexes"  # no time stamp: same seed, same bytes
        size = np.array(tomogram.volume.shape)
        picks = tomogram.zyx_voxel_N3 + rng.normal(0, error_voxel, tomogram.zyx_voxel_N3.shape)
        xyz = ((picks - size / 2) * voxel_size_angst)[:, ::-1]
        for (x, y, z), label in zip(xyz.tolist(), tomogram.classes, strict=True):
            particles.append(f"{name} {x:.3f} {y:.3f} {z:.3f}")
            truth.append((name, len(truth) + 1, label))
        bin1 = " ".join(str(4 * s) for s in size[::-1])
        sets.append(f"{name} {voxel_size_angst / 4:.6f} 4.000000 {bin1} tomograms/{name}.mrc")
    (folder / "particles.star").write_text("\n".join(particles) + "\n")
    (folder / "tomograms.star").write_text("\n".join(sets) + "\n")
    with (folder / "truth.csv").open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([("tomogram", "star_row", "class"), *truth])


def write_images(path: Path, per_class: int, *, snr: float = 0.3, seed: int = 0) -> None:
    """Write noisy 32² projections of the complexes as an .npz of uint8 images x, labels y and class names."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for number, name in enumerate(COMPLEXES):
        volume = torch.from_numpy(density(name, 32, 10.0))
        for _ in range(per_class):
            projection = rotate(volume, Rotation.random(rng=rng).as_matrix()).sum(0).numpy()
            projection = (projection - projection.mean()) / projection.std()
            image = projection + rng.normal(0, np.sqrt(1 / snr), projection.shape)
            images.append(np.clip(128 + 32 * image, 0, 255).astype(np.uint8))
            labels.append(number)
    order = rng.permutation(len(images))
    np.savez_compressed(path, x=np.stack(images)[order], y=np.array(labels)[order], classes=np.array(list(COMPLEXES)))


def make_sample_data(folder: Path) -> None:
    """Make the sample data that ships with TomoTutor: two tomograms with picks and truth, and a small 2D set."""
    counts = {"shell": 22, "barrel": 34, "two_lobed": 40, "rod": 26, "junk": 28}
    tomograms = {f"tomo_{i}": simulate_tomogram((64, 224, 224), counts, seed=i) for i in (1, 2)}
    write_tomograms(folder, tomograms, 10.0)
    write_images(folder / "images.npz", 100)


if __name__ == "__main__":
    make_sample_data(Path(sys.argv[1]))
