"""Tilt ranges: IMOD's lists of tilts, and RELION's tilt-series STAR files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError, reason, unreadable
from tomotutor.formats.star import read_star

_ANGLES = ("_rlnTomoYTilt", "_rlnTomoNominalStageTiltAngle")  # refined, then as the microscope was asked


def read_tlt(path: Path) -> tuple[float, float]:
    """Return smallest and largest tilt, degrees, of a .tlt or .rawtlt file: an angle a line.

    Raises
    ------
    TomoTutorError
        It cannot be read, or holds something else.
    """
    try:
        words = [line.split()[0] for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError as problem:
        raise unreadable(path, problem, "a list of tilts") from None
    return _range(words, path)


def read_tilt_series(path: Path) -> tuple[float, float]:
    """Return smallest and largest tilt, degrees, of a RELION tilt-series STAR file.

    Raises
    ------
    TomoTutorError
        It has neither rlnTomoYTilt nor rlnTomoNominalStageTiltAngle, or they hold no angles.
    """
    blocks = list(read_star(path))
    for label in _ANGLES:
        for block in blocks:
            if column := block.find_loop(label):
                return _range(list(column), path)
    raise TomoTutorError(
        f"{path}: found neither rlnTomoYTilt nor rlnTomoNominalStageTiltAngle; expected a RELION tilt series"
    )


def _range(words: list[str], path: Path) -> tuple[float, float]:
    try:
        angles = np.array([float(word) for word in words])
    except ValueError as problem:
        raise TomoTutorError(
            f"{path}: not a list of tilts ({reason(problem)}); expected an angle in degrees a line"
        ) from None
    if not angles.size or not np.isfinite(angles).all() or np.abs(angles).max() > 90:
        raise TomoTutorError(
            f"{path}: found {len(angles)} tilts, not all between -90 and 90 degrees; expected an angle a line"
        )
    return float(angles.min()), float(angles.max())
