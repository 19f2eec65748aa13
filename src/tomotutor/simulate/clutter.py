"""What lies in a tomogram beside the complexes: membranes, gold beads, debris. Amplitudes are relative to the inside of
a complex, 1.
"""

from __future__ import annotations

import numpy as np

GOLD_RADIUS_ANGST = 50.0  # fiducials of 10 nm
GOLD_AMPLITUDE = 6.0
LEAFLET_ANGST = 18.0  # distance of each leaflet's head groups from the middle of the bilayer
_LEAFLET_SIGMA_ANGST = 7.0
_BILAYER_AMPLITUDE = 0.8


def distance(
    shape: tuple[int, int, int], centre_zyx: np.ndarray, voxel_size_angst: float, radii_ratio: np.ndarray | None = None
) -> np.ndarray:
    """Return each voxel's distance (Å) from a point (voxels); `radii_ratio` (z, y, x) stretches it into
    an ellipsoid's.
    """
    ratio = np.ones(3) if radii_ratio is None else radii_ratio
    z, y, x = (
        ((np.arange(n) - c) * voxel_size_angst / r) ** 2 for n, c, r in zip(shape, centre_zyx, ratio, strict=True)
    )
    return np.sqrt(z[:, None, None] + y[:, None] + x)


def bilayer(distance_angst: np.ndarray) -> np.ndarray:
    """Return a lipid bilayer by the distance from its middle: two leaflets of head groups with less between them."""
    profile = np.exp(-((np.abs(distance_angst) - LEAFLET_ANGST) ** 2) / (2 * _LEAFLET_SIGMA_ANGST**2))
    profile += 0.25 * (np.abs(distance_angst) < LEAFLET_ANGST)
    return (_BILAYER_AMPLITUDE * profile).astype(np.float32)


def gold(distance_angst: np.ndarray, voxel_size_angst: float) -> np.ndarray:
    """Return a gold bead by the distance from its centre, its edge as wide as a voxel."""
    return (GOLD_AMPLITUDE * np.clip((GOLD_RADIUS_ANGST - distance_angst) / voxel_size_angst + 0.5, 0, 1)).astype(
        np.float32
    )


def blob(distance_angst: np.ndarray, radius_angst: float) -> np.ndarray:
    """Return a Gaussian blob by the distance from its centre; at its radius it has fallen to 1/e."""
    return np.exp(-((distance_angst / radius_angst) ** 2)).astype(np.float32)


def debris(
    shape: tuple[int, int, int], centre_zyx: np.ndarray, voxel_size_angst: float, rng: np.random.Generator
) -> np.ndarray:
    """Return one to three small blobs about a point: loose domains, and complexes too small to be any of
    the classes.
    """
    body = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(15, 32)
        around = centre_zyx + rng.normal(0, 22, 3) / voxel_size_angst
        body += blob(distance(shape, around, voxel_size_angst), radius)
    return body


def false_pick(kind: str, box: int, voxel_size_angst: float, rng: np.random.Generator) -> np.ndarray:
    """Return what lies under a false pick, (box, box, box): "empty", "debris", "membrane" or "gold", near voxel box //
    2.
    """
    shape = (box, box, box)
    near = box // 2 + rng.normal(0, 20, 3) / voxel_size_angst
    if kind == "debris":
        return debris(shape, near, voxel_size_angst, rng)
    if kind == "gold":
        return gold(distance(shape, near, voxel_size_angst), voxel_size_angst)
    if kind == "membrane":
        direction = rng.standard_normal(3)
        radius = rng.uniform(150, 600)
        away = near - direction / np.linalg.norm(direction) * radius / voxel_size_angst
        return bilayer(distance(shape, away, voxel_size_angst) - radius)
    return np.zeros(shape, np.float32)
