"""Dynamo tables (.tbl) with their table map (.doc), which names the tomograms.

Columns counted from 1: 1 tag, 4-6 shifts, 7-9 tdrot, tilt, narot, 10 cc, 14-15 lowest and highest tilt, 20 tomogram, 22
class, 24-26 x, y, z, all in voxels of the tomogram. Position = (x, y, z) + shifts, voxel i being at i (as dynamo2m
converts them, without a 1 for MATLAB's first index). Numbers are written to 1e-6.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError, shown, unreadable
from tomotutor.base.files import new_file
from tomotutor.formats.particles.euler import dynamo_from_relion, relion_from_dynamo
from tomotutor.formats.particles.table import (
    UNTOLD,
    Column,
    Extra,
    ParticleTable,
    Reading,
    class_numbers,
    tomogram_numbers,
)

_USED = {
    3: "dx",
    4: "dy",
    5: "dz",
    6: "tdrot",
    7: "tilt",
    8: "narot",
    9: "cc",
    13: "ymintilt",
    14: "ymaxtilt",
    19: "tomo",
    21: "class",
    23: "x",
    24: "y",
    25: "z",
}
_CLASS = 21
_COLUMNS = 35
_VOLUMES = re.compile(r"\.(mrc|rec|em|hdf|h5|hdf5|map|st|zarr)$", re.IGNORECASE)


def read_dynamo(path: Path, reading: Reading = UNTOLD) -> ParticleTable:
    """Read a table; tomograms are called as in the table map (file name without its ending), else by their numbers.

    Raises
    ------
    TomoTutorError
        No text, fewer than 26 columns, no numbers, or a tomogram that the map lacks.
    """
    lines = _lines(path)
    widths = {len(line.split()) for line in lines}
    if not lines or min(widths) < 26 or len(widths) > 1:
        found = f"rows of {', '.join(map(str, sorted(widths)))} columns" if lines else "no rows"
        raise TomoTutorError(
            f"{path}: found {found}; expected a Dynamo table, with 26 columns or more, as many in every row"
        )
    try:
        v = np.loadtxt(lines, np.float64, usecols=sorted(_USED), ndmin=2, comments=None)
    except ValueError as problem:
        raise TomoTutorError(f"{path}: not a Dynamo table ({shown(str(problem)).rstrip('.')})") from None
    column = dict(zip(sorted(_USED), v.T, strict=True))
    number_N = class_numbers(column[19], path, "column 20 (tomogram)")
    tilts = np.stack([column[13], column[14]], axis=1)
    known = np.isfinite(tilts).all(1) & (tilts[:, 0] < tilts[:, 1]) & (np.abs(tilts) <= 90).all(1)
    return ParticleTable(
        path,
        named(number_N, path),
        np.stack([column[23] + column[3], column[24] + column[4], column[25] + column[5]], axis=1),
        "voxel",
        "corner",
        reading.coordinate_pixel_size,
        angles_deg_N3=relion_from_dynamo(np.stack([column[6], column[7], column[8]], axis=1)),
        class_N=class_numbers(column[_CLASS], path, "column 22 (class)") if column[_CLASS].any() else None,
        score_N=column[9] if column[9].any() else None,
        tilt_range_N2=np.where(known[:, None], tilts, np.nan) if known.any() else None,
        other=("columns 1-3, 11-13, 16-19, 21, 23 and from 27 of the table",),
    )


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as problem:
        raise unreadable(path, problem, "the text of a Dynamo table") from None


def map_of(path: Path) -> Path | None:
    """Return the table map that belongs to a list: its name with .doc, else the catalogue's own beside it."""
    return next((p for p in (path.with_suffix(".doc"), path.with_name("indices_column20.doc")) if p.is_file()), None)


def read_map(path: Path) -> dict[int, str]:
    """Read a table map: a number and a tomogram's file on each line.

    Raises
    ------
    TomoTutorError
        Another kind of line, or two tomograms of one name.
    """
    names: dict[int, str] = {}
    for line in _lines(path):
        number, file = (*line.split(None, 1), "")[:2]
        name = _VOLUMES.sub("", re.split(r"[/\\]", file.strip())[-1])
        if not (number.isascii() and number.isdigit() and len(number) < 10) or not name:
            raise TomoTutorError(
                f"{path}: found the line {line.strip()[:80]!r}; expected the number of a tomogram and its file"
            )
        names[int(number)] = name
    if len(set(names.values())) < len(names):
        raise TomoTutorError(f"{path}: two of its tomograms have files of one name; expected another name for each")
    return names


