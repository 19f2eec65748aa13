"""Items of varied conditions: what is drawn stays in its range, and what is drawn is what comes out."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate import Structure
from tomotutor.simulate import varied as module
from tomotutor.simulate.complexes import complex_points, made_up
from tomotutor.simulate.densities import make_density
from tomotutor.simulate.fourier import frequencies
from tomotutor.simulate.optics import tilt_planes, wedge
from tomotutor.simulate.rotation import place, random_matrix
from tomotutor.simulate.variation import LADDER_ANGST, MARGIN, Variation, draw
from tomotutor.simulate.varied import add_body, make_library, make_varied, place_bodies

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


def made(library, items, seed=0, variation=SMALL):
    x, y = make_varied(library, items, seed, variation)
    return x.numpy(), y.numpy()


def drawn(library, count, seed, variation):
    return draw(library.rungs_K, library.diameter_K, np.arange(count), seed, variation)


def imaged(library, count, seed, variation):
    """The draws, each item's signal and the noise alone, in the box."""
    draws = drawn(library, count, seed, variation)
    own = place_bodies(library, draws, variation.box, "cpu")[0]
    plain = dataclasses.replace(draws, low_N=0 * draws.low_N, high_N=0 * draws.high_N)
    signal, _, x = module._image(own, torch.zeros_like(own), plain, variation.box)  # without debris beside
    return draws, signal.numpy(), (x - signal).numpy()


def test_the_same_batch_gives_the_same_bytes(library):
    items = np.arange(8)
    x, y = made(library, items, 3)
    again_x, again_y = made(library, items, 3)
    assert x.tobytes() == again_x.tobytes()
    assert y.tolist() == again_y.tolist()
    assert not np.allclose(x, made(library, items, 4)[0])
    assert not np.allclose(x, made(library, items + 8, 3)[0])


