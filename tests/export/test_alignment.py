"""Particles without angles are aligned to each other; held against where they were put, calculated apart."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_averages import correlation, particle, wedged

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Cut, Pool
from tomotutor.export.alignment import align, rotation_grid
from tomotutor.export.averages import average, write_average

N, BOX, MOST_VOXELS = 20, 24, 1.5


@pytest.fixture(scope="module")
def turned():
    """Turned, shifted, wedged and noisy copies of an asymmetric object, and the matrices they were turned by."""
    rng = np.random.default_rng(0)
    matrix_N33 = Rotation.random(N, random_state=0).as_matrix()
    offset_N3 = rng.uniform(-0.8, 0.8, (N, 3))
    noise = 1.5 * particle().std()
    boxes = [
        wedged(particle(a, o) + rng.normal(0, noise, (BOX,) * 3), -60, 60).astype(np.float32)
        for a, o in zip(matrix_N33, offset_N3, strict=True)
    ]
    tilts = np.tile([-60.0, 60.0], (N, 1))
    ids = tuple(f"i{k}" for k in range(N))
    return Pool(ids, (1, BOX, BOX, BOX), lambda row: Cut(boxes[row][None]), tilt_range_N2=tilts), matrix_N33


def test_aligned_copies_show_the_object(turned):
    pool, matrix_N33 = turned
    rows = np.arange(N)
    found = align(pool, rows, max_shift=MOST_VOXELS)
    assert (np.linalg.norm(found.shift_zyx_N3, axis=1) <= MOST_VOXELS + 1e-6).all()  # never further than allowed
    np.testing.assert_allclose(np.linalg.det(found.matrix_N33), 1)
    moved = dataclasses.replace(pool, offset_zyx_N3=found.shift_zyx_N3)
    aligned, plain = average(moved, rows, found.matrix_N33), average(pool, rows, None)
    # the reference may lie in any orientation C: what was turned by A is found to be turned by B = A C⁻¹
    turn_N33 = np.swapaxes(found.matrix_N33, 1, 2) @ matrix_N33
    objects = [particle(matrix) for matrix in turn_N33]
    best = int(np.argmax([correlation(aligned, one) for one in objects]))
    assert correlation(aligned, objects[best]) > 0.8
    assert max(correlation(plain, one) for one in objects) < 0.6
    away_deg = np.rad2deg(Rotation.from_matrix(turn_N33 @ turn_N33[best].T).magnitude())
    assert (away_deg < 20).mean() > 0.7


def test_the_grid_of_rotations_leaves_no_gap():
    grid = Rotation.from_matrix(rotation_grid(600)).as_quat()
    some = Rotation.random(300, random_state=1).as_quat()
    nearest_deg = np.rad2deg(2 * np.arccos(np.clip(np.abs(some @ grid.T).max(1), 0, 1)))
    assert nearest_deg.max() < 30
    assert nearest_deg.mean() < 20


def test_what_cannot_be_aligned_is_said(turned, tmp_path):
    pool, _ = turned
    with pytest.raises(TomoTutorError, match="found 0 items"):
        align(pool, np.zeros(0, np.int64))
    with pytest.raises(TomoTutorError, match="no particle is of class ball"):
        write_average(tmp_path / "a.mrc", pool, np.zeros(0, np.int64), "class ball")
