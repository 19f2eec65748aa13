"""Items of varied conditions: what is drawn stays in its range, and what is drawn is what comes out."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate import Structure
from tomotutor.simulate import varied as module
from tomotutor.simulate.complexes import complex_points, made_up
from tomotutor.simulate.fourier import frequencies, wedge
from tomotutor.simulate.rotation import place, random_matrix
from tomotutor.simulate.varied import LADDER_ANGST, MARGIN, Variation, make_library, make_varied

SMALL = Variation(box=16, voxel_size_angst=(11.0, 15.0), neighbours=2, pick_error_voxel=1.0, false_picks=0.2)
NAMES = ("made-up-0", "made-up-1", "ferritin")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def library():
    return make_library([Structure(name) for name in NAMES], SMALL)


def test_the_same_batch_gives_the_same_bytes(library):
    items = np.arange(8)
    x, y = make_varied(library, items, 3, SMALL)
    again_x, again_y = make_varied(library, items, 3, SMALL)
    assert x.tobytes() == again_x.tobytes()
    assert y.tolist() == again_y.tolist()
    assert not np.allclose(x, make_varied(library, items, 4, SMALL)[0])
    assert not np.allclose(x, make_varied(library, items + 8, 3, SMALL)[0])


def test_items_are_normalised_and_have_their_class(library):
    x, y = make_varied(library, np.arange(64), 0, SMALL)
    assert x.shape == (64, 16, 16, 16)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x.mean((1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(x.std((1, 2, 3)), 1, atol=1e-3)
    assert set(y) == {0, 1, 2, 3}  # the last one: false picks
    y = np.array([item.complex for item in module._draw(library, np.arange(2000), 0, SMALL)])
    assert (y == 3).mean() == pytest.approx(0.2, abs=0.04)
    for k in range(3):
        assert (y == k).mean() == pytest.approx(0.8 / 3, abs=0.04)
    assert set(
        make_varied(library, np.arange(16), 0, Variation(box=16, voxel_size_angst=(11, 15), false_picks=0))[1]
    ) <= {0, 1, 2}


@pytest.mark.parametrize("bounds", [(0.02, 0.5), (0.1, 0.1)])
def test_the_snr_is_what_was_drawn(library, bounds):
    alone = Variation(
        box=16, voxel_size_angst=(11.0, 15.0), neighbours=0, pick_error_voxel=0, false_picks=0, snr=bounds
    )
    items = module._draw(library, np.arange(48), 1, alone)
    signal, _, noise = (x[module._inside(16)].flatten(1).var(1).numpy() for x in module._imaged(library, items, alone))
    snr = signal / noise
    assert (snr > bounds[0] * 0.999).all()
    assert (snr < bounds[1] * 1.001).all()
    # triangular on a logarithmic scale
    assert np.log(snr).mean() == pytest.approx(
        np.log(bounds).mean(), abs=5 * np.ptp(np.log(bounds)) / math.sqrt(24 * 48) + 1e-3
    )


def test_a_false_pick_has_the_noise_of_a_complex_beside_it(library):
    even = Variation(box=16, voxel_size_angst=(11.0, 15.0), neighbours=0, false_picks=0.5, snr=(0.1, 0.1))
    items = module._draw(library, np.arange(16), 1, even)
    signal, _, noise = (x[module._inside(16)].flatten(1).var(1).numpy() for x in module._imaged(library, items, even))
    true = np.array([item.complex < 3 for item in items])
    assert 0 < true.sum() < 16
    for n in noise[~true]:
        assert np.isclose(n * 0.1, signal[true], rtol=1e-3).any()


def test_voxel_sizes_stay_in_their_range_and_near_their_density(library):
    items = module._draw(library, np.arange(1000), 0, SMALL)
    voxel, rung = np.array([item.voxel_angst for item in items]), np.array([LADDER_ANGST[item.rung] for item in items])
    assert voxel.min() >= 11
    assert voxel.max() <= 15
    assert np.ptp(voxel) > 3
    assert np.abs(np.log(voxel / rung)).max() <= 0.11 + 1e-9
    for item in items:
        assert item.complex == 3 or (item.complex, item.rung) in library.fine_KL


def test_one_voxel_size_between_two_rungs():
    narrow = Variation(
        box=16, voxel_size_angst=(10.7, 10.7), tilt_step_deg=(3, 3), defocus_um=(4, 4), tilt_deg=(60, 60)
    )
    library = make_library([Structure(name) for name in NAMES], narrow)
    assert {LADDER_ANGST[rung] for _, rung in library.fine_KL} == {12.0}
    assert {item.voxel_angst for item in module._draw(library, np.arange(20), 0, narrow)} == {10.7}
    assert np.isfinite(make_varied(library, np.arange(4), 0, narrow)[0]).all()


def test_what_is_drawn_at_the_ends_is_finite(library):
    far = Variation(
        box=16,
        voxel_size_angst=(11.0, 15.0),
        tilt_deg=(80, 80),
        tilt_step_deg=(10, 10),
        snr=(1e-4, 1e-4),
        defocus_um=(50, 50),
        amplitude_contrast=(1, 1),
        pick_error_voxel=8,
        false_picks=0.9,
        neighbours=20,
    )
    assert np.isfinite(make_varied(library, np.arange(32), 0, far)[0]).all()


class Given:
    """Draws what it is told."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, low, high):
        return self.values.pop(0)


