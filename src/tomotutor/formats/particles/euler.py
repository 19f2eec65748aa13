"""Euler angles of the field's programs, degrees.

Everything here turns on one matrix A, which maps particle space to tomogram space, both x, y, z:

- RELION (rot, tilt, psi): A = Rz(-psi) Ry(-tilt) Rz(-rot), `Euler::anglesToMatrix3` of its C++ code.
- Dynamo (tdrot, tilt, narot): A = Rz(-tdrot) Rx(-tilt) Rz(-narot).
- EM motive lists (phi, psi, theta): A = Rz(psi) Rx(theta) Rz(phi).

As Ry(b) = Rz(90°) Rx(b) Rz(-90°), the three differ by a quarter turn of the outer angles, without a loss anywhere.
"""

from __future__ import annotations

import numpy as np


def _wrapped(angles_deg: np.ndarray) -> np.ndarray:
    """Return angles from -180 up to 180."""
    return (angles_deg + 180.0) % 360.0 - 180.0


def angles_to_matrix(angles_deg_N3: np.ndarray) -> np.ndarray:
    """Return A (N, 3, 3) of RELION's rot, tilt, psi."""
    from scipy.spatial.transform import Rotation

    return np.swapaxes(Rotation.from_euler("ZYZ", angles_deg_N3, degrees=True).as_matrix(), -1, -2)


def matrix_to_angles(a_N33: np.ndarray) -> np.ndarray:
    """Return RELION's rot, tilt, psi (N, 3) of A; rot is 0 where only its sum with psi is defined (tilt 0 or 180)."""
    a = np.asarray(a_N33, np.float64)
    sine = np.hypot(a[:, 0, 2], a[:, 1, 2])
    free = sine > 1e-7
    sign = np.where(a[:, 2, 2] > 0, 1.0, -1.0)
    rot = np.where(free, np.arctan2(a[:, 2, 1], a[:, 2, 0]), 0.0)
    psi = np.where(free, np.arctan2(a[:, 1, 2], -a[:, 0, 2]), np.arctan2(-sign * a[:, 1, 0], sign * a[:, 0, 0]))
    return np.rad2deg(np.stack([rot, np.arctan2(sine, a[:, 2, 2]), psi], axis=1))


def dynamo_from_relion(angles_deg_N3: np.ndarray) -> np.ndarray:
    """Return tdrot, tilt, narot."""
    rot, tilt, psi = angles_deg_N3.T
    return np.stack([_wrapped(psi - 90), tilt, _wrapped(rot + 90)], axis=1)


def relion_from_dynamo(angles_deg_N3: np.ndarray) -> np.ndarray:
    """Return rot, tilt, psi of tdrot, tilt, narot."""
    tdrot, tilt, narot = angles_deg_N3.T
    return np.stack([_wrapped(narot - 90), tilt, _wrapped(tdrot + 90)], axis=1)


def em_from_relion(angles_deg_N3: np.ndarray) -> np.ndarray:
    """Return phi, psi, theta, with theta = tilt."""
    rot, tilt, psi = angles_deg_N3.T
    return np.stack([_wrapped(90 - rot), _wrapped(-90 - psi), tilt], axis=1)


def relion_from_em(angles_deg_N3: np.ndarray) -> np.ndarray:
    """Return rot, tilt, psi of phi, psi, theta."""
    phi, psi, theta = angles_deg_N3.T
    return np.stack([_wrapped(90 - phi), theta, _wrapped(-90 - psi)], axis=1)
