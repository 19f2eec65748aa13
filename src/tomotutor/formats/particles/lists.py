"""The formats of particle lists: one dict, and reading, writing and writing again by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.particles.copick import picks_in, read_copick, rewrite_copick, write_copick
from tomotutor.formats.particles.csv import read_csv, rewrite_csv, write_csv
from tomotutor.formats.particles.dynamo import map_of, read_dynamo, rewrite_dynamo, write_dynamo
from tomotutor.formats.particles.em import read_em, rewrite_em, write_em
from tomotutor.formats.particles.imod import models_in, read_imod, rewrite_imod, write_imod
from tomotutor.formats.particles.relion import read_relion, rewrite_relion, write_relion, write_relion4
from tomotutor.formats.particles.table import UNTOLD, Column, Extra, ParticleTable, Reading, TomogramEntry, in_frame


@dataclass(frozen=True)
class ListFormat:
    """A format of particle lists.

    Attributes
    ----------
    summary : str
        What it is.
    endings : tuple of str
        Endings of its files; "" for a folder.
    frame : tuple of str or None
        Unit and origin of what it holds; None: any.
    holds : frozenset of str
        Which of orientation, class, score and tilt range it holds beside tomogram and position.
    read, write, rewrite : callable
        Read a table, write one that is in its frame, write a list again with classes.
    """

    summary: str
    endings: tuple[str, ...]
    frame: tuple[str, str] | None
    holds: frozenset[str]
    read: Callable[[Path, Reading], ParticleTable]
    write: Callable[[ParticleTable, Path], None]
    rewrite: Callable[..., None]


_ALL = frozenset({"orientation", "class", "score", "tilt range"})
_VOXELS = ("voxel", "corner")

LISTS: dict[str, ListFormat] = {
    "relion": ListFormat(
        "RELION 5 STAR",
        (".star",),
        ("angst", "centre"),
        _ALL - {"tilt range"},
        read_relion,
        write_relion,
        rewrite_relion,
    ),
    "relion4": ListFormat(
        "RELION 4 STAR", (), _VOXELS, _ALL - {"tilt range"}, read_relion, write_relion4, rewrite_relion
    ),
    "dynamo": ListFormat(
        "Dynamo table with its map", (".tbl",), _VOXELS, _ALL, read_dynamo, write_dynamo, rewrite_dynamo
    ),
    "em": ListFormat("EM motive list", (".em",), _VOXELS, _ALL - {"tilt range"}, read_em, write_em, rewrite_em),
    "imod": ListFormat(
        "IMOD model, or a folder of them",
        (".mod", ""),
        _VOXELS,
        frozenset({"class"}),
        read_imod,
        write_imod,
        rewrite_imod,
    ),
    "csv": ListFormat("CSV", (".csv", ".tsv", ".txt"), None, _ALL, read_csv, write_csv, rewrite_csv),
    "copick": ListFormat(
        "copick project",
        (".json", ""),
        ("angst", "corner"),
        _ALL - {"tilt range"},
        read_copick,
        write_copick,
        rewrite_copick,
    ),
}
_CLASS_NAMES = ("imod", "copick")  # these write class names too


def format_of(path: Path) -> str:
    """Return the format of an existing list: by its ending, of a folder by what is in it.

    Raises
    ------
    TomoTutorError
        It is none that is known.
    """
    if not path.exists():
        raise TomoTutorError(f"{path}: no such file")
    if path.is_dir():
        for name, files in (("copick", picks_in(path)), ("imod", models_in(path))):
            if files:
                return name
        raise TomoTutorError(
            f"{path}: found no particle list in this folder; expected IMOD models (*.mod) or ExperimentRuns of a "
            "copick project"
        )
    return format_for(path)


def format_for(path: Path) -> str:
    """Return the format that a file's ending stands for."""
    for name, kind in LISTS.items():
        if path.suffix and path.suffix.lower() in kind.endings:
            return name
    known = ", ".join(ending for kind in LISTS.values() for ending in kind.endings if ending)
    raise TomoTutorError(f"{path}: found the ending {path.suffix or '(none)'}; expected a particle list ({known})")


def files_of(path: Path) -> list[Path]:
    """Return all files that a list consists of."""
    kind = format_of(path)
    if path.is_dir():
        return picks_in(path) if kind == "copick" else models_in(path)
    beside = map_of(path) if kind in ("dynamo", "em") else None
    return [path] if beside is None else [path, beside]


def read_list(path: Path, reading: Reading = UNTOLD) -> ParticleTable:
    """Read a particle list of any format.

    Raises
    ------
    TomoTutorError
        Unknown, damaged, empty, or in a frame that cannot be understood without being told more.
    """
    kind = format_of(path)
    if reading.centre and kind != "relion":
        raise TomoTutorError(
            f"{path}: --centre {reading.centre} is about RELION's coordinates from the centre; {kind} has none"
        )
    with np.errstate(all="ignore"):  # what is not finite is refused with its row
        return LISTS[kind].read(path, reading)


def write_list(
    table: ParticleTable, path: Path, kind: str, tomograms: Mapping[str, TomogramEntry], pixel_size: float = 0.0
) -> list[str]:
    """Write a table in some format, converted to its frame.

    Parameters
    ----------
    table : ParticleTable
        What to write.
    path : Path
        File, or folder (of models for IMOD, a project for copick).
    kind : str
        A key of `LISTS`.
    tomograms : dict of str to TomogramEntry
        Sizes and voxel sizes, as far as they are known.
    pixel_size : float
        What the pixels of a RELION 4 list measure, Å; 0: the tilt series', as `tomograms` have it.

    Returns
    -------
    list of str
        What the format has no place for.
    """
    target = LISTS[kind]
    if kind == "relion4":
        table = in_frame(table, "angst", "corner", tomograms)
        names = set(table.tomogram_N.tolist())
        tomograms = {
            n: TomogramEntry(n, voxel_size_angst=pixel_size or tomograms.get(n, TomogramEntry()).pixel_size_angst)
            for n in names
        }
        if not all(t.voxel_size_angst for t in tomograms.values()):
            raise TomoTutorError(
                f"{path}: RELION 4 counts pixels of the tilt series, whose size is unknown; give "
                "--tilt-series-pixel-size or --tomograms"
            )
    if target.frame is not None:
        table = in_frame(table, *target.frame, tomograms)
    target.write(table, path)
    have = {
        "orientation": table.angles_deg_N3,
        "class": table.class_N,
        "score": table.score_N,
        "tilt range": table.tilt_range_N2,
    }
    return [name for name, values in have.items() if values is not None and name not in target.holds] + list(
        table.other
    )


def rewrite_list(
    source: Path,
    target: Path,
    class_N: Column = None,
    class_names: tuple[str, ...] = (),
    *,
    rows: Column = None,
    extra: Extra = None,
) -> None:
    """Write a list again in its own format, nothing changed but its classes (where given).

    `extra` columns go where the format has a place for them.
    """
    kind = format_of(source)
    names = {"class_names": class_names} if kind in _CLASS_NAMES else {}
    LISTS[kind].rewrite(source, target, class_N, rows=rows, extra=extra, **names)
