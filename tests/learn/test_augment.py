import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from tomotutor.learn.augment import asymmetric, augment, half_turn

AXES = {
    "x": np.diag([-1.0, -1.0, 1.0]),
    "y": np.diag([-1.0, 1.0, -1.0]),
    "z": np.diag([1.0, -1.0, -1.0]),
}  # on (z, y, x)


@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize("edge", [8, 9])
def test_half_turn_is_a_rotation_about_the_centre_voxel(axis, edge):
    x = np.random.default_rng(0).normal(size=(edge,) * 3)
    matrix = AXES[axis]
    assert np.linalg.det(matrix) == 1  # a rotation, no mirror
    centre = np.full(3, edge // 2)
    expected = affine_transform(x, matrix, centre - matrix @ centre, order=1, mode="grid-wrap")
    np.testing.assert_allclose(half_turn(torch.from_numpy(x), axis).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("axis", "xyz")
def test_half_turn_keeps_the_missing_wedge(axis):
    """A symmetric tilt range about y with the beam along z: the set of measured frequencies maps onto itself."""
    fz, _fy, fx = np.meshgrid(*[np.fft.fftfreq(16)] * 3, indexing="ij")
    measured = np.abs(fz) <= np.abs(fx) * np.tan(np.deg2rad(60)) + 1e-9
    volume = np.fft.ifftn(np.fft.fftn(np.random.default_rng(0).normal(size=(16,) * 3)) * measured).real
    turned = half_turn(torch.from_numpy(volume), axis).numpy()
    spectrum = np.abs(np.fft.fftn(turned))
    assert spectrum[~measured].max() < 1e-9 * spectrum.max()
    assert not np.allclose(turned, volume)


def test_strong_shifts_within_two_voxels_and_fills_with_the_mean():
    x = torch.zeros(400, 1, 8, 8, 8)
    x[:, 0, 4, 4, 4] = 1
    out = augment(x, "strong", torch.Generator().manual_seed(0))
    where = torch.nonzero(out[:, 0])
    assert len(where) == 400
    offsets = where[:, 1:] - 4
    assert set(map(int, offsets.unique())) == {-2, -1, 0, 1, 2}
    assert x[:, 0, 4, 4, 4].all()  # the batch it was given is untouched


def test_strong_uses_all_four_orientations():
    corner = torch.zeros(1, 1, 9, 9, 9)
    corner[0, 0, 2, 3, 4] = 1
    found = set()
    for seed in range(200):
        out = augment(corner, "strong", torch.Generator().manual_seed(seed))
        z, y, _ = (torch.nonzero(out[0, 0])[0] - 4).tolist()
        found.add((z > 0) * 2 + (y > 0) if abs(z) > 0 and abs(y) > 0 else None)
    assert len(found - {None}) == 4


def test_2d_flips_and_crops():
    x = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(300, 1, 1, 1) + 1
    out = augment(x, "strong", torch.Generator().manual_seed(0))
    flipped = (out[:, 0].diff(dim=-1) == -1).sum((1, 2)) > (out[:, 0].diff(dim=-1) == 1).sum((1, 2))
    assert 0.35 < flipped.float().mean() < 0.65
    assert (out == 0).any()


def test_none_changes_nothing_and_the_same_seed_gives_the_same():
    x = torch.randn(4, 1, 8, 8, 8)
    assert augment(x, "none", torch.Generator()) is x
    a, b, c = (augment(x, "strong", torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_an_asymmetric_range_is_turned_about_the_tilt_axis_only(monkeypatch):
    """-40° to +60°: a wedge that only the half turn about y maps onto itself; measured in the spectrum of what comes
    out.
    """
    monkeypatch.setattr("tomotutor.learn.augment.SHIFT_3D", 0)  # a shift leaves the wedge, but cuts the border off

    def turn(asymmetric_N):
        return augment(x, "strong", torch.Generator().manual_seed(3), asymmetric_N)

    ranges = np.array([[-40.0, 60.0], [-60, 60], [-60, 57], [np.nan, np.nan], [-60, 56]])
    assert asymmetric(ranges) == [True, False, False, False, True]
    fz, _fy, fx = np.meshgrid(*[np.fft.fftfreq(15)] * 3, indexing="ij")
    angle = np.rad2deg(np.arctan2(fz, fx))
    angle = np.where(angle > 90, angle - 180, np.where(angle <= -90, angle + 180, angle))
    measured = (angle >= -40 - 1e-6) & (angle <= 60 + 1e-6) | ((fz == 0) & (fx == 0))
    volume = np.fft.ifftn(np.fft.fftn(np.random.default_rng(0).normal(size=(15,) * 3)) * measured).real
    x = torch.from_numpy(volume)[None, None].repeat(200, 1, 1, 1, 1)
    lost = {}
    for lopsided in (True, False):
        out = turn([lopsided] * 200)
        spectrum = np.abs(np.fft.fftn(out[:, 0].numpy(), axes=(1, 2, 3)))
        lost[lopsided] = spectrum[:, ~measured].max(1) / spectrum.max((1, 2, 3))
    assert lost[True].max() < 1e-9
    assert (lost[False] > 1e-3).mean() > 0.3  # as for a symmetric range: half of the turns move the wedge
    turned = (turn([True] * 200) != x).flatten(1).any(1)
    assert 0.35 < turned.float().mean() < 0.65


def test_symmetric_and_unknown_ranges_are_augmented_as_ever():
    x = torch.randn(40, 1, 8, 8, 8)
    plain = augment(x, "strong", torch.Generator().manual_seed(0))
    assert torch.equal(plain, augment(x, "strong", torch.Generator().manual_seed(0), [False] * 40))
    mixed = augment(x, "strong", torch.Generator().manual_seed(0), [True] * 20 + [False] * 20)
    assert torch.equal(mixed[20:], plain[20:])
    assert not torch.equal(mixed[:20], plain[:20])
