"""The script that finds complexes that look alike."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from tomotutor.simulate.rotation import place, random_matrix


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "docs" / "benchmarks" / "relatives.py"
    spec = importlib.util.spec_from_file_location("relatives", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blobs(seed):
    """A density of ten blobs at the middle of a cube of 64."""
    rng = np.random.default_rng(seed)
    zyx_B3 = rng.normal(0, 7, (10, 3))
    grid = np.indices((64,) * 3) - 32
    squared = ((grid[None] - (zyx_B3 - zyx_B3.mean(0))[:, :, None, None, None]) ** 2).sum(1)
    return torch.from_numpy(np.exp(-squared / 18).sum(0)).float()


def test_the_same_complex_is_found_in_any_pose_and_another_is_not(script):
    rng = np.random.default_rng(5)
    own, other = blobs(0), blobs(1)
    moved = np.array([[1.0, -1.0, 2.0]])
    turned = place(own[None], random_matrix(rng)[None], moved, 32)[0]
    others_KV = torch.stack([script.standardised(m).flatten() for m in (turned, other[::2, ::2, ::2])])
    matrix_R33 = script.rotations(1500)
    np.testing.assert_allclose(matrix_R33 @ matrix_R33.swapaxes(1, 2), np.tile(np.eye(3), (1500, 1, 1)), atol=1e-12)
    script.NEAR = 0.5  # moved by two voxels it is far from itself without a translation
    found = dict(script.relatives(own, others_KV, matrix_R33))
    assert list(found) == [0]
    assert found[0] > 0.95
    best_angle = [
        np.degrees(np.arccos((np.trace(matrix_R33 @ random_matrix(rng).T, axis1=1, axis2=2) - 1) / 2)).min()
        for _ in range(20)
    ]
    assert max(best_angle) < 20  # of 1500, spread evenly over all rotations
