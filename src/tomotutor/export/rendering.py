"""Volumes turned together and looked at along z: pictures without OpenGL."""

from __future__ import annotations

import numpy as np

_BACK = 0.45  # brightness of what lies farthest away; the nearest has 1


def turn(horizontal: float, vertical: float) -> np.ndarray:
    """Return the rotation about the screen's axes, (3, 3) for (x, y, z) columns: first about y, then about x.

    Parameters
    ----------
    horizontal, vertical : float
        Radians; positive moves what is in front to the right, and down.
    """
    a, b = np.cos(horizontal), np.sin(horizontal)
    c, d = np.cos(vertical), np.sin(vertical)
    about_y = np.array([[a, 0, -b], [0, 1, 0], [b, 0, a]])
    about_x = np.array([[1, 0, 0], [0, c, -d], [0, d, c]])
    return about_x @ about_y


def project(volumes_NZYX: np.ndarray, rotation_33: np.ndarray, edge: int) -> np.ndarray:
    """Turn volumes about their centre voxel (n // 2) and return what is seen of them along z.

    A pixel is the largest value along its ray, darker the farther away it lies: v·(1 − 0.55·depth), depth from 0 in
    front (low z) to 1.

    Parameters
    ----------
    volumes_NZYX : ndarray
        (N, n, n, n) float32 from 0 to 1.
    rotation_33 : ndarray
        Turns (x, y, z) of the volumes to (x, y, z) of the picture.
    edge : int
        Pixels along an edge, and samples along a ray: n is sharp, less is coarse and quicker.

    Returns
    -------
    ndarray
        (N, edge, edge) float32.
    """
    import torch
    from torch.nn.functional import grid_sample

    n = volumes_NZYX.shape[-1]
    middle = edge // 2
    along = 2 / edge * (torch.arange(edge, dtype=torch.float32) - middle)
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    back_33 = torch.from_numpy(np.ascontiguousarray(rotation_33.T, np.float32))  # from the picture into the volume
    centre = (2 * (n // 2) + 1) / n - 1
    grid_DHW3 = torch.stack([x, y, z], -1) @ back_33.T + centre
    nearness_D11 = torch.linspace(1, _BACK, edge)[:, None, None]
    with torch.inference_mode():
        # the volumes are channels of one: where a ray passes is the same for all of them
        volumes_1NZYX = torch.from_numpy(np.ascontiguousarray(volumes_NZYX, np.float32))[None]
        turned_NDHW = grid_sample(volumes_1NZYX, grid_DHW3[None], align_corners=False)[0]
        return (turned_NDHW * nearness_D11).amax(1).numpy()
