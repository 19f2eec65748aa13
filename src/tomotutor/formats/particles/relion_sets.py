"""RELION's tomogram and optimisation sets, and particle lists written again token for token."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from gemmi import cif

from tomotutor.base.errors import TomoTutorError, shown
from tomotutor.formats.particles.table import TomogramEntry
from tomotutor.formats.star import find_block, has_column, numbers_of, read_star, texts_of

CENTRED = tuple(f"_rlnCenteredCoordinate{axis}Angst" for axis in "XYZ")
PIXELS = tuple(f"_rlnCoordinate{axis}" for axis in "XYZ")


def particle_block(document: cif.Document, path: Path) -> cif.Block:
    """Return the block of a particle list."""
    return find_block(document, path, ("particles",), (CENTRED[0], PIXELS[0]))


def holds_tilt_stacks(document: cif.Document) -> bool:
    """Return whether a particle list's images are 2D stacks of RELION 5 or Warp: a projection for each
    tilt, no volume.
    """
    for block in document:
        if block.find_value("_rlnTomoSubTomosAre2DStacks") == "1" or "2" in list(
            block.find_loop("_rlnImageDimensionality")
        ):
            return True
    return False


def read_tomograms(path: Path) -> dict[str, TomogramEntry]:
    """Read a tomogram set (tomograms.star) of RELION 4 or 5 into entries by `rlnTomoName`.

    Raises
    ------
    TomoTutorError
        It has no names, or a column holds no numbers.
    """
    document = read_star(path)
    block = find_block(document, path, ("global",), ("_rlnTomoReconstructedTomogram", "_rlnTomoTiltSeriesPixelSize"))
    names = texts_of(block, path, "_rlnTomoName")
    files, denoised, tilts = (
        texts_of(block, path, column) if has_column(block, column) else [""] * len(names)
        for column in (
            "_rlnTomoReconstructedTomogram",
            "_rlnTomoReconstructedTomogramDenoised",
            "_rlnTomoTiltSeriesStarFile",
        )
    )

    def optional(column: str) -> np.ndarray:
        values = numbers_of(block, path, column) if has_column(block, column) else np.zeros(len(names))
        if (values < 0).any():
            raise TomoTutorError(
                f"{path}: column {column.removeprefix('_')} holds {values.min():g}; expected no number below 0"
            )
        return values

    binning = optional("_rlnTomoTomogramBinning")
    pixel = optional("_rlnTomoTiltSeriesPixelSize")
    unbinned = np.stack([optional(f"_rlnTomoSize{axis}") for axis in "XYZ"], axis=1)
    size = unbinned / np.where(binning > 0, binning, 1)[:, None]
    return {
        name: TomogramEntry(
            name,
            file,
            float(v),
            (float(s[0]), float(s[1]), float(s[2])),
            float(p),
            (float(e[0]), float(e[1]), float(e[2])),
            d,
            t,
        )
        for name, file, v, s, p, e, d, t in zip(
            names, files, pixel * binning, size, pixel, unbinned * pixel[:, None], denoised, tilts, strict=True
        )
    }


def named_in_set(document: cif.Document, path: Path) -> tuple[str, str] | None:
    """Return the particle list and the tomogram set that an optimisation set names, as written in it; None for any
    other file.

    Raises
    ------
    TomoTutorError
        It is an optimisation set without a particle list.
    """
    for block in document:
        if not has_column(block, "_rlnTomoTomogramsFile") and not has_column(block, "_rlnTomoParticlesFile"):
            continue
        if not has_column(block, "_rlnTomoParticlesFile"):
            raise TomoTutorError(
                f"{path}: this optimisation set names no particle list (rlnTomoParticlesFile); choose a later one"
            )
        tomograms = (
            texts_of(block, path, "_rlnTomoTomogramsFile") if has_column(block, "_rlnTomoTomogramsFile") else [""]
        )
        return texts_of(block, path, "_rlnTomoParticlesFile")[0], tomograms[0]
    return None


class RelionList:
    """A particle list token for token, to be written again with columns added or replaced.

    Parameters
    ----------
    path : Path
        The list; it is parsed here, once.

    Raises
    ------
    TomoTutorError
        It cannot be read, or has no table of particles.
    """

    def __init__(self, path: Path) -> None:
        self._document = read_star(path)
        block = particle_block(self._document, path)
        loop = next(
            (loop for label in (CENTRED[0], PIXELS[0]) if (loop := block.find_loop(label).get_loop()) is not None), None
        )
        if loop is None:
            raise TomoTutorError(
                f"{path}: block data_{shown(block.name)} has no table of particles; expected columns below loop_"
            )
        self._loop = loop
        self._columns = {tag: list(block.find_loop(tag)) for tag in loop.tags}
        # RELION takes the file's version from this comment, which gemmi drops
        version = re.search(r"^# version \d+", path.read_text(errors="replace"), re.MULTILINE)
        self._version = version[0] if version else "# version 50001"

    def tokens(self, label: str) -> list[str] | None:
        """Return the tokens of a column (label with its underscore) as the list came, None if it has none."""
        return self._columns.get(label)

    def write(self, target: Path, columns: dict[str, list[str]], rows: np.ndarray | None = None) -> None:
        """Write the list; every token stays as it was but those of `columns`.

        Parameters
        ----------
        target : Path
            File to write.
        columns : dict of str to list of str
            Tokens by STAR label (with the underscore), one for each row of the list.
        rows : ndarray, optional
            Rows (from 0) to keep, in their order; by default all.
        """
        table = self._columns | columns
        missing = [label for label in table if label not in self._loop.tags]
        if missing:
            self._loop.add_columns(missing, "0")
        kept = range(len(next(iter(self._columns.values())))) if rows is None else rows.tolist()
        self._loop.set_all_values([[table[tag][row] for row in kept] for tag in self._loop.tags])
        target.write_text(f"{self._version}\n\n{self._document.as_string()}", encoding="utf-8")