def test_items_are_normalised_and_have_their_class(library):
    x, y = made(library, np.arange(64))
    assert x.shape == (64, 16, 16, 16)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x.mean((1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(x.std((1, 2, 3)), 1, atol=1e-3)
    assert set(y) == {0, 1, 2, 3}  # the last one: false picks
    y = drawn(library, 2000, 0, SMALL).class_N
    assert (y == 3).mean() == pytest.approx(0.2, abs=0.04)
    for k in range(3):
        assert (y == k).mean() == pytest.approx(0.8 / 3, abs=0.04)
    assert set(made(library, np.arange(16), 0, Variation(box=16, voxel_size_angst=(11, 15), false_picks=0))[1]) <= {
        0,
        1,
        2,
    }


@pytest.mark.parametrize("bounds", [(0.02, 0.5), (0.1, 0.1)])
def test_the_snr_is_what_was_drawn(library, bounds):
    alone = Variation(
        box=16, voxel_size_angst=(11.0, 15.0), neighbours=0, pick_error_voxel=0, false_picks=0, snr=bounds
    )
    draws, signal, noise = imaged(library, 48, 1, alone)
    snr = signal.var((1, 2, 3)) / noise.var((1, 2, 3))
    np.testing.assert_allclose(snr, draws.snr_N, rtol=0.25)  # one noise of 16³ voxels
    assert (snr / draws.snr_N).mean() == pytest.approx(1, abs=0.02)
    snr = draws.snr_N
    assert (snr > bounds[0] * 0.999).all()
    assert (snr < bounds[1] * 1.001).all()
    # triangular on a logarithmic scale
    assert np.log(snr).mean() == pytest.approx(
        np.log(bounds).mean(), abs=5 * np.ptp(np.log(bounds)) / math.sqrt(24 * 48) + 1e-3
    )


def test_a_false_pick_has_the_noise_of_a_complex_beside_it(library):
    even = Variation(box=16, voxel_size_angst=(11.0, 15.0), neighbours=0, false_picks=0.5, snr=(0.1, 0.1))
    draws = drawn(library, 16, 1, even)
    signal, scale, _ = module._image(*place_bodies(library, draws, 16, "cpu"), draws, 16)
    true = draws.class_N < 3
    assert 0 < true.sum() < 16
    assert (draws.like_N[true] == np.flatnonzero(true)).all()
    assert true[draws.like_N].all()
    one = dataclasses.replace(draws, like_N=np.full(16, -1))
    unit = module._image(*place_bodies(library, draws, 16, "cpu"), one, 16)[1]  # for a signal of variance 1
    np.testing.assert_allclose((scale / unit).numpy() ** 2, signal.numpy().var((1, 2, 3))[draws.like_N], rtol=1e-3)


# 3072 items of the generator that made the shipped weights, one body after another: mean power in shells of the box's
# frequencies, and mean fourth power
POWER = (25.5029, 9.1101, 4.2381, 2.1621, 1.0659, 0.7304, 0.5956, 0.5286)
FOURTH = 4.3166


def test_items_have_the_statistics_of_those_that_the_shipped_weights_saw(library):
    x = np.concatenate([made(library, np.arange(32) + first, 7)[0] for first in range(0, 1024, 32)])
    power = (np.abs(np.fft.fftn(x, axes=(1, 2, 3))) ** 2).mean(0) / 16**3
    shell = np.round(np.sqrt(sum(np.meshgrid(*[(16 * np.fft.fftfreq(16)) ** 2] * 3, indexing="ij")))).astype(int)
    shells = np.bincount(shell.ravel(), power.ravel()) / np.bincount(shell.ravel())
    np.testing.assert_allclose(shells[1:9], POWER, rtol=0.08)
    assert (x.astype(float) ** 4).mean() == pytest.approx(FOURTH, rel=0.03)


def test_voxel_sizes_stay_in_their_range_and_near_their_density(library):
    draws = drawn(library, 1000, 0, SMALL)
    voxel, bodies = draws.voxel_angst_N, draws.bodies
    rung = np.array(LADDER_ANGST)[bodies.rung_M]
    assert voxel.min() >= 11
    assert voxel.max() <= 15
    assert np.ptp(voxel) > 3
    assert np.abs(np.log(voxel[bodies.row_M] / rung)).max() <= 0.11 + 1e-9
    assert set(zip(bodies.complex_M, bodies.rung_M, strict=True)) <= set(library.fine_KL)


def test_one_voxel_size_between_two_rungs():
    narrow = Variation(
        box=16, voxel_size_angst=(10.7, 10.7), tilt_step_deg=(3, 3), defocus_um=(4, 4), tilt_deg=(60, 60)
    )
    library = make_library([Structure(name) for name in NAMES], narrow)
    assert {LADDER_ANGST[rung] for _, rung in library.fine_KL} == {12.0}
    assert set(drawn(library, 20, 0, narrow).voxel_angst_N) == {10.7}
    assert np.isfinite(made(library, np.arange(4), 0, narrow)[0]).all()


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
    assert np.isfinite(made(library, np.arange(32), 0, far)[0]).all()


def tilts(low, high, step, edge=40, fading=0.0):
    """The mask of a tilt series, (z, x), with the angle and radius (voxels) of each frequency."""
    series = torch.deg2rad(torch.tensor([[low, high, step]]))
    found = tilt_planes(edge, series, torch.tensor([fading]))[0, :, 0].numpy()
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
    faded = tilts(-60.0, 60.0, 1.0, fading=1.0)[0]
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


def test_bodies_lie_where_place_puts_them_and_are_cut_at_the_cube(library):
    """Though only the part is computed where there is something."""
    rng = np.random.default_rng(0)
    edge = 16 + 2 * MARGIN
    for (k, rung), fine in library.fine_KL.items():
        whole = torch.from_numpy(make_density(Structure(NAMES[k]), 16, LADDER_ANGST[rung]).fine_DHW)
        for far in (0, 4, 9, 60):
            turn, offset, step = random_matrix(rng), rng.normal(0, far, 3), 2 * rng.uniform(0.9, 1.1)
            target = torch.ones((edge,) * 3)
            add_body(target, fine, library.hull_KL[k, rung], turn, offset, step, 0.7)
            expected = place(whole[None], turn[None] * (2 / step), offset[None], edge)[0]
            np.testing.assert_allclose(target - 1, 0.7 * expected, atol=0.01 * float(whole.max()))


def test_noise_in_fourier_space_is_that_of_white_noise():
    like = torch.empty(64, 12, 12, 7, dtype=torch.complex64)
    spectrum = module._white(like, 5)
    white = torch.fft.irfftn(spectrum, s=(12,) * 3, dim=(1, 2, 3))
    torch.testing.assert_close(torch.fft.rfftn(white, dim=(1, 2, 3)), spectrum, atol=1e-3, rtol=1e-3)
    power = torch.fft.rfftn(white, dim=(1, 2, 3)).abs().square().mean(0) / 12**3
    for plane in (0, 3, 6):
        assert float(power[..., plane].mean()) == pytest.approx(1, abs=0.06)
    assert float(white.pow(4).mean()) == pytest.approx(3, rel=0.05)
    assert torch.equal(module._white(like, 5), spectrum)
    assert not torch.equal(module._white(like, 6), spectrum)


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
