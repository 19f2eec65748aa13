"""Orientations of particles in a RELION list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from tomotutor.errors import TomoTutorError
from tomotutor.formats.relion import read_column

_PARTICLE = ("_rlnAngleRot", "_rlnAngleTilt", "_rlnAnglePsi")
_SUBTOMOGRAM = ("_rlnTomoSubtomogramRot", "_rlnTomoSubtomogramTilt", "_rlnTomoSubtomogramPsi")


def read_rotations(path: Path) -> np.ndarray | None:
    """Return how each particle of a RELION list is turned, None where the list has no angles.

    A = A_subtomogram · A_particle, each from ZYZ angles in degrees: Aᵀ = Rz(rot) Ry(tilt) Rz(psi) (RELION's Euler_angles2matrix).

    Returns
    -------
    ndarray
        (N, 3, 3): A takes a point (x, y, z from the centre) of the particle as the reference has it into the tomogram.

    Raises
    ------
    TomoTutorError
        Some of the angles are missing, or are no numbers.
    """
    found = [_matrices(path, labels) for labels in (_SUBTOMOGRAM, _PARTICLE)]
    matrices = [matrix for matrix in found if matrix is not None]
    if not matrices:
        return None
    return matrices[0] if len(matrices) == 1 else matrices[0] @ matrices[1]


def _matrices(path: Path, labels: tuple[str, ...]) -> np.ndarray | None:
    columns = [read_column(path, label) for label in labels]
    missing = [label.removeprefix("_") for label, column in zip(labels, columns, strict=True) if column is None]
    if len(missing) == len(labels):
        return None
    if missing:
        raise TomoTutorError(f"{path}: it lacks {', '.join(missing)}; expected all three angles of a particle or none")
    try:
        angles = np.array(columns, np.float64).T
    except ValueError as problem:
        raise TomoTutorError(f"{path}: its angles are not all numbers ({problem}); expected degrees") from None
    if not np.isfinite(angles).all():
        raise TomoTutorError(f"{path}: its angles are not all finite; expected degrees")
    return Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