def named(number_N: np.ndarray, path: Path) -> np.ndarray:
    """Return tomogram names by the table map beside `path`; the numbers where there is none."""
    file = map_of(path)
    numbers = set(number_N.tolist())
    if file is None:
        names = {number: str(number) for number in numbers}
    else:
        names = read_map(file)
        missing = sorted(numbers - set(names))
        if missing:
            raise TomoTutorError(
                f"{path}: its tomogram {missing[0]} is not in {file}, which has {', '.join(map(str, list(names)[:5]))}"
            )
    return np.array([names[number] for number in number_N.tolist()], dtype=object)


def checked_numbers(table: ParticleTable, path: Path) -> dict[str, int]:
    """Return a number for each tomogram name.

    Raises
    ------
    TomoTutorError
        A name could not stand in a table map.
    """
    numbers = tomogram_numbers(table)
    for name in numbers:
        if re.search(r"[/\\]", name) or name.split() != [name]:
            raise TomoTutorError(
                f"{path}: the tomogram name {name!r} cannot stand in a table map; expected a plain file name"
            )
    return numbers


def write_map(numbers: dict[str, int], path: Path) -> None:
    """Write the table map beside the list `path`."""
    with new_file(path.with_suffix(".doc")) as partial:
        partial.write_text("".join(f"{number} {name}.mrc\n" for name, number in numbers.items()), encoding="utf-8")


def write_dynamo(table: ParticleTable, path: Path) -> None:
    """Write a table of 35 columns and its map. `table` must be in corner voxels."""
    rows, numbers = len(table), checked_numbers(table, path)
    with new_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as handle:
        columns: list[list] = [[0] * rows for _ in range(_COLUMNS)]
        form = ["%d"] * _COLUMNS
        columns[0], columns[1], columns[2] = list(range(1, rows + 1)), [1] * rows, [1] * rows
        angles = np.zeros((rows, 3)) if table.angles_deg_N3 is None else dynamo_from_relion(table.angles_deg_N3)
        for first, values in ((6, angles), (23, table.xyz_N3)):
            for i in range(3):
                columns[first + i], form[first + i] = values[:, i].tolist(), "%.6f"
        if table.score_N is not None:
            columns[9], form[9] = table.score_N.tolist(), "%.8g"
        if table.tilt_range_N2 is not None:
            known = np.isfinite(table.tilt_range_N2).all(1)
            columns[12] = known.astype(int).tolist()
            for i in range(2):
                columns[13 + i], form[13 + i] = np.where(known, table.tilt_range_N2[:, i], 0).tolist(), "%.8g"
        columns[19] = [numbers[name] for name in table.tomogram_N.tolist()]
        if table.class_N is not None:
            columns[_CLASS] = table.class_N.tolist()
        row = " ".join(form) + "\n"
        handle.writelines(row % values for values in zip(*columns, strict=True))
    write_map(numbers, path)


def rewrite_dynamo(
    source: Path, target: Path, class_N: Column = None, rows: Column = None, extra: Extra = None
) -> None:
    """Write a table again, token for token, with its class numbers; the map goes with it. Further columns have no place
    in it.
    """
    table = [line.split() for line in _lines(source)]
    if class_N is not None:
        for tokens, number in zip(table, class_N.tolist(), strict=True):
            tokens[_CLASS] = str(number)
    kept = range(len(table)) if rows is None else rows.tolist()
    with new_file(target) as partial:
        partial.write_text("".join(" ".join(table[row]) + "\n" for row in kept), encoding="utf-8")
    copy_map(source, target)


def copy_map(source: Path, target: Path) -> None:
    """Put the table map of one list beside another, where there is one."""
    found = map_of(source)
    if found is not None and found != target.with_suffix(".doc"):
        with new_file(target.with_suffix(".doc")) as partial:
            partial.write_bytes(found.read_bytes())
