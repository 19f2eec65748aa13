import dataclasses
import math

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers import write_mrc, write_star
from tomotutor.data.pool import Cut, Pool
from tomotutor.data.sources import Source, open_pool
from tomotutor.export.averages import average, measured, write_averages
from tomotutor.formats.particles.euler import angles_to_matrix
from tomotutor.learn.results import Predictions

BOX = 24
# blobs of an asymmetric, handed particle: (x, y, z) from its centre, voxels, and their weights
BLOBS = np.array([[6.0, 0, 0], [-3, 5, 1], [0, -4, 5], [-2, -2, -6], [3, 3, 3]])
WEIGHTS = np.array([1.0, 0.8, 0.9, 0.7, 0.5])


def relion_matrix(rot, tilt, psi):
    """RELION's Euler_angles2matrix, term by term: from the reference into the tomogram."""
    ca, cb, cg = (math.cos(math.radians(a)) for a in (rot, tilt, psi))
    sa, sb, sg = (math.sin(math.radians(a)) for a in (rot, tilt, psi))
    cc, cs, sc, ss = cb * ca, cb * sa, sb * ca, sb * sa
    return np.array(
        [
            [cg * cc - sg * sa, cg * cs + sg * ca, -cg * sb],
            [-sg * cc - cg * sa, -sg * cs + cg * ca, sg * sb],
            [sc, ss, cb],
        ]
    )


def particle(matrix=None, offset_zyx=(0, 0, 0), box=BOX):
    """The particle turned by a matrix about voxel box // 2 (+ offset): its blobs are placed anew, nothing is
    interpolated.
    """
    z, y, x = np.indices((box,) * 3) - box // 2
    volume = np.zeros((box,) * 3)
    for at, weight in zip(
        BLOBS @ (np.eye(3) if matrix is None else matrix).T + np.array(offset_zyx)[::-1], WEIGHTS, strict=True
    ):
        volume += weight * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / (2 * 1.6**2))
    return volume


def wedged(volume, low, high):
    """Keep kz / kx between tan(low) and tan(high): written with angles, unlike ours."""
    kz, _, kx = np.meshgrid(*[np.fft.fftfreq(n) for n in volume.shape], indexing="ij")
    angle = np.rad2deg(np.arctan2(kz, kx))
    angle = np.where(angle > 90, angle - 180, np.where(angle < -90, angle + 180, angle))
    keep = ((angle >= low - 1e-6) & (angle <= high + 1e-6)) | ((kz == 0) & (kx == 0))
    return np.fft.ifftn(np.fft.fftn(volume) * keep).real


