"""A particle list of any format as one table, and the only place where coordinates change their frame.

Frames: positions count from the centre of voxel 0 ("corner": a position of 3 voxels lies on index 3) or from the
tomogram's centre, taken at size/2 as RELION's C++ code and copick do, in Å or in voxels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gemmi import cif

from tomotutor.base.errors import TomoTutorError

Column = np.ndarray | None  # a value for each particle, where there are any
Extra = dict[str, list[str]] | None  # further columns, by name
UNITS = ("angst", "voxel")
ORIGINS = ("centre", "corner")
_FAR = 1e8  # Å or voxels; no tomogram is that large, and an index beyond would not fit


@dataclass(frozen=True)
class TomogramEntry:
    """What is known of a tomogram; 0 and "" where unknown.

    Attributes
    ----------
    name, file : str
        Its name in particle lists; its reconstruction.
    voxel_size_angst, size_xyz : float, tuple of float
        Of the reconstruction.
    pixel_size_angst : float
        Of its tilt series.
    extent_angst_xyz : tuple of float
        Size in Å, where it is not `size_xyz` times `voxel_size_angst` (a tomogram set tells the size of the unbinned
        one).
    denoised : str
        A denoised reconstruction, to look at.
    tilt_series : str
        STAR file of its tilt series.
    """

    name: str = ""
    file: str = ""
    voxel_size_angst: float = 0.0
    size_xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pixel_size_angst: float = 0.0
    extent_angst_xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    denoised: str = ""
    tilt_series: str = ""

    def extent(self, voxel_size: float) -> np.ndarray | None:
        """Return the size in Å (in voxels for a voxel size of 1), x first; None where unknown."""
        if all(self.extent_angst_xyz):
            return np.array(self.extent_angst_xyz)
        return np.array(self.size_xyz) * voxel_size if all(self.size_xyz) else None


@dataclass(frozen=True)
class Reading:
    """What a reader may be told beside the file.

    Attributes
    ----------
    tomograms : dict of str to TomogramEntry
        The tomogram set, by name.
    coordinate_pixel_size : float
        What the list's pixels or voxels measure, Å; 0 unknown.
    centre : {"", "relion-napari"}
        What RELION's centred coordinates count from: size/2, or one tilt-series pixel less.
    document : cif.Document or None
        A STAR file that is parsed already.
    """

    tomograms: Mapping[str, TomogramEntry] = dataclasses.field(default_factory=dict)
    coordinate_pixel_size: float = 0.0
    centre: str = ""
    document: cif.Document | None = None


UNTOLD = Reading()


@dataclass(frozen=True)
class ParticleTable:
    """A particle list.

    Attributes
    ----------
    path : Path
        Where it was read.
    tomogram_N : ndarray of str
        Tomogram of each particle.
    xyz_N3 : ndarray of float64
        Positions with shifts applied, x first.
    unit, origin : {"angst", "voxel"}, {"centre", "corner"}
        Frame of `xyz_N3`.
    voxel_size_angst : float
        What one voxel of `xyz_N3` measures; 0: a voxel of the tomogram, whatever that is.
    angles_deg_N3 : ndarray or None
        Orientation as RELION's rot, tilt, psi (see `formats.euler`).
    class_N : ndarray of int or None
        Class numbers.
    class_names : tuple of str
        Class n is called class_names[n - 1], where the list tells.
    score_N : ndarray or None
        Score of each pick, as its program defines it.
    tilt_range_N2 : ndarray or None
        Lowest and highest tilt, degrees; NaN where unknown.
    other : tuple of str
        Columns of the file that this table does not carry.
    assumed : str
        What the reader took for granted about the coordinates, to be told when they do not fit.
    """

    path: Path
    tomogram_N: np.ndarray
    xyz_N3: np.ndarray
    unit: str = "angst"
    origin: str = "centre"
    voxel_size_angst: float = 0.0
    angles_deg_N3: np.ndarray | None = None
    class_N: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    score_N: np.ndarray | None = None
    tilt_range_N2: np.ndarray | None = None
    other: tuple[str, ...] = ()
    assumed: str = ""

    def __post_init__(self) -> None:
        assert self.unit in UNITS
        assert self.origin in ORIGINS
        if not len(self):
            raise TomoTutorError(f"{self.path}: the particle list is empty; expected at least one particle")
        far = ~(np.abs(self.xyz_N3).max(1) < _FAR)
        if far.any():
            row = int(np.flatnonzero(far)[0])
            x, y, z = self.xyz_N3[row]
            raise TomoTutorError(
                f"{self.path}: particle {row + 1} lies at {x:g}, {y:g}, {z:g}; expected finite numbers below {_FAR:g}"
            )
        for name, values in (("angle", self.angles_deg_N3), ("score", self.score_N)):
            if values is not None and not np.isfinite(values).all():
                row = int(
                    np.flatnonzero(~np.isfinite(values).reshape(len(self), -1).all(1))[0]
                )  # of angles: three a row
                raise TomoTutorError(
                    f"{self.path}: particle {row + 1}: its {name} is {values[row]}; expected finite numbers"
                )
        for tomogram in set(self.tomogram_N.tolist()):
            if not tomogram.strip() or not tomogram.isprintable() or len(tomogram) > 200:
                raise TomoTutorError(
                    f"{self.path}: found the tomogram name {tomogram[:200]!r}; expected up to 200 printable characters"
                )

    def __len__(self) -> int:
        return len(self.tomogram_N)

    @property
    def ids(self) -> tuple[str, ...]:
        """Item ids: `tomogram:row`, rows counted from 1."""
        return tuple(f"{name}:{row}" for row, name in enumerate(self.tomogram_N.tolist(), start=1))

    def replace(self, **changes: Any) -> ParticleTable:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def take(self, rows: np.ndarray) -> ParticleTable:
        """Return the table of some rows (from 0)."""
        arrays = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name.endswith(("_N", "_N2", "_N3"))
        }
        return self.replace(**{name: values[rows] for name, values in arrays.items() if values is not None})

    def groups(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each tomogram, in the order of its first particle, with the rows (from 0) of its particles."""
        number = {name: i for i, name in enumerate(dict.fromkeys(self.tomogram_N.tolist()))}
        number_N = np.fromiter((number[name] for name in self.tomogram_N.tolist()), np.int64, len(self))
        order = np.argsort(number_N, kind="stable")
        yield from zip(number, np.split(order, np.flatnonzero(np.diff(number_N[order])) + 1), strict=True)


