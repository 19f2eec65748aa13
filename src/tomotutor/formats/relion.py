"""RELION STAR files: particle lists and tomogram sets, read and written token for token through gemmi.

Coordinates: RELION 5's `rlnCenteredCoordinate{X,Y,Z}Angst` are Å from the tomogram's centre, which RELION's C++ code
takes at size/2 voxels; so do we.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gemmi import cif

from tomotutor.errors import TomoTutorError

_CENTRED = ("_rlnCenteredCoordinateXAngst", "_rlnCenteredCoordinateYAngst", "_rlnCenteredCoordinateZAngst")


@dataclass(frozen=True)
class ParticleList:
    """A RELION particle list.

    Attributes
    ----------
    path : Path
        Where it was read.
    tomogram_N : ndarray of str
        `rlnTomoName` of each row.
    xyz_angst_N3 : ndarray
        Centred coordinates, Å, x first.
    """

    path: Path
    tomogram_N: np.ndarray
    xyz_angst_N3: np.ndarray

    def __len__(self) -> int:
        return len(self.tomogram_N)

    @property
    def ids(self) -> tuple[str, ...]:
        """Item ids: `tomogram:star_row`, rows of data_particles counted from 1."""
        return tuple(f"{name}:{row}" for row, name in enumerate(self.tomogram_N.tolist(), start=1))


@dataclass(frozen=True)
class TomogramEntry:
    """One row of a tomogram set: `voxel_size_angst` and `size_xyz` (voxels) of the reconstruction, where given (else 0)."""

    name: str
    file: str
    voxel_size_angst: float
    size_xyz: tuple[float, float, float]


def read_star(path: Path) -> cif.Document:
    """Read a STAR file.

    Raises
    ------
    TomoTutorError
        Missing, unreadable, or with a block that has no name.
    """
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file")
    try:
        document = cif.read(str(path))
    except (ValueError, RuntimeError, OSError) as problem:
        where = re.sub(r"^.*?:(?=\d+:)", "line ", str(problem).splitlines()[0].replace(str(path), ""))
        raise TomoTutorError(f"{path}: not a STAR file that can be read ({where.strip()})") from None
    for block in document:
        if not block.name.strip():
            raise TomoTutorError(
                f"{path}: it has a block without a name ('data_'), which RELION does not read either; "
                "expected 'data_particles' (or 'data_global' in a tomogram set): name the block"
            )
    return document


def _block(document: cif.Document, path: Path, names: Sequence[str], column: str) -> cif.Block:
    """Return the block called one of `names`, or the only one that has `column`."""
    for name in names:
        block = document.find_block(name)
        if block is not None:
            return block
    having = [block for block in document if block.find_loop(column)]
    if len(having) == 1:
        return having[0]
    blocks = ", ".join(f"data_{b.name}" for b in document) or "no blocks"
    raise TomoTutorError(f"{path}: found {blocks}; expected a block data_{names[0]}")


def _column(block: cif.Block, path: Path, name: str) -> list[str]:
    column = block.find_loop(name)
    if not column:
        value = block.find_value(name)
        if value is not None:
            return [value]
        loops = [item.loop for item in block if item.loop]
        found = ", ".join(str(tag).removeprefix("_") for loop in loops for tag in loop.tags) or "no columns"
        raise TomoTutorError(f"{path}: block data_{block.name} lacks the column {name.removeprefix('_')}; it has {found}")
    return list(column)


def _numbers(tokens: list[str], path: Path, name: str) -> np.ndarray:
    try:
        values = np.array(tokens, dtype=np.float64)
    except ValueError:
        row = next(i for i, t in enumerate(tokens, start=1) if not _is_number(t))
        raise TomoTutorError(f"{path}: column {name.removeprefix('_')}, row {row}: found {tokens[row - 1]!r}; expected a number") from None
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
        raise TomoTutorError(f"{path}: column {name.removeprefix('_')}, row {row}: found {tokens[row - 1]!r}; expected a finite number")
    return values


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def read_particles(path: Path) -> ParticleList:
    """Read a RELION 5 particle list with centred coordinates.

    Raises
    ------
    TomoTutorError
        A column is missing or holds no numbers, or the list is empty.
    """
    document = read_star(path)
    block = _block(document, path, ("particles",), _CENTRED[0])
    if not block.find_loop(_CENTRED[0]) and block.find_loop("_rlnCoordinateX"):
        raise TomoTutorError(
            f"{path}: it has rlnCoordinateX/Y/Z (pixels of a tilt series whose pixel size it does not tell); expected RELION 5's "
            "rlnCenteredCoordinateXAngst/YAngst/ZAngst"
        )
    names = [cif.as_string(token) for token in _column(block, path, "_rlnTomoName")]
    if not names:
        raise TomoTutorError(f"{path}: the particle list is empty; expected at least one row in data_{block.name}")
    xyz = np.stack([_numbers(_column(block, path, column), path, column) for column in _CENTRED], axis=1)
    return ParticleList(path, np.array(names, dtype=object), xyz)


def holds_tilt_stacks(path: Path) -> bool:
    """Return whether a particle list's images are 2D stacks of RELION 5 or Warp: a projection for each tilt, no volume."""
    for block in read_star(path):
        if block.find_value("_rlnTomoSubTomosAre2DStacks") == "1" or "2" in list(block.find_loop("_rlnImageDimensionality")):
            return True
    return False