def correlation(a, b):
    inside = np.linalg.norm(np.indices(a.shape) - BOX // 2, axis=0) < BOX / 2 - 1
    return np.corrcoef(a[inside], b[inside])[0, 1]


def write_tomogram_set(folder, angles, *, subtomogram=None, tilt_range=(-60, 60), noise=0.5, seed=0, columns=()):
    """A tomogram of turned, wedged, noisy particles at sub-voxel places, with a list that has their angles."""
    rng = np.random.default_rng(seed)
    n = len(angles)
    side = math.ceil(math.sqrt(n))
    shape = (BOX + 8, side * BOX + 8, side * BOX + 8)
    volume = np.zeros(shape)
    rows = []
    for i, angle in enumerate(angles):
        matrix = relion_matrix(*angle)
        if subtomogram is not None:
            matrix = relion_matrix(*subtomogram[i]) @ matrix
        start = np.array([4, 4 + BOX * (i // side), 4 + BOX * (i % side)])
        offset = rng.uniform(-0.49, 0.49, 3)
        volume[tuple(slice(s, s + BOX) for s in start)] += particle(matrix, offset)
        rows.append([(start[a] + BOX // 2 + offset[a] - shape[a] / 2) * 10 for a in (2, 1, 0)])
    volume = wedged(volume + rng.normal(0, noise * particle().std() * 2, shape), *tilt_range)
    write_mrc(folder / "t.mrc", -volume.astype(np.float32))
    table = {"rlnTomoName": ["t"] * n}
    table |= {f"rlnCenteredCoordinate{a}Angst": [f"{r[i]:.4f}" for r in rows] for i, a in enumerate("XYZ")}
    table |= {f"rlnAngle{a}": [f"{x[i]:.4f}" for x in angles] for i, a in enumerate(("Rot", "Tilt", "Psi"))}
    if subtomogram is not None:
        table |= {
            f"rlnTomoSubtomogram{a}": [f"{x[i]:.4f}" for x in subtomogram] for i, a in enumerate(("Rot", "Tilt", "Psi"))
        }
    star = write_star(folder / "p.star", "particles", {k: v for k, v in table.items() if k not in columns})
    return Source("particles", str(star), root=str(folder), tomogram_dir=str(folder), box=BOX, tilt_range=tilt_range)


def random_angles(n, seed=1):
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.uniform(-180, 180, n), np.rad2deg(np.arccos(rng.uniform(-1, 1, n))), rng.uniform(-180, 180, n)], 1
    )


@pytest.mark.parametrize("tilt_range", [(-60.0, 60.0), (-35.0, 60.0)])
def test_turned_wedged_noisy_copies_average_to_the_particle(tmp_path, tilt_range):
    angles = random_angles(64)
    source = write_tomogram_set(tmp_path, angles, tilt_range=tilt_range)
    pool = open_pool(source)
    matrices = angles_to_matrix(pool.angles_deg_N3)
    np.testing.assert_allclose(matrices, [relion_matrix(*a) for a in angles], atol=1e-5)
    rows = np.arange(64)
    found = correlation(average(pool, rows, matrices), particle())
    assert found > 0.97
    wrong = {
        "transposed": matrices.transpose(0, 2, 1),
        "zxz": Rotation.from_euler("ZXZ", angles, degrees=True).as_matrix().transpose(0, 2, 1),
        "z first": matrices[:, ::-1, ::-1],
    }
    assert all(correlation(average(pool, rows, m), particle()) < 0.7 for m in wrong.values())
    assert correlation(average(pool, rows, None), particle()) < 0.6
    assert correlation(pool.read(np.array([0]))[0, 0], particle()) < 0.6


def test_averages_are_made_of_raw_boxes(tmp_path):
    source = write_tomogram_set(tmp_path, random_angles(4))
    filtered = open_pool(source.replace(low_pass=60.0))
    matrices = angles_to_matrix(filtered.angles_deg_N3)
    smooth = filtered.read(np.arange(4))  # kept in its cache
    assert smooth.std() > 0
    expected = average(open_pool(source), np.arange(4), matrices)
    np.testing.assert_array_equal(average(filtered, np.arange(4), matrices), expected)


def test_angles_of_subtomogram_and_particle_go_together(tmp_path):
    source = write_tomogram_set(tmp_path, random_angles(36), subtomogram=random_angles(36, 2))
    pool = open_pool(source)
    assert correlation(average(pool, np.arange(36), angles_to_matrix(pool.angles_deg_N3)), particle()) > 0.93


def test_wedge_weights_put_back_what_a_wedge_takes_away():
    """Particles of a preferred orientation: turned about y by up to 60°, their tilts together measure all; plain sums
    weaken some.
    """
    angles = [(0, t, 0) for t in np.linspace(-60, 60, 25)]
    boxes = [wedged(particle(relion_matrix(*a)), -40, 40) for a in angles]
    pool = Pool(
        tuple(map(str, range(25))),
        (1, BOX, BOX, BOX),
        lambda row: Cut(boxes[row][None]),
        tilt_range_N2=np.tile([-40.0, 40], (25, 1)),
    )
    matrices = np.array([relion_matrix(*a) for a in angles])
    weighted = average(pool, np.arange(25), matrices)
    plain = average(Pool(pool.ids, pool.shape, pool.cut), np.arange(25), matrices)
    assert correlation(weighted, particle()) > 0.97
    assert correlation(plain, particle()) < 0.93


def test_measured_frequencies_of_a_turned_particle():
    matrix = relion_matrix(40, 70, -20)
    got = measured((9, 10, 11), (-50.0, 62.0), matrix)
    for z, y, x in np.ndindex(got.shape):
        k = matrix @ [x / 11, (y - 10 * (y > 4)) / 10, (z - 9 * (z > 4)) / 9]
        if y == 5:
            continue  # +Nyquist and −Nyquist are one
        angle = math.degrees(math.atan2(k[2], k[0]))
        angle -= 180 * round(angle / 180)
        if min(abs(angle + 50), abs(angle - 62)) > 0.01:
            assert got[z, y, x] == ((-50 <= angle <= 62) or not (x or y or z)), (z, y, x)
    assert measured((4, 4, 4), (np.nan, np.nan), matrix).all()


def test_files_say_how_many_and_how(tmp_path):
    source = write_tomogram_set(tmp_path, random_angles(9))
    predictions = Predictions(np.array([0] * 5 + [1] * 4), np.ones(9), np.zeros(9), np.zeros(9, bool))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "average_junk.mrc").write_text("of an earlier export")
    pool = open_pool(source)
    done = []
    written = write_averages(
        tmp_path / "out", pool, predictions, ["big one", "small", "junk"], lambda p: done.append((p.done, p.total))
    )
    assert (
        [p.name for p in written]
        == ["average_big_one.mrc", "average_small.mrc"]
        == sorted(p.name for p in (tmp_path / "out").iterdir())
    )
    assert done[-1] == (9, 9)
    with mrcfile.open(written[0]) as mrc:
        assert mrc.get_labels() == [
            "TomoTutor: class big one, average of 5 particles",
            "aligned by the list's angles, weighted by the missing wedge",
        ]
        assert mrc.voxel_size.x == 10
        assert mrc.data.shape == (BOX,) * 3
        np.testing.assert_allclose(
            mrc.data, average(pool, np.arange(5), angles_to_matrix(pool.angles_deg_N3)), atol=1e-6
        )
    without = dataclasses.replace(pool, angles_deg_N3=np.full((len(pool), 3), np.nan))
    (plain,) = write_averages(tmp_path / "plain", without, Predictions(np.zeros(9, int), *[np.zeros(9)] * 3), ["a"])
    with mrcfile.open(plain) as mrc:
        assert mrc.get_labels()[1] == "not aligned: the list has no angles"
        np.testing.assert_allclose(mrc.data, pool.read(np.arange(9)).mean(0)[0], atol=1e-5)


def test_lists_without_angles(tmp_path):
    source = write_tomogram_set(tmp_path, random_angles(4), columns=("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
    assert np.isnan(open_pool(source).angles_deg_N3).all()
