import hashlib

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tomotutor.formats.mrc import open_mrc
from tomotutor.sample import CLASSES, create_sample_session, sample_data
from tomotutor.session import Session
from tomotutor.simulate import COMPLEXES, ctf, density, rotate, simulate_tomogram, wedge, write_tomograms
from tomotutor.sources import Source, open_pool


def centre(volume):
    return np.array([(g * volume).sum() for g in np.indices(volume.shape)]) / volume.sum()


def test_rotation_turns_about_the_centre_voxel_and_keeps_hand():
    volume = np.zeros((32, 32, 32), np.float32)
    z, y, x = np.indices(volume.shape)
    at = {"x": (16, 16, 24), "y": (16, 22, 16), "z": (20, 16, 16)}
    for zyx in at.values():
        volume += np.exp(-((z - zyx[0]) ** 2 + (y - zyx[1]) ** 2 + (x - zyx[2]) ** 2) / 2)
    matrix = Rotation.from_euler("z", 90, degrees=True).as_matrix()  # x → y, y → −x
    turned = rotate(torch.from_numpy(volume), matrix).numpy()
    expected = np.zeros_like(volume)
    for zyx in ((16, 24, 16), (16, 16, 10), (20, 16, 16)):
        expected += np.exp(-((z - zyx[0]) ** 2 + (y - zyx[1]) ** 2 + (x - zyx[2]) ** 2) / 2)
    np.testing.assert_allclose(turned, expected, atol=0.01)


@pytest.mark.parametrize("name", COMPLEXES)
def test_complexes_fit_their_box(name):
    volume = density(name, 32, 10.0)
    assert volume.max() == pytest.approx(1, abs=0.05)
    assert volume[0].max() < 0.02
    turned = rotate(torch.from_numpy(volume), Rotation.random(rng=np.random.default_rng(0)).as_matrix()).numpy()
    assert turned.sum() == pytest.approx(volume.sum(), rel=0.02)


def test_wedge_lies_along_z_and_is_constant_along_y():
    mask = wedge((16, 16, 16), 60).numpy()
    assert not mask[5, 0, 0]  # along the beam nothing is measured
    assert mask[0, 5, 5]
    assert mask[0, 0, 0]
    assert (mask == mask[:, :1]).all()
    x = np.fft.rfftfreq(16)[None, :]
    z = np.fft.fftfreq(16)[:, None]
    np.testing.assert_array_equal(mask[:, 0], np.abs(np.degrees(np.arctan2(np.abs(z), x))) <= 60 + 1e-6)


def test_ctf_against_the_formula_at_one_frequency():
    shape, voxel, defocus = (32, 32, 32), 10.0, 4e4
    k = 5 / (32 * voxel)
    wavelength = 12.2643 / np.sqrt(300e3 + 0.97845e-6 * 300e3**2)
    gamma = np.pi * wavelength * defocus * k**2 - 0.5 * np.pi * 2.7e7 * wavelength**3 * k**4
    expected = np.sqrt(1 - 0.07**2) * np.sin(gamma) + 0.07 * np.cos(gamma)
    assert float(ctf(shape, voxel, defocus)[0, 0, 5]) == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def tomogram():
    return simulate_tomogram((48, 96, 100), {"shell": 4, "rod": 3, "junk": 2}, seed=3, snr=0.1)


def test_truth_is_where_the_density_is(tomogram, tmp_path):
    write_tomograms(tmp_path, {"t": tomogram}, 10.0, error_voxel=0.0)
    source = Source("particles", str(tmp_path / "particles.star"), str(tmp_path / "tomograms.star"), str(tmp_path))
    pool = open_pool(source)
    boxes = pool.read(np.arange(len(pool)))[:, 0]
    is_shell = np.array([c == "shell" for c in tomogram.classes])
    radius = np.linalg.norm(np.indices((32, 32, 32)) - 16, axis=0) * 10
    inside = boxes[is_shell].mean(0)
    assert inside[np.abs(radius - 100) < 15].mean() > 3 * abs(inside[radius > 150].mean())  # bright: inverted from protein-dark
    assert open_mrc(tmp_path / "tomograms" / "t.mrc").data.dtype == np.int8


def test_noise_and_signal_miss_the_same_wedge(tomogram):
    spectrum = np.abs(np.fft.rfftn(tomogram.volume.astype(float)))
    measured = wedge(tomogram.volume.shape, 60).numpy().astype(bool)
    assert spectrum[~measured].mean() < 0.1 * spectrum[measured].mean()  # what is left is rounding to int8


def test_same_seed_same_bytes(tmp_path):
    digests = []
    for name in ("a", "b"):
        tomograms = {"t": simulate_tomogram((40, 64, 64), {"rod": 2, "junk": 1}, seed=1)}
        write_tomograms(tmp_path / name, tomograms, 10.0)
        digests.append([hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((tmp_path / name).rglob("*.*"))])
    assert digests[0] == digests[1]
    assert not np.array_equal(
        simulate_tomogram((40, 64, 64), {"rod": 2}, seed=1).volume, simulate_tomogram((40, 64, 64), {"rod": 2}, seed=2).volume
    )


def test_the_sample_session_opens(tmp_path):
    made = create_sample_session(tmp_path / "s")
    assert made.items > 150
    assert (made.padded, made.duplicates) == (0, 0)
    session = Session(tmp_path / "s", write=False)
    assert session.classes == (*CLASSES, "junk")
    assert session.pool.shape == (1, 32, 32, 32)


def test_sample_data_is_small():
    files = [p for p in sample_data().rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 12e6
    assert max(p.stat().st_size for p in files) < 5e6