def read_tomograms(path: Path) -> dict[str, TomogramEntry]:
    """Read a RELION 5 tomogram set (tomograms.star) into entries by `rlnTomoName`."""
    document = read_star(path)
    block = _block(document, path, ("global",), "_rlnTomoReconstructedTomogram")
    names = [cif.as_string(t) for t in _column(block, path, "_rlnTomoName")]
    files = [cif.as_string(t) for t in _column(block, path, "_rlnTomoReconstructedTomogram")]

    def optional(column: str) -> np.ndarray:
        has = block.find_loop(column) or block.find_pair(column) is not None
        return _numbers(_column(block, path, column), path, column) if has else np.zeros(len(names))

    binning = optional("_rlnTomoTomogramBinning")
    voxel = optional("_rlnTomoTiltSeriesPixelSize") * binning
    size = np.stack([optional(f"_rlnTomoSize{axis}") for axis in "XYZ"], axis=1) / np.where(binning > 0, binning, 1)[:, None]
    return {
        name: TomogramEntry(name, file, float(v), (float(s[0]), float(s[1]), float(s[2])))
        for name, file, v, s in zip(names, files, voxel, size, strict=True)
    }


def read_column(path: Path, label: str) -> list[str] | None:
    """Return the tokens of a particle list's column (label with its underscore), None if it has none."""
    column = _block(read_star(path), path, ("particles",), _CENTRED[0]).find_loop(label)
    return list(column) if column else None


def write_particles(source: Path, target: Path, columns: dict[str, list[str]], rows: np.ndarray | None = None) -> None:
    """Write a particle list again with columns added or replaced; every other token stays as it was.

    Parameters
    ----------
    source : Path
        The list as it came.
    target : Path
        File to write.
    columns : dict of str to list of str
        Tokens by STAR label (with the underscore), one for each row of `source`.
    rows : ndarray, optional
        Rows (from 0) to keep, in their order; by default all.
    """
    document = read_star(source)
    block = _block(document, source, ("particles",), _CENTRED[0])
    loop = block.find_loop("_rlnTomoName").get_loop()
    tags = list(loop.tags)
    table = [list(block.find_loop(tag)) for tag in tags]
    for label, tokens in columns.items():
        if label in tags:
            table[tags.index(label)] = tokens
        else:
            tags.append(label)
            table.append(tokens)
    kept = range(len(table[0])) if rows is None else rows.tolist()
    tagged = list(loop.tags)
    missing = [label for label in tags if label not in tagged]
    if missing:
        loop.add_columns(missing, "0")
    loop.set_all_values([[column[row] for row in kept] for column in table])
    version = re.search(r"^# version \d+", source.read_text(errors="replace"), re.MULTILINE)
    # RELION takes the file's version from this comment, which gemmi drops
    target.write_text(f"{version[0] if version else '# version 50001'}\n\n{document.as_string()}")
