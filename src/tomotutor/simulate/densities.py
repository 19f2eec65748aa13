"""Densities of the complexes to simulate: from structures, maps, or idealised complexes of our own."""

from __future__ import annotations

import csv
import gzip
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import torch
from scipy.ndimage import map_coordinates

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.volumes.mrc import open_mrc
from tomotutor.simulate.complexes import COMPLEXES, complex_points
from tomotutor.simulate.fourier import low_pass, resample, squared_frequency
from tomotutor.simulate.points import Points, density_of_points
from tomotutor.simulate.structures import read_atoms, read_trace

log = logging.getLogger(__name__)

STRUCTURE_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
MAP_SUFFIXES = (".mrc", ".map", ".ccp4")
_LIST = "name,file[,assembly][,voxel_size][,kind]"
_KIND = re.compile(r"(?P<what>atoms|CA/P-trace|map[\d.]*A?)(?:@(?P<voxel>[\d.]+)A)?(?::(?P<assembly>\w+))?")
MASS_OUTSIDE = 0.02  # share of a complex that may lie outside the ball in its box


@dataclass(frozen=True)
class Structure:
    """Where a density comes from.

    Attributes
    ----------
    name : str
        Class name.
    path : Path, optional
        Structure or map; None for the idealised complex of that name.
    assembly : str
        Of a structure: see `read_atoms`.
    voxel_size_angst : float
        Of a map, over what its header says; 0 believes it.
    trace : bool
        Only Cα and P are there: see `read_trace`.
    """

    name: str
    path: Path | None = None
    assembly: str = ""
    voxel_size_angst: float = 0.0
    trace: bool = False

    def describe(self) -> dict[str, str]:
        """Return what a record needs to tell which file it was, without where it was."""
        if self.path is None:
            return {"name": self.name, "idealised": "complex of TomoTutor's own"}
        sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        told = {"name": self.name, "file": self.path.name, "assembly": self.assembly or "1 or asu", "sha256": sha256}
        return {**told, "kind": "trace"} if self.trace else told


@dataclass(frozen=True)
class Density:
    """A density to draw particles from.

    Attributes
    ----------
    name : str
        Class name.
    fine_DHW : ndarray
        (2 box, 2 box, 2 box) float32 [z, y, x] at half the voxel size, mean 1 over what is above half its maximum,
        centre of mass on voxel `box`.
    diameter_angst : float
        Twice the distance from the centre of mass to the farthest point.
    """

    name: str
    fine_DHW: np.ndarray
    diameter_angst: float

    @property
    def map_DHW(self) -> np.ndarray:
        """The density at the voxel size, (box, box, box), centre of mass on voxel box // 2."""
        return self.fine_DHW[::2, ::2, ::2]


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _from_list(path: Path) -> list[Structure]:
    """Read a CSV list, its columns as `_LIST` says; files are relative to the list.

    Where there is a column id, it names the classes. A kind is "atoms", "CA/P-trace" or "map", a map's resolution and
    voxel size may follow ("map10A@5A"), and after a colon what the file holds of it ("bio1" for an assembly that is
    written out, "asu"): coordinates are then taken as they are.
    """
    found = []
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        columns = reader.fieldnames or ()
        if not {"name", "file"} <= set(columns):
            raise TomoTutorError(f"{path}: found the columns {', '.join(columns) or 'none'}; expected {_LIST}")
        for line, row in enumerate(reader, start=2):
            name, file, kind = (
                (row.get(key) or "").strip() for key in ("id" if "id" in columns else "name", "file", "kind")
            )
            if not name or not file:
                raise TomoTutorError(f"{path}: row {line} is incomplete; expected name,file")
            match = _KIND.fullmatch(kind or "atoms")
            if match is None:
                raise TomoTutorError(
                    f"{path}: row {line}: the kind is {kind!r}; expected atoms, CA/P-trace or map10A@5A"
                )
            try:
                voxel = float(row.get("voxel_size") or match["voxel"] or 0)
            except ValueError:
                given = row.get("voxel_size") or match["voxel"]
                raise TomoTutorError(f"{path}: row {line}: voxel_size is {given!r}; expected Å") from None
            assembly = (row.get("assembly") or "").strip() or ("asu" if match["assembly"] else "")
            found.append(Structure(name, path.parent / file, assembly, voxel, match["what"] == "CA/P-trace"))
    return found