def tilts(low, high, step, edge=40):
    """The mask of a tilt series without fading, (z, x), with the angle and radius (voxels) of each frequency."""
    found = module._tilts(Given(50.0, step, -low - 50.0, high - 50.0, 0.0), SMALL, edge)[:, 0].numpy()
    fz, _, fx = (f.numpy() for f in frequencies((edge,) * 3, 1.0))
    angle = np.degrees(np.arctan2(fz, np.maximum(fx, 1e-12)))[:, 0]
    return found, np.broadcast_to(angle, found.shape), edge * np.sqrt(fz**2 + fx**2)[:, 0]


def test_fine_tilts_are_the_wedge_and_not_its_mirror_image():
    low, high = -40.0, 62.0
    found, angle, radius = tilts(low, high, 0.05)
    inside = radius > 1.5  # the middle is measured by all planes, which are a voxel thick
    inside[20] = False  # Nyquist along z stands for both signs
    full = wedge((40,) * 3, (low, high))[:, 0].numpy() > 0
    assert (found[full & inside] > 0.999).all()
    beyond = radius * np.radians(np.maximum(angle - high, low - angle))  # voxels from the last plane
    assert (found[inside & (beyond > 1.05)] == 0).all()
    assert (inside & (beyond > 1.05)).sum() > 100
    mirrored = wedge((40,) * 3, (-high, -low))[:, 0].numpy() > 0
    assert (found[mirrored & inside] == 0).sum() > 50


def test_coarse_tilts_are_planes_with_gaps():
    found, angle, radius = tilts(-60.0, 60.0, 20.0)
    far = (radius > 10) & (np.abs(angle) < 60)
    away = radius * np.radians(np.abs(angle - 20 * np.round(angle / 20)))
    np.testing.assert_allclose(found[far], np.clip(1.5 - away, 0, 1)[far], atol=1e-3)
    assert (found[far] == 0).any()


def test_high_tilts_fade():
    plain, angle, _ = tilts(-60.0, 60.0, 1.0)
    faded = module._tilts(Given(50.0, 1.0, 10.0, 10.0, 1.0), SMALL, 40)[:, 0].numpy()
    here = (plain == 1) & (np.abs(angle) < 60)
    np.testing.assert_allclose(faded[here], np.cos(np.radians(np.round(angle[here]))), atol=0.01)


def blob(edge, at_xyz, sigma):
    z, y, x = np.indices((edge,) * 3) - edge // 2
    distance2 = (x - at_xyz[0]) ** 2 + (y - at_xyz[1]) ** 2 + (z - at_xyz[2]) ** 2
    return np.exp(-distance2 / (2 * sigma**2))


@pytest.mark.parametrize(("fine", "box", "step"), [(64, 32, 2.0), (64, 32, 1.0), (48, 32, 1.6), (32, 40, 2.2)])
def test_a_blob_lands_in_its_place_and_size(fine, box, step):
    at, sigma, shift = np.array([6.0, -3.0, 4.0]), 3.0, np.array([1.5, 0.25, -2.0])
    turn = Rotation.from_euler("xyz", (20, 40, 70), degrees=True).as_matrix()
    source = torch.from_numpy(blob(fine, at, sigma)).float()
    got = place(source[None], turn[None], shift[None], box, step)[0].numpy()
    expected = blob(box, turn @ at / step + shift, sigma / step)
    assert np.abs(got - expected).max() < 0.06
    # a factor on the matrix enlarges about the centre
    got = place(source[None], 1.3 * turn[None], shift[None], box, step)[0].numpy()
    assert np.abs(got - blob(box, 1.3 * turn @ at / step + shift, 1.3 * sigma / step)).max() < 0.06


def test_half_the_step_is_twice_the_size():
    source = torch.from_numpy(blob(64, (4, 0, -2), 3.0)).float()[None]
    still = np.eye(3)[None], np.zeros((1, 3))
    large, small = (place(source, *still, 64, step)[0].numpy() for step in (1.0, 2.0))
    np.testing.assert_allclose(large[::2, ::2, ::2], small[16:48, 16:48, 16:48], atol=1e-5)


