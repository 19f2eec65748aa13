"""Poses: uniform rotations, rotated densities, and the angles that RELION writes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def random_matrix(rng: np.random.Generator) -> np.ndarray:
    """Draw a rotation matrix (x, y, z) uniformly on SO(3): four normal numbers, normalised, are a uniform quaternion
    (Marsaglia 1972).
    """
    return Rotation.from_quat(rng.standard_normal(4)).as_matrix()


def relion_angles(matrix_N33: np.ndarray) -> np.ndarray:
    """Return rlnAngleRot, rlnAngleTilt and rlnAnglePsi (N, 3), degrees, of rotations that take a reference point r to
    matrix · r.

    RELION's matrix of the three angles (as XMIPP's) is Rz(−psi) Ry(−tilt) Rz(−rot) in right-handed turns of points, the
    inverse of the intrinsic ZYZ turn, and takes reference coordinates to those of the particle.
    """
    return Rotation.from_matrix(np.swapaxes(matrix_N33, -1, -2)).as_euler("ZYZ", degrees=True)


def place(
    fine_NDHW: Tensor, matrix_N33: np.ndarray, xyz_voxel_N3: np.ndarray, box: int, fine_step: float = 2.0
) -> Tensor:
    """Rotate densities and move them, a point r (x, y, z from the centre) going to matrix · r + offset.

    Parameters
    ----------
    fine_NDHW : Tensor
        (N, fine, fine, fine) densities, centred on voxel fine // 2. Trilinear interpolation of a map at half the voxel
        size takes little of its high frequencies, whatever the rotation.
    matrix_N33 : ndarray
        Rotation matrices on (x, y, z); a factor on one of them enlarges.
    xyz_voxel_N3 : ndarray
        Offsets, voxels of the result.
    box : int
        Even edge of the result.
    fine_step : float
        Voxels of the density to one of the result.

    Returns
    -------
    Tensor
        (N, box, box, box) [z, y, x], centred on voxel box // 2, 0 outside the density.
    """
    fine, half = fine_NDHW.shape[-1], box // 2
    # grid_sample looks up, for each output point, the input point: the inverse transformation. Both its grids run from
    # −1 at the first voxel to 1 at the last
    inverse = np.linalg.inv(matrix_N33)
    corner = np.einsum("nij,nj->ni", inverse, (box - 1) / 2 - half - xyz_voxel_N3)
    offset = 2 / (fine - 1) * (fine // 2 + fine_step * corner) - 1
    theta = np.concatenate((fine_step * (box - 1) / (fine - 1) * inverse, offset[:, :, None]), axis=2)
    grid = affine_grid(
        torch.from_numpy(theta).float().to(fine_NDHW.device), [len(theta), 1, box, box, box], align_corners=True
    )
    return grid_sample(fine_NDHW[:, None], grid, align_corners=True)[:, 0]