def find_structures(names: Sequence[str], assembly: str = "") -> list[Structure]:
    """Find what is to be simulated.

    Parameters
    ----------
    names : sequence of str
        Folders (every structure and map in them), structures, maps, lists (CSV: name,file[,assembly][,voxel_size]
        [,kind]), or names of `COMPLEXES`; none for all of these. A class is called as its file, up to the first dot.
    assembly : str
        Of structures that no list gives one for.

    Raises
    ------
    TomoTutorError
        Nothing there, not of a kind that is read, or two classes of one name.
    """
    found: list[Structure] = []
    for name in names or COMPLEXES:
        path = Path(name)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if _suffix(p) in STRUCTURE_SUFFIXES + MAP_SUFFIXES)
            if not files:
                raise TomoTutorError(
                    f"{path}: found no structure or map; expected {', '.join(STRUCTURE_SUFFIXES + MAP_SUFFIXES)} (or "
                    ".gz)"
                )
            found += [Structure(p.name.split(".")[0], p, assembly) for p in files]
        elif path.is_file() and _suffix(path) == ".csv":
            found += [s if s.assembly else replace(s, assembly=assembly) for s in _from_list(path)]
        elif path.is_file():
            found.append(Structure(path.name.split(".")[0], path, assembly))
        elif name in COMPLEXES:
            found.append(Structure(name))
        else:
            raise TomoTutorError(
                f"{name}: no such file or folder, and none of the idealised complexes {', '.join(COMPLEXES)}"
            )
    seen: set[str] = set()
    for structure in found:
        if structure.name in seen or structure.name == "junk":
            raise TomoTutorError(
                f"{structure.path}: a second class would be called {structure.name!r}; rename the file, or name the "
                "classes in a CSV list"
            )
        seen.add(structure.name)
    return found


def _check_fit(
    structure: Structure, radius_N: np.ndarray, mass_N: np.ndarray, box: int, voxel_size_angst: float
) -> float:
    """Return the diameter; refuse a complex of which too much lies outside the ball in its box."""
    diameter = 2 * float(radius_N.max())
    outside = float(mass_N[radius_N > box * voxel_size_angst / 2].sum() / mass_N.sum())
    where = structure.path or structure.name
    if outside > MASS_OUTSIDE:
        needed = 2 * int(np.ceil(diameter / voxel_size_angst / 2))
        raise TomoTutorError(
            f"{where}: its diameter of {diameter:.0f} Å does not fit a box of {box} voxels of {voxel_size_angst:g} Å "
            f"({100 * outside:.0f} % of it would lie outside); take a box of {needed}, or larger voxels"
        )
    if outside > 0.001:
        log.warning(
            "%s: %.1f %% of it lies more than half a box from its centre (diameter %.0f Å)",
            where,
            100 * outside,
            diameter,
        )
    return diameter


def _scaled(fine: np.ndarray) -> np.ndarray:
    """Scale a density to a mean of 1 in its inside, so that maps of any unit and structures go together."""
    return fine / fine[fine > 0.5 * fine.max()].mean()


def _from_points(
    structure: Structure, groups: list[Points], box: int, voxel_size_angst: float, resolution_angst: float
) -> Density:
    xyz_N3 = np.concatenate([g.xyz_angst_N3 for g in groups])
    mass_N = np.concatenate([g.mass_N for g in groups])
    centre = (xyz_N3 * mass_N[:, None]).sum(0) / mass_N.sum()
    diameter = _check_fit(structure, np.linalg.norm(xyz_N3 - centre, axis=1), mass_N, box, voxel_size_angst)
    moved = [Points(g.xyz_angst_N3 - centre, g.weight_N, g.form_factor) for g in groups]
    fine = density_of_points(moved, 2 * box, voxel_size_angst / 2, resolution_angst, voxel_size_angst)
    return Density(structure.name, _scaled(fine), diameter)