def test_places_at_half_the_voxel_size_are_those_of_before():
    """The formula that made the sample data."""
    rng = np.random.default_rng(0)
    box = 16
    source = torch.from_numpy(rng.standard_normal((2, 2 * box, 2 * box, 2 * box))).float()
    matrix, shift = np.stack([random_matrix(rng) for _ in range(2)]), rng.uniform(-1, 1, (2, 3))
    inverse = np.swapaxes(matrix, -1, -2)
    corner = np.einsum("nij,nj->ni", inverse, (box - 1) / 2 - box // 2 - shift)
    offset = 2 / (2 * box - 1) * (box + 2 * corner) - 1
    theta = torch.from_numpy(
        np.concatenate((2 * (box - 1) / (2 * box - 1) * inverse, offset[:, :, None]), axis=2)
    ).float()
    grid = torch.nn.functional.affine_grid(theta, [2, 1, box, box, box], align_corners=True)
    before = torch.nn.functional.grid_sample(source[:, None], grid, align_corners=True)[:, 0]
    np.testing.assert_allclose(place(source, matrix, shift, box), before, atol=1e-4)


def test_a_body_that_leaves_the_cube_is_cut():
    fine = torch.from_numpy(blob(32, (0, 0, 0), 4.0)).float()
    edge = 16 + 2 * MARGIN
    for offset in ((0.0, 0.0, 0.0), (11.0, -3.3, 5.0), (40.0, 0.0, 0.0)):
        target = torch.zeros((edge,) * 3)
        module._add_body(target, fine, np.eye(3), np.array(offset), 2.0)
        np.testing.assert_allclose(target, blob(edge, offset, 2.0), atol=0.03)


def test_made_up_complexes_are_known_by_their_number_and_of_the_size_that_is_said():
    across = []
    for number in range(60):
        xyz = made_up(number)
        assert np.linalg.norm(xyz, axis=1).max() <= 165
        across.append(2 * np.linalg.norm(xyz - xyz.mean(0), axis=1).max())
    assert max(across) <= 330
    assert np.mean([75 <= d <= 285 for d in across]) >= 0.85
    assert np.std(across) > 40
    np.testing.assert_array_equal(made_up(7), complex_points("made-up-7")[0].xyz_angst_N3)
    assert len({made_up(number).tobytes() for number in range(10)}) == 10
    # weights were trained on these: a number must not come to mean another complex
    assert [len(made_up(number)) for number in range(4)] == [2640, 96, 3734, 28]
    assert made_up(1)[0] == pytest.approx([-26.614074, 4.089658, 11.093564], abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"voxel_size_angst": (16.0, 6.0)},
            "voxel size 16,6: expected two numbers between 5.36 and 16.8 Å, the smaller one first",
        ),
        ({"voxel_size_angst": (3.0, 6.0)}, "voxel size 3,6"),
        ({"snr": (0.0, 0.5)}, "SNR 0,0.5"),
        ({"snr": (math.nan, 0.5)}, "SNR nan,0.5"),
        ({"tilt_deg": (60.0, 89.0)}, "tilt 60,89"),
        ({"tilt_step_deg": (0.0, 3.0)}, "tilt step 0,3"),
        ({"defocus_um": (4.0, 2.0)}, "defocus 4,2"),
        ({"amplitude_contrast": (0.1, 2.0)}, "amplitude contrast 0.1,2"),
        ({"pick_error_voxel": -1.0}, "pick error -1"),
        ({"false_picks": 1.0}, "false picks 1: expected a share"),
        ({"neighbours": -1}, "neighbours -1"),
        ({"box": 31}, "box 31: expected an even number"),
    ],
)
def test_conditions_that_make_no_sense(changes, message):
    with pytest.raises(TomoTutorError, match=message):
        Variation(**changes)


def test_complexes_that_do_not_fit_are_left_out_and_said(caplog):
    coarse = Variation(box=16, voxel_size_angst=(11.0, 12.0))
    library = make_library([Structure(name) for name in ("ribosome", "proteasome", "ferritin")], coarse)
    assert library.names == ("proteasome", "ferritin")
    assert "ribosome: left out (ribosome: its diameter of 285 Å does not fit a box of 16 voxels" in caplog.text
    assert (library.diameter_K > 6 * 12).all()
    with pytest.raises(TomoTutorError, match="found 1 complexes that fit a box of 16 voxels; expected two at least"):
        make_library([Structure(name) for name in ("ribosome", "ferritin")], coarse)
