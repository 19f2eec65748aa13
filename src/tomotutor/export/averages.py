"""Class averages: what the particles of a class have in common, aligned by the list's angles and weighted by their
wedges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import mrcfile
import numpy as np
import scipy.fft
from scipy.ndimage import affine_transform

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file, safe_names
from tomotutor.base.progress import Clock, Report, ignore
from tomotutor.data.pool import Pool
from tomotutor.formats.particles.euler import angles_to_matrix
from tomotutor.learn.results import Predictions

_LEAST_WEIGHT = 0.1  # of the number of particles: frequencies that fewer have measured are damped, not blown up


def average(
    pool: Pool, rows: np.ndarray, matrix_N33: np.ndarray | None, report: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """Average particles: each normalised, protein bright, not low-passed.

    With matrices each box is turned back into the reference's orientation (cubic splines) and Fourier transformed, with
    its wedge turned alike: Σ M F / max(Σ M, n / 10). Without, boxes are averaged as they are.

    Parameters
    ----------
    pool : Pool
        Items, 3D.
    rows : ndarray
        Which of them.
    matrix_N33 : ndarray or None
        (N, 3, 3) for every item of the pool: from the particle as the reference has it into the tomogram, on (x, y, z).
    report : callable
        Called after each particle with how many are done.

    Returns
    -------
    ndarray
        (z, y, x) float32.
    """
    from tomotutor.simulate.optics import wedge

    raw = dataclasses.replace(pool, prepared=None, cache=None)
    shape = pool.shape[1:]
    centre = np.array(shape) // 2
    total: np.ndarray = np.zeros(shape if matrix_N33 is None else (*shape[:2], shape[2] // 2 + 1), complex)
    weight = np.zeros(total.shape)
    for done, row in enumerate(rows.tolist(), start=1):
        box = raw.read(np.array([row]))[0, 0]
        if matrix_N33 is None:
            total += box
        else:
            matrix_zyx = matrix_N33[row][::-1, ::-1]
            turned = affine_transform(box, matrix_zyx, centre + pool.offset_zyx_N3[row] - matrix_zyx @ centre, order=3)
            low, high = pool.tilt_range_N2[row].tolist()
            seen = wedge(shape, (low, high), matrix_33=matrix_N33[row]).numpy()
            total += seen * scipy.fft.rfftn(turned)
            weight += seen
        report(done)
    if matrix_N33 is None:
        return (total.real / max(len(rows), 1)).astype(np.float32)
    return scipy.fft.irfftn(total / np.maximum(weight, max(_LEAST_WEIGHT * len(rows), 1e-9)), shape).astype(np.float32)


def _after(clock: Clock, before: int) -> Callable[[int], None]:
    return lambda done: clock.tell(before + done)


def write_average(
    target: Path, pool: Pool, rows: np.ndarray, what: str, *, align: bool = True, report: Report = ignore
) -> str:
    """Write the average of any rows as MRC, at the pool's voxel size; return how it was made, in words.

    Parameters
    ----------
    target : Path
        File to write.
    pool : Pool
        Items, 3D.
    rows : ndarray
        Which of them.
    what : str
        What they are, for the file's labels.
    align : bool
        Align rows whose angles are not known to each other, see `tomotutor.export.alignment.align`.
    report : callable
        Progress.

    Raises
    ------
    TomoTutorError
        There are no rows, or the items are 2D.
    """
    if pool.ndim != 3:
        raise TomoTutorError("average: made of 3D items, and those of this session are 2D")
    if not len(rows):
        raise TomoTutorError(f"average: no particle is of {what}")
    volume, how = average_of_rows(pool, rows, align=align, report=report)
    _write(target, volume, pool.voxel_size_angst, what, len(rows), how)
    return how


def average_of_rows(
    pool: Pool, rows: np.ndarray, *, align: bool = True, report: Report = ignore
) -> tuple[np.ndarray, str]:
    """Return the average (z, y, x) of any rows of a pool of volumes, and how it was made, in words; see
    `write_average`.
    """
    from tomotutor.export import alignment

    matrix_N33, how = None, "not aligned: the list has no angles"
    with_angles = np.isfinite(pool.angles_deg_N3[rows]).all()
    if with_angles:
        matrix_N33, how = np.zeros((len(pool), 3, 3)), "aligned by the list's angles"
        matrix_N33[rows] = angles_to_matrix(pool.angles_deg_N3[rows])
    elif align and len(set(pool.shape[1:])) == 1:
        found = alignment.align(pool, rows, report=Clock(report, "align", len(rows)).tell)
        matrix_N33, how = np.zeros((len(pool), 3, 3)), "aligned to each other: the list has no angles"
        matrix_N33[rows] = found.matrix_N33
        offset_zyx_N3 = pool.offset_zyx_N3.copy()
        offset_zyx_N3[rows] += found.shift_zyx_N3
        pool = dataclasses.replace(pool, offset_zyx_N3=offset_zyx_N3)
    return average(pool, rows, matrix_N33, Clock(report, "read", len(rows)).tell), how


def _write(target: Path, volume: np.ndarray, voxel_size_angst: float, what: str, particles: int, how: str) -> None:
    with new_file(target) as path, mrcfile.new(path, volume, overwrite=True) as mrc:
        mrc.voxel_size = voxel_size_angst
        labels = (f"TomoTutor: {what}, average of {particles} particles", how)
        for line, text in enumerate(labels):
            mrc.header.label[line] = text.encode("ascii", "replace")[:80]
        mrc.header.nlabl = len(labels)


def write_averages(
    folder: Path,
    pool: Pool,
    predictions: Predictions,
    classes: Sequence[str],
    report: Report = ignore,
) -> list[Path]:
    """Write `average_<class>.mrc` for each class that has particles, at the pool's voxel size; its labels say how many
    and how.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    TomoTutorError
        The items are 2D.
    """
    if pool.ndim != 3:
        raise TomoTutorError(
            "export: averages are made of 3D items, and those of this session are 2D; use --format csv"
        )
    matrix_N33 = angles_to_matrix(pool.angles_deg_N3) if np.isfinite(pool.angles_deg_N3).all() else None
    how = "not aligned: the list has no angles"
    if matrix_N33 is not None:
        known = np.isfinite(pool.tilt_range_N2).any()
        how = "aligned by the list's angles" + (
            ", weighted by the missing wedge" if known else "; tilt range unknown, no wedge weights"
        )
    written, before, clock = [], 0, Clock(report, "read", len(pool))
    for number, (name, safe) in enumerate(zip(classes, safe_names(classes), strict=True)):
        target = folder / f"average_{safe}.mrc"
        rows = np.flatnonzero(predictions.class_N == number)
        if not len(rows):
            target.unlink(missing_ok=True)  # one of an earlier export would be untrue now
            continue
        volume = average(pool, rows, matrix_N33, _after(clock, before))
        before += len(rows)
        _write(target, volume, pool.voxel_size_angst, f"class {name}", len(rows), how)
        written.append(target)
    return written
