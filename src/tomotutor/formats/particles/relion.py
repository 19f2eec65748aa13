"""Particle lists in STAR files: RELION 3.1, 4 and 5, WARP and M, pytom-match-pick.

As RELION's particle_set.cpp does it: position = coordinate - A_subtomogram · origin, orientation = A_subtomogram ·
A_particle, with A of `formats.euler`, origin from rlnOrigin{X,Y,Z}Angst (Å), A_subtomogram from
rlnTomoSubtomogram{Rot,Tilt,Psi} and A_particle from rlnAngle{Rot,Tilt,Psi}. Coordinates:
rlnCenteredCoordinate{X,Y,Z}Angst, Å from the centre at size/2 of the tomogram, else rlnCoordinate{X,Y,Z} in pixels,
voxel 0 being at 0. What a pixel measures:

- what the user says;
- pytom-match-pick: rlnDetectorPixelSize, the voxel size of the tomogram it searched;
- RELION 4 and 5: rlnTomoTiltSeriesPixelSize of the tomogram set or of data_optics, if that keeps all within the
  tomogram;
- else (WARP and M, RELION 3.1) the file does not tell, and the user must.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from gemmi import cif

from tomotutor.base.errors import TomoTutorError, shown
from tomotutor.base.files import new_file
from tomotutor.formats.particles.euler import angles_to_matrix, matrix_to_angles
from tomotutor.formats.particles.relion_sets import CENTRED, PIXELS, RelionList, particle_block
from tomotutor.formats.particles.table import UNTOLD, Column, Extra, ParticleTable, Reading, class_numbers
from tomotutor.formats.star import has_column, numbers_of, read_star, tags_of, texts_of

ANGLES = ("_rlnAngleRot", "_rlnAngleTilt", "_rlnAnglePsi")
CLASS = "_rlnClassNumber"
SCORE = "_rlnAutopickFigureOfMerit"
_SUBTOMOGRAM = ("_rlnTomoSubtomogramRot", "_rlnTomoSubtomogramTilt", "_rlnTomoSubtomogramPsi")
_ORIGIN = tuple(f"_rlnOrigin{axis}Angst" for axis in "XYZ")
_PIXEL = "_rlnTomoTiltSeriesPixelSize"
_PLAIN = re.compile(
    r"(?!(data|loop|save|stop|global)_)[A-Za-z0-9][^\s'\"]*", re.IGNORECASE
)  # needs no quotes, which gemmi is generous with
_NAMES = ("_rlnTomoName", "_rlnMicrographName")


def read_relion(path: Path, reading: Reading = UNTOLD) -> ParticleTable:
    """Read a particle list; positions come in Å, from the centre or the corner as the list has them.

    Raises
    ------
    TomoTutorError
        A column is missing or holds no numbers, the list is empty, or what its pixels measure is unknown.
    """
    document = read_star(path) if reading.document is None else reading.document
    block = particle_block(document, path)
    name = next((n for n in _NAMES if has_column(block, n)), _NAMES[0])
    tomogram_N = np.array(texts_of(block, path, name), dtype=object)
    if not len(tomogram_N):
        raise TomoTutorError(
            f"{path}: the particle list is empty; expected at least one row in data_{shown(block.name)}"
        )
    columns = next((c for c in (CENTRED, PIXELS) if any(has_column(block, label) for label in c)), CENTRED)
    xyz_N3 = _triple(block, path, columns)
    assumed = ""
    if columns is PIXELS:
        pixel_N, assumed = _pixel_sizes(document, block, path, tomogram_N, xyz_N3, reading)
        xyz_N3 = xyz_N3 * pixel_N[:, None]
        if reading.centre:
            raise TomoTutorError(
                f"{path}: --centre {reading.centre} is about coordinates from the centre; this list counts from the "
                "corner"
            )
    elif reading.centre:
        # RELION's napari picker and pytom-match-pick put 0 at size/2 - 1 pixels of the tilt series
        xyz_N3 = xyz_N3 - _tilt_series_pixels(document, block, path, tomogram_N, reading)[:, None]
    angles_N3 = _triple(block, path, ANGLES, filled=True) if any(has_column(block, label) for label in ANGLES) else None
    subtomogram = (
        angles_to_matrix(_triple(block, path, _SUBTOMOGRAM, filled=True))
        if has_column(block, _SUBTOMOGRAM[0])
        else None
    )
    if any(has_column(block, label) for label in _ORIGIN):
        origin_N3 = _triple(block, path, _ORIGIN, filled=True)
        xyz_N3 = xyz_N3 - (origin_N3 if subtomogram is None else np.einsum("nij,nj->ni", subtomogram, origin_N3))
    elif has_column(block, "_rlnOriginX") and numbers_of(block, path, "_rlnOriginX").any():
        raise TomoTutorError(
            f"{path}: rlnOriginX counts pixels, as before RELION 3.1; expected rlnOriginXAngst: convert it with RELION"
        )
    if subtomogram is not None:
        angles_N3 = matrix_to_angles(subtomogram if angles_N3 is None else subtomogram @ angles_to_matrix(angles_N3))
    score = next((label for label in ("_rlnLCCmax", SCORE) if has_column(block, label)), None)
    used = {name, *columns, *ANGLES, *_SUBTOMOGRAM, *_ORIGIN, CLASS, score}
    return ParticleTable(
        path,
        tomogram_N,
        xyz_N3,
        "angst",
        "centre" if columns is CENTRED else "corner",
        angles_deg_N3=angles_N3,
        class_N=class_numbers(numbers_of(block, path, CLASS), path, "rlnClassNumber")
        if has_column(block, CLASS)
        else None,
        score_N=numbers_of(block, path, score) if score else None,
        other=tuple(tag.removeprefix("_") for tag in tags_of(block) if tag not in used),
        assumed=assumed,
    )


def _triple(block: cif.Block, path: Path, labels: tuple[str, ...], *, filled: bool = False) -> np.ndarray:
    """Return three columns side by side; where `filled`, one that is missing is 0, as in RELION."""
    columns = [None if filled and not has_column(block, label) else numbers_of(block, path, label) for label in labels]
    rows = len(next(column for column in columns if column is not None)) if any(c is not None for c in columns) else 0
    return np.stack([np.zeros(rows) if column is None else column for column in columns], axis=1)


def _by_optics(document: cif.Document, block: cif.Block, path: Path, label: str) -> np.ndarray | None:
    """Return a number for each particle, from its own column or that of its optics group; None where
    there is neither.
    """
    if has_column(block, label):
        return numbers_of(block, path, label)
    optics = document.find_block("optics")
    if optics is None or not has_column(optics, label):
        return None
    values = numbers_of(optics, path, label)
    if len(values) and np.ptp(values) == 0:
        return np.full(1, values[0])
    if not has_column(block, "_rlnOpticsGroup") or not has_column(optics, "_rlnOpticsGroup"):
        return None
    group = dict(zip(texts_of(optics, path, "_rlnOpticsGroup"), values.tolist(), strict=True))
    of_particle = texts_of(block, path, "_rlnOpticsGroup")
    unknown = next((g for g in of_particle if g not in group), None)
    if unknown is not None:
        raise TomoTutorError(
            f"{path}: a particle is of optics group {shown(unknown)}; data_optics has {shown(', '.join(group))}"
        )
    return np.array([group[g] for g in of_particle])


def _positive(pixel_N: np.ndarray | None, rows: int) -> np.ndarray | None:
    """Return pixel sizes for all rows, or None where they say nothing."""
    if pixel_N is None or not len(pixel_N) or not (pixel_N > 0).all():
        return None
    return np.broadcast_to(pixel_N, (rows,))


def _tilt_series_pixels(
    document: cif.Document, block: cif.Block, path: Path, tomogram_N: np.ndarray, reading: Reading
) -> np.ndarray:
    """Return the tilt-series pixel size of each particle."""
    if reading.coordinate_pixel_size:
        return np.full(len(tomogram_N), reading.coordinate_pixel_size)
    of_set = {name: entry.pixel_size_angst for name, entry in reading.tomograms.items()}
    pixel_N = _positive(np.array([of_set.get(name, 0.0) for name in tomogram_N.tolist()]), len(tomogram_N))
    if pixel_N is None and not has_column(
        block, "_rlnLCCmax"
    ):  # pytom-match-pick puts the tomogram's voxel size under this label
        pixel_N = _positive(_by_optics(document, block, path, _PIXEL), len(tomogram_N))
    if pixel_N is None:
        raise TomoTutorError(
            f"{path}: its tilt series' pixel size (rlnTomoTiltSeriesPixelSize) is unknown; give --tomograms or "
            "--coordinate-pixel-size"
        )
    return pixel_N


def _pixel_sizes(
    document: cif.Document, block: cif.Block, path: Path, tomogram_N: np.ndarray, xyz_N3: np.ndarray, reading: Reading
) -> tuple[np.ndarray, str]:
    """Return what a pixel of rlnCoordinateX/Y/Z measures for each particle, and what that takes for granted."""
    rows = len(tomogram_N)
    if reading.coordinate_pixel_size:
        return np.full(rows, reading.coordinate_pixel_size), ""
    if has_column(block, "_rlnSearchStd") or has_column(block, "_rlnLCCmax"):
        pixel_N = _positive(_by_optics(document, block, path, "_rlnDetectorPixelSize"), rows)
        if pixel_N is not None:
            return (
                pixel_N,
                f"rlnCoordinateX/Y/Z were read as voxels of {pixel_N[0]:g} Å (rlnDetectorPixelSize of "
                "pytom-match-pick)",
            )
    ask = "give what one pixel of them measures, in Å, with --coordinate-pixel-size"
    if any(name.endswith(".tomostar") for name in set(tomogram_N.tolist())):
        raise TomoTutorError(
            f"{path}: its rlnCoordinateX/Y/Z come from WARP or M, which does not tell their pixel size; {ask}"
        )
    try:
        pixel_N = _tilt_series_pixels(document, block, path, tomogram_N, reading)
    except TomoTutorError:
        raise TomoTutorError(
            f"{path}: it has rlnCoordinateX/Y/Z, pixels of a size that it does not tell; {ask}"
        ) from None
    extents = {name: entry.extent(entry.voxel_size_angst) for name, entry in reading.tomograms.items()}
    far = np.full(3, np.inf)
    limit_N3 = np.array([far if (e := extents.get(name)) is None or not e.all() else e for name in tomogram_N.tolist()])
    outside_N = (np.isfinite(limit_N3) & ((xyz_N3 < 0) | (xyz_N3 * pixel_N[:, None] > limit_N3))).any(1)
    if outside_N.any():
        row = int(np.flatnonzero(outside_N)[0])
        x, y, z = xyz_N3[row]
        raise TomoTutorError(
            f"{path}: particle {row + 1} at {x:g}, {y:g}, {z:g} lies outside tomogram {tomogram_N[row]} if "
            "rlnCoordinateX/Y/Z are pixels "
            f"of its tilt series ({pixel_N[row]:g} Å); {ask}"
        )
    return (
        pixel_N,
        f"rlnCoordinateX/Y/Z were read as pixels of the tilt series, {pixel_N[0]:g} Å (rlnTomoTiltSeriesPixelSize)",
    )


def write_relion(table: ParticleTable, path: Path) -> None:
    """Write a RELION 5 list: centred Å. `table` must be in that frame."""
    _write(path, table, list(CENTRED), table.xyz_N3, "")


def write_relion4(table: ParticleTable, path: Path) -> None:
    """Write a RELION 4 list: pixels of the tilt series, whose size goes into data_optics. `table` must be in corner
    voxels of that size.
    """
    pixel = table.voxel_size_angst
    if not pixel:
        raise TomoTutorError(
            f"{path}: the tilt series' pixel size is unknown; give --tilt-series-pixel-size or --tomograms"
        )
    optics = (
        "# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnOpticsGroupName "
        "#2\n_rlnTomoTiltSeriesPixelSize #3\n"
        f"1 opticsGroup1 {pixel:.6f}\n\n"
    )
    _write(path, table, list(PIXELS), table.xyz_N3, optics)


def _write(path: Path, table: ParticleTable, coordinates: list[str], xyz_N3: np.ndarray, optics: str) -> None:
    labels, formats = ["_rlnTomoName", *coordinates], ["%s", "%.6f", "%.6f", "%.6f"]
    name = {n: n if _PLAIN.fullmatch(n) else cif.quote(n) for n in set(table.tomogram_N.tolist())}
    columns: list[list] = [[name[n] for n in table.tomogram_N.tolist()], *xyz_N3.T.tolist()]
    if optics:
        labels, formats = [*labels, "_rlnOpticsGroup"], [*formats, "%d"]
        columns.append([1] * len(table))
    if table.angles_deg_N3 is not None:
        labels, formats = [*labels, *ANGLES], [*formats, "%.6f", "%.6f", "%.6f"]
        columns += table.angles_deg_N3.T.tolist()
    for label, values, form in ((CLASS, table.class_N, "%d"), (SCORE, table.score_N, "%.8g")):
        if values is not None:
            labels, formats = [*labels, label], [*formats, form]
            columns.append(values.tolist())
    header = "".join(f"{label} #{i}\n" for i, label in enumerate(labels, 1))
    row = " ".join(formats)
    with new_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write(f"{optics}# version {30001 if optics else 50001}\n\ndata_particles\n\nloop_\n{header}")
        handle.writelines(row % values + "\n" for values in zip(*columns, strict=True))


def rewrite_relion(
    source: Path, target: Path, class_N: Column = None, rows: Column = None, extra: Extra = None
) -> None:
    """Write a list again, token for token, with its class numbers and further columns (labels with their
    underscore).
    """
    columns = {} if class_N is None else {CLASS: [str(c) for c in class_N.tolist()]}
    with new_file(target) as partial:
        RelionList(source).write(partial, columns | (extra or {}), rows)
