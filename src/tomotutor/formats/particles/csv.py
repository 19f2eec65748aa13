"""Particle lists as CSV, with a header line.

Columns: x,y,z in voxels of the tomogram (voxel i being at i) or x_angst,y_angst,z_angst in Å from the centre of voxel
0, or x_centred_angst,... (and x_centred,...) from the tomogram's centre; tomogram (else the file's own name); optional
rot,tilt,psi as RELION has them, class (whole number), class_name, score, tilt_min,tilt_max in degrees, and
pixel_size_angst: what one voxel of x,y,z measures. Any other column is kept when the list is written again. Comma,
semicolon or tab.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError, shown, unreadable
from tomotutor.base.files import new_file
from tomotutor.formats.label_csv import guarded, unguarded
from tomotutor.formats.particles.table import UNTOLD, Column, Extra, ParticleTable, Reading, class_numbers

_FRAMES = {
    "": ("voxel", "corner"),
    "_angst": ("angst", "corner"),
    "_centred_angst": ("angst", "centre"),
    "_centred": ("voxel", "centre"),
}
_ANGLES = ("rot", "tilt", "psi")
_TILTS = ("tilt_min", "tilt_max")


def _load(path: Path) -> tuple[list[str], list[list[str]], str]:
    """Return the header, the rows and the delimiter."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        table = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise unreadable(path, problem, "a CSV file") from None
    header = [name.strip() for name in table[0]] if table else []
    if len(set(header)) < len(header):
        raise TomoTutorError(
            f"{path}: two of its columns have one name ({shown(', '.join(header))}); expected each once"
        )
    for line, row in enumerate(table[1:], start=2):
        if len(row) != len(header):
            raise TomoTutorError(f"{path}: row {line} has {len(row)} cells, the header {len(header)}; expected as many")
    return header, table[1:], delimiter


def read_csv(path: Path, reading: Reading = UNTOLD) -> ParticleTable:
    """Read a list.

    Raises
    ------
    TomoTutorError
        No text, without coordinates, or with a cell that is no number.
    """
    header, table, _ = _load(path)
    cells = dict(zip(header, zip(*table, strict=True), strict=True)) if table else {}
    ending = next((e for e in _FRAMES if {f"{axis}{e}" for axis in "xyz"} <= set(header)), None)
    if ending is None:
        raise TomoTutorError(
            f"{path}: found the columns {shown(', '.join(header)) or 'none'}; expected x,y,z (voxels) or "
            "x_angst,y_angst,z_angst"
        )
    if not table:
        raise TomoTutorError(f"{path}: the particle list is empty; expected at least one row below the header")

    def numbers(*names: str) -> np.ndarray | None:
        if not set(names) <= set(header):
            return None
        columns = []
        for name in names:
            try:
                columns.append(np.array([cell.strip() for cell in cells[name]], dtype=np.float64))
            except ValueError:
                line = next(i for i, cell in enumerate(cells[name], start=2) if not _is_number(cell))
                raise TomoTutorError(
                    f"{path}: row {line}, column {name}: found {cells[name][line - 2]!r}; expected a number"
                ) from None
        return np.stack(columns, axis=1)

    xyz_N3, score_N1, pixel_N1 = (
        numbers(*(f"{axis}{ending}" for axis in "xyz")),
        numbers("score"),
        numbers("pixel_size_angst"),
    )
    assert xyz_N3 is not None
    class_N, class_names = _classes(path, cells.get("class"), cells.get("class_name"))
    pixel = (
        float(pixel_N1[0, 0]) if pixel_N1 is not None and np.ptp(pixel_N1) == 0 and 0 < pixel_N1[0, 0] < 1e4 else 0.0
    )
    unit, origin = _FRAMES[ending]
    used = {f"{axis}{ending}" for axis in "xyz"} | {"tomogram", "score", "pixel_size_angst"}
    used |= {"class", "class_name"} if class_N is not None else set()
    used |= set(_ANGLES) if set(_ANGLES) <= set(header) else set()
    used |= set(_TILTS) if set(_TILTS) <= set(header) else set()
    tomograms = [name.strip() for name in cells["tomogram"]] if "tomogram" in header else [path.stem] * len(table)
    tilts = numbers(*_TILTS)
    return ParticleTable(
        path,
        np.array(tomograms, dtype=object),
        xyz_N3,
        unit,
        origin,
        reading.coordinate_pixel_size or pixel,
        angles_deg_N3=numbers(*_ANGLES),
        class_N=class_N,
        class_names=class_names,
        score_N=None if score_N1 is None else score_N1[:, 0],
        tilt_range_N2=tilts,
        other=tuple(n for n in header if n not in used),
    )