def read_map(path: Path) -> tuple[np.ndarray, float]:
    """Read a density map (.mrc, .map, .ccp4, or .gz); return (z, y, x) float32 and its voxel size, Å (0 where the
    header has none).
    """
    if path.suffix != ".gz":
        mrc = open_mrc(path)
        data, voxel = np.asarray(mrc.data), mrc.voxel_size_angst
    else:
        try:
            with mrcfile.open(path) as opened:
                data, voxel = np.array(opened.data), float(opened.voxel_size.x)
        except (ValueError, OSError, EOFError, gzip.BadGzipFile) as problem:
            reason = (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")
            raise TomoTutorError(
                f"{path}: not a readable map ({reason}); expected an MRC file, compressed by gzip"
            ) from None
    if data.ndim != 3 or not np.isfinite(data).all():
        found = "voxels that are NaN or infinite" if data.ndim == 3 else f"{data.ndim} dimensions"
        raise TomoTutorError(f"{path}: found {found}; expected one map of finite voxels")
    return data.astype(np.float32), voxel


def _from_map(structure: Structure, box: int, voxel_size_angst: float, resolution_angst: float) -> Density:
    assert structure.path is not None
    data, stated = read_map(structure.path)
    own = structure.voxel_size_angst or stated
    if own <= 0:
        raise TomoTutorError(
            f"{structure.path}: its header does not tell the voxel size; name it in a CSV list (name,file,voxel_size)"
        )
    faces = np.concatenate(
        [data[i].ravel() for i in (0, -1)]
        + [data[:, i].ravel() for i in (0, -1)]
        + [data[:, :, i].ravel() for i in (0, -1)]
    )
    data = data - np.median(faces)
    if data.max() <= 0:
        raise TomoTutorError(
            f"{structure.path}: found nothing brighter than its border; expected a map with bright density"
        )
    solid = np.where(data > 0.1 * data.max(), data, 0)
    zyx_N3 = np.argwhere(solid > 0)
    mass_N = solid[solid > 0]
    centre = (zyx_N3 * mass_N[:, None]).sum(0) / mass_N.sum()
    diameter = _check_fit(structure, np.linalg.norm(zyx_N3 - centre, axis=1) * own, mass_N, box, voxel_size_angst)
    # an even cube, filtered, and fine enough that interpolating it blurs little
    edge = max(data.shape) + max(data.shape) % 2
    cube = np.zeros((edge,) * 3, np.float32)
    cube[tuple(slice(s) for s in data.shape)] = data
    k2 = squared_frequency(cube.shape, own).numpy()
    cube = np.fft.irfftn(
        np.fft.rfftn(cube) * low_pass(k2, resolution_angst, voxel_size_angst), s=cube.shape, axes=(0, 1, 2)
    )
    finer = int(np.ceil(own / (voxel_size_angst / 2) - 1e-3))
    if finer > 1:
        cube = resample(cube, edge * finer)
        own, centre = own / finer, edge * finer // 2 + (centre - edge // 2) * finer
    axis = (np.arange(2 * box) - box) * (voxel_size_angst / 2 / own)
    points = np.stack(np.meshgrid(*(axis + c for c in centre), indexing="ij"))
    fine = map_coordinates(cube, points, order=3, mode="constant").astype(np.float32)
    return Density(structure.name, _scaled(fine), diameter)


def make_density(structure: Structure, box: int, voxel_size_angst: float, resolution_angst: float = 0.0) -> Density:
    """Make the density of a structure, a map or an idealised complex.

    Parameters
    ----------
    structure : Structure
        What to make it of.
    box : int
        Even edge, voxels.
    voxel_size_angst : float
        Voxel size.
    resolution_angst : float
        See `low_pass`; 0 takes two voxels.

    Raises
    ------
    TomoTutorError
        The file cannot be read, or the complex is too large for the box: the message names its diameter.
    """
    resolution_angst = resolution_angst or 2 * voxel_size_angst
    if structure.path is None:
        return _from_points(structure, complex_points(structure.name), box, voxel_size_angst, resolution_angst)
    suffix = _suffix(structure.path)
    if suffix in MAP_SUFFIXES:
        return _from_map(structure, box, voxel_size_angst, resolution_angst)
    if suffix in STRUCTURE_SUFFIXES:
        read = read_trace if structure.trace else read_atoms
        points = read(structure.path, structure.assembly)
        return _from_points(structure, points, box, voxel_size_angst, resolution_angst)
    kinds = ", ".join(STRUCTURE_SUFFIXES + MAP_SUFFIXES)
    raise TomoTutorError(
        f"{structure.path}: files of the kind {suffix or 'without a suffix'} are not read; expected {kinds} (or .gz)"
    )


def stack_densities(densities: Sequence[Density], device: str = "cpu") -> torch.Tensor:
    """Return (classes, 2 box, 2 box, 2 box) on the device."""
    return torch.from_numpy(np.stack([d.fine_DHW for d in densities])).to(device)