def in_frame(table: ParticleTable, unit: str, origin: str, tomograms: Mapping[str, TomogramEntry]) -> ParticleTable:
    """Return the table with its positions in another frame; voxels are then those of each tomogram.

    With v the tomogram's voxel size and c half its size in Å: corner Å = centred Å + c = corner voxels · v.

    Raises
    ------
    TomoTutorError
        A size or voxel size that this takes is unknown, or tomograms have different voxel sizes.
    """
    if unit == table.unit == "angst" and origin == table.origin:
        return table
    xyz_N3 = np.empty_like(table.xyz_N3)
    voxel_sizes: dict[float, str] = {}
    for name, rows in table.groups():
        tomogram = tomograms.get(name, TomogramEntry())
        voxel = tomogram.voxel_size_angst or table.voxel_size_angst
        if not voxel and "angst" in (unit, table.unit):
            raise TomoTutorError(
                f"{table.path}: the voxel size of tomogram {name} is unknown, so Å and voxels cannot be converted; "
                "give --voxel-size, --tomograms (a tomogram set) or --tomogram-dir"
            )
        known = bool(voxel)
        voxel = voxel or 1.0  # all in voxels: no Å is needed
        step_in = 1.0 if table.unit == "angst" else table.voxel_size_angst or voxel
        step_out = 1.0 if unit == "angst" else voxel
        xyz = table.xyz_N3[rows] * (step_in / step_out)
        if origin != table.origin:
            extent = tomogram.extent(voxel)
            if extent is None:
                raise TomoTutorError(
                    f"{table.path}: the size of tomogram {name} is unknown, so coordinates from its centre and from "
                    "its corner "
                    "cannot be converted; give --tomograms (a tomogram set) or --tomogram-dir"
                )
            xyz = xyz + extent / 2 / step_out * (1 if origin == "corner" else -1)
        xyz_N3[rows] = xyz
        voxel_sizes[voxel if known and unit == "voxel" else 0.0] = name
    sizes = sorted(voxel_sizes)
    if sizes[-1] - sizes[0] > 1e-3 * sizes[-1]:
        raise TomoTutorError(
            f"{table.path}: its tomograms have different voxel sizes ({voxel_sizes[sizes[0]]}: {sizes[0]:.3f} Å, "
            f"{voxel_sizes[sizes[-1]]}: {sizes[-1]:.3f} Å); expected one: bring them to one with --rescale, "
            "or give the true one with --voxel-size"
        )
    return table.replace(xyz_N3=xyz_N3, unit=unit, origin=origin, voxel_size_angst=sizes[-1])


def tomogram_numbers(table: ParticleTable) -> dict[str, int]:
    """Return a number from 1 for each tomogram: its own where all names are plain numbers, else in their order."""
    names = list(dict.fromkeys(table.tomogram_N.tolist()))
    if all(name.isascii() and name.isdigit() and str(int(name)) == name and 0 < int(name) < 1 << 24 for name in names):
        return {name: int(name) for name in names}
    return {name: number for number, name in enumerate(names, start=1)}


def class_numbers(values: np.ndarray, path: Path, what: str) -> np.ndarray:
    """Return whole numbers as integers.

    Raises
    ------
    TomoTutorError
        One is not whole.
    """
    whole = np.isfinite(values) & (np.abs(values) < 1 << 31) & (values == np.round(values))
    if not whole.all():
        row = int(np.flatnonzero(~whole)[0])
        raise TomoTutorError(f"{path}: {what} of particle {row + 1} is {values[row]:g}; expected a whole number")
    return values.astype(np.int64)