def _classes(
    path: Path, cells: tuple[str, ...] | None, titles: tuple[str, ...] | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return class numbers and the names of classes 1, 2, ...; a column of names is numbered in alphabetical order."""
    if cells is None:
        return None, ()
    if not all(map(_is_number, cells)):
        found = [unguarded(cell.strip()) for cell in cells]
        names = sorted(set(found))
        number = {name: n for n, name in enumerate(names, start=1)}
        return np.array([number[name] for name in found]), tuple(names)
    class_N = class_numbers(np.array([cell.strip() for cell in cells], np.float64), path, "column class")
    of = dict(zip(class_N.tolist(), map(unguarded, titles or [""] * len(cells)), strict=True))
    return class_N, tuple(of[n] for n in sorted(of)) if all(of.values()) and sorted(of) == list(
        range(1, len(of) + 1)
    ) else ()


def _is_number(cell: str) -> bool:
    try:
        np.array([cell.strip()], dtype=np.float64)
    except ValueError:
        return False
    return True


def write_csv(table: ParticleTable, path: Path) -> None:
    """Write a list in the frame it is in."""
    ending = next(e for e, frame in _FRAMES.items() if frame == (table.unit, table.origin))
    columns: dict[str, list[str]] = {"tomogram": table.tomogram_N.tolist()}
    groups = [
        ([f"{axis}{ending}" for axis in "xyz"], table.xyz_N3),
        (_ANGLES, table.angles_deg_N3),
        (_TILTS, table.tilt_range_N2),
    ]
    for names, values in groups:
        if values is not None:
            columns |= {name: [f"{v:.6f}" for v in values[:, i].tolist()] for i, name in enumerate(names)}
    if table.class_N is not None:
        columns["class"] = [str(c) for c in table.class_N.tolist()]
        if table.class_names:
            columns["class_name"] = [
                guarded(table.class_names[c - 1]) if 0 < c <= len(table.class_names) else ""
                for c in table.class_N.tolist()
            ]
    if table.score_N is not None:
        columns["score"] = [f"{v:.8g}" for v in table.score_N.tolist()]
    if table.unit == "voxel" and table.voxel_size_angst:
        columns["pixel_size_angst"] = [f"{table.voxel_size_angst:.6f}"] * len(table)
    _store(path, list(columns), zip(*columns.values(), strict=True), ",")


def rewrite_csv(source: Path, target: Path, class_N: Column = None, rows: Column = None, extra: Extra = None) -> None:
    """Write a list again with its class numbers and further columns; every other cell stays as it was."""
    header, table, delimiter = _load(source)
    columns = ({} if class_N is None else {"class": [str(c) for c in class_N.tolist()]}) | (extra or {})
    for name, cells in columns.items():
        if name in header:
            for row, cell in zip(table, cells, strict=True):
                row[header.index(name)] = cell
        else:
            header.append(name)
            for row, cell in zip(table, cells, strict=True):
                row.append(cell)
    kept = range(len(table)) if rows is None else rows.tolist()
    _store(target, header, (table[row] for row in kept), delimiter)


def _store(path: Path, header: list[str], rows: Iterable[Iterable[object]], delimiter: str) -> None:
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n", delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
