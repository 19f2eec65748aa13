import logging

import h5py
import mrcfile
import numpy as np
import pytest

from helpers import write_mrc, write_star
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source, open_pool
from tomotutor.formats.particles.relion_sets import read_tomograms

zarr = pytest.importorskip("zarr")
SHAPE = (56, 62, 90)
BALLS = np.array([[27.3, 30.6, 44.9], [24.0, 33.5, 60.25]])  # (z, y, x), voxels of 5 Å, off the grid
BOX = 16


def phantom(sigma=2.0, shape=SHAPE, balls=BALLS):
    grid = np.indices(shape)
    return sum(np.exp(-((grid - ball[:, None, None, None]) ** 2).sum(0) / (2 * sigma**2)) for ball in balls).astype(
        np.float32
    )


def write_set(folder, volume, voxel, zyx, name="t1", **options):
    write_mrc(folder / f"{name}.mrc", volume, voxel)
    return write_list(folder, {name: (volume.shape, voxel, zyx)}, **options)


def write_list(folder, tomograms, **options):
    rows = []
    for name, (shape, voxel, zyx) in tomograms.items():
        rows += [(name, *((p[a] - shape[a] / 2) * voxel for a in (2, 1, 0))) for p in zyx]
    columns = {"rlnTomoName": [r[0] for r in rows]}
    columns |= {f"rlnCenteredCoordinate{a}Angst": [r[1 + i] for r in rows] for i, a in enumerate("XYZ")}
    star = write_star(folder / "p.star", "particles", columns)
    return Source(
        "particles", str(star), root=str(folder), tomogram_dir=str(folder), box=BOX, **{"protein": "bright"} | options
    )


def centre_of_mass(box):
    weight = np.clip(box - 0.2 * box.max(), 0, None)
    return (np.indices(box.shape) * weight).sum((1, 2, 3)) / weight.sum()


def dft_sample(volume, position_zyx, step):
    """Truncated Fourier series of a whole volume at given positions, in float64, by explicit Fourier sums along each
    axis.
    """
    out = volume.astype(np.complex128)
    for axis, position in enumerate(position_zyx):
        n = volume.shape[axis]
        k = np.arange(-(n // 2), (n + 1) // 2)
        k = k[np.abs(k) < n * min(1, 1 / step) / 2 - 1e-9]
        forward = np.exp(-2j * np.pi * np.outer(k, np.arange(n)) / n)
        back = np.exp(2j * np.pi * np.outer(position, k) / n) / n
        out = np.moveaxis(np.tensordot(back @ forward, out, (1, axis)), 0, axis)
    return out.real


@pytest.mark.parametrize("target", [10.0, 7.5, 6.1, 4.0])
def test_a_rescaled_box_has_its_particle_on_the_centre_voxel(tmp_path, target):
    source = write_set(tmp_path, phantom(), 5.0, BALLS)
    pool = open_pool(source.replace(rescale=target))
    assert pool.voxel_size_angst == target
    assert pool.shape == (1, BOX, BOX, BOX)
    step = target / 5
    for row, ball in enumerate(BALLS):
        box = pool.cut(row).values_C[0].astype(np.float64)
        position = [c + (np.arange(BOX) - BOX // 2) * step for c in ball]
        expected = dft_sample(phantom(), position, step)
        np.testing.assert_allclose(box, expected, atol=0.03)  # the other ball is cut through at the border of the cut
        shifted = dft_sample(phantom(), [p + step / 2 for p in position], step)
        assert np.abs(box - shifted).max() > 0.1  # half a voxel off is seen
    lone = open_pool(write_set(tmp_path, phantom(balls=BALLS[:1]), 5.0, BALLS[:1]).replace(rescale=target))
    np.testing.assert_allclose(centre_of_mass(lone.cut(0).values_C[0]), BOX // 2, atol=0.03)


def test_tomograms_of_different_voxel_sizes_become_one(tmp_path):
    write_mrc(tmp_path / "fine.mrc", phantom(2.4, balls=BALLS[:1]), 5.0)
    coarse_at = np.array([20.2, 21.7, 30.4])
    write_mrc(tmp_path / "coarse.mrc", phantom(1.6, (40, 44, 60), coarse_at[None]), 7.5)
    tomograms = {"fine": (SHAPE, 5.0, BALLS[:1]), "coarse": ((40, 44, 60), 7.5, coarse_at[None])}
    source = write_list(tmp_path, tomograms)
    with pytest.raises(TomoTutorError, match=r"different voxel sizes .* bring them to one with --rescale"):
        open_pool(source)
    fine, coarse = (open_pool(source.replace(rescale=9.0)).cut(row).values_C[0] for row in (0, 1))
    np.testing.assert_allclose(fine, coarse, atol=0.02)  # the same ball of 12 Å


def test_rescaled_boxes_that_leave_the_tomogram(tmp_path):
    volume = np.random.default_rng(0).normal(50, 1, SHAPE).astype(np.float32)
    pool = open_pool(
        write_set(tmp_path, volume, 5.0, [[28, 31, 45], [3.2, 31, 45], [28, 31, 88], [-900, 0, 0]], rescale=10.0)
    )
    assert pool.padded_N.tolist() == [False, True, True, True]
    inside, low, high, outside = pool.read(np.arange(4))[:, 0]
    assert inside.all()
    # new voxel j lies at old 3.2 + 2 (j − 8): the first inside (≥ −0.5) is j = 7
    assert not low[:7].any()
    assert low[7:].all()
    # at old 88 + 2 (j − 8), the last inside (< 89.5) is j = 8
    assert not high[:, :, 9:].any()
    assert high[:, :, :9].all()
    assert abs(low[7:].mean()) < 1e-4
    assert not outside.any()


@pytest.mark.parametrize("shape", [(24, 24, 24), (21, 24, 28)])
def test_items_are_fourier_cropped_about_their_centre(tmp_path, shape):
    centre = np.array(shape) // 2 + np.array([0.3, -0.6, 0.9])
    mrcfile.write(tmp_path / "a.mrc", phantom(2.0, shape, centre[None]), voxel_size=5.0)
    pool = open_pool(Source("mrc_dir", str(tmp_path), rescale=10.0))
    new = tuple(n // 2 // 2 * 2 for n in shape)
    assert (pool.shape, pool.voxel_size_angst) == ((1, *new), 10.0)
    expected = np.array(new) // 2 + np.array([0.3, -0.6, 0.9]) / 2
    np.testing.assert_allclose(centre_of_mass(pool.read(np.array([0]))[0, 0]), expected, atol=0.05)


def test_no_rescaling_where_the_voxels_are_those_already(tmp_path):
    volume = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    source = write_set(tmp_path, volume, 5.002, BALLS)
    np.testing.assert_array_equal(open_pool(source.replace(rescale=5.0)).read([0, 1]), open_pool(source).read([0, 1]))


@pytest.mark.parametrize("rescale", [0.0, 10.0])
def test_a_low_passed_box_is_cut_from_a_filtered_tomogram(tmp_path, rescale):
    """Its borders are right because it is cut with a margin: compared with filtering all of the
    tomogram, in float64.
    """
    shape, voxel = (90, 96, 100), 5.0
    volume = np.random.default_rng(0).normal(20, 1, shape).astype(np.float32)
    frequency = np.sqrt(
        sum(
            (np.fft.fftfreq(n, voxel).reshape([-1 if i == a else 1 for i in range(3)])) ** 2
            for a, n in enumerate(shape)
        )
    )
    edge = np.clip((frequency * 40 - 0.75) / 0.5, 0, 1)
    filtered = np.fft.ifftn(np.fft.fftn(volume.astype(np.float64)) * (1 + np.cos(np.pi * edge)) / 2).real
    source = write_set(tmp_path, volume, voxel, [[45, 48, 50]], low_pass=40.0, rescale=rescale)
    found = open_pool(source).read(np.array([0]))[0, 0]
    step = rescale / voxel or 1
    expected = dft_sample(filtered, [c + (np.arange(BOX) - BOX // 2) * step for c in (45, 48, 50)], step)
    expected = (expected - expected.mean()) / expected.std()
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.05
    assert np.abs(found - expected)[0].max() < 0.3  # the border too
    raw = open_pool(source).cut(0).values_C
    assert raw.std() > 0.3  # the raw box stays at hand, for averages
    assert raw.shape == (1, BOX, BOX, BOX)


def test_low_pass_at_the_border_of_a_tomogram_and_for_items(tmp_path):
    volume = np.random.default_rng(0).normal(20, 1, SHAPE).astype(np.float32)
    pool = open_pool(write_set(tmp_path, volume, 5.0, [[3, 31, 45], [500, 31, 45]], low_pass=30.0))
    box, outside = pool.read(np.array([0, 1]))[:, 0]
    assert not box[:5].any()
    assert box[5:].all()
    assert abs(box[5:].std() - 1) < 1e-4
    assert not outside.any()
    mrcfile.write(tmp_path / "stack.mrc", volume[:48, :16, :16].reshape(3, 16, 16, 16), voxel_size=5.0)
    items = open_pool(Source("stack", str(tmp_path / "stack.mrc"), low_pass=30.0)).read(np.arange(3))
    assert np.isfinite(items).all()
    neighbours = np.mean(items[:, 0, 1:] * items[:, 0, :-1])
    assert neighbours > 0.6  # smooth now


def test_normalised_by_the_tomogram(tmp_path):
    rng = np.random.default_rng(0)
    volume = rng.normal(10, 2, SHAPE).astype(np.float32)
    volume[20:36, 20:36, 20:36] += 30
    source = write_set(tmp_path, volume, 5.0, [[28, 28, 28], [28, 28, 70]], normalise="tomogram", protein="dark")
    pool = open_pool(source)
    first, second = pool.read(np.array([0, 1]))[:, 0]
    raw = -pool.cut(0).values_C[0]
    np.testing.assert_allclose(np.corrcoef(first.ravel(), raw.ravel())[0, 1], 1, atol=1e-6)
    mean, std = volume.mean(), volume.std()
    np.testing.assert_allclose(first.mean(), -(raw.mean() * -1 - mean) / std, atol=0.2 * abs(first.mean()))
    assert first.mean() < -3  # the bright block, dark protein: unlike with a box of its own mean
    assert abs(second.mean()) < 0.6
    assert (first.std() / second.std()) == pytest.approx(
        pool.cut(0).values_C.std() / pool.cut(1).values_C.std(), rel=1e-3
    )
    with pytest.raises(TomoTutorError, match="only boxes cut from tomograms"):
        Source("stack", "a.mrc", normalise="tomogram")


def test_bad_preparation_gets_one_clear_sentence(tmp_path):
    source = write_set(tmp_path, phantom(), 5.0, BALLS)
    for options, message in (
        ({"rescale": 100.0}, "rescale is 100 Å, but its voxels 5 Å"),
        ({"rescale": 30.0}, "90×62×56 voxels, less than the box of 16 of 30 Å, 96 of its own"),
        ({"low_pass": 8.0}, "low-pass is 8 Å; with voxels of 5 Å it changes nothing"),
    ):
        with pytest.raises(TomoTutorError, match=message):
            open_pool(source.replace(**options))
    for options, message in (
        ({"rescale": -1.0}, "rescale is -1.0"),
        ({"low_pass": float("nan")}, "low_pass is nan; expected a finite number"),
        ({"normalise": "all"}, "normalise is 'all'"),
        ({"tilt_range": (60.0, -60.0)}, "tilt_range is"),
        ({"byte_sign": "both"}, "byte_sign is 'both'; expected one of signed, unsigned, or nothing"),
    ):
        with pytest.raises(TomoTutorError, match=message):
            source.replace(**options)
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 8), np.float32))
    array = Source("array", str(tmp_path / "a.npy"))
    for options, message in (
        ({"rescale": 10.0}, "no voxel size, which --rescale needs"),
        ({"low_pass": 10.0}, "no voxel size, which --low-pass needs"),
        ({"rescale": 12.0, "voxel_size": 5.0}, "have an edge of 2 at 12 Å; expected 8 at least"),
        ({"tilt_dir": str(tmp_path)}, "belong to no tomogram"),
    ):
        with pytest.raises(TomoTutorError, match=message):
            open_pool(array.replace(**options))
    np.save(tmp_path / "b.npy", np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(TomoTutorError, match="items are 2D"):
        open_pool(Source("array", str(tmp_path / "b.npy"), low_pass=20.0, voxel_size=5.0))


def test_source_goes_through_toml_and_back():
    source = Source(
        "particles",
        "a.star",
        tilt_range=(-60.0, 50.0),
        rescale=10.0,
        low_pass=30.0,
        normalise="tomogram",
        byte_sign="unsigned",
    )
    assert Source.from_dict(source.to_dict()) == source


# ---- other formats as sources
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".em", ".h5", ".zarr", ".mrc.gz"])
def test_tomograms_of_every_format(tmp_path, ending):
    import gzip

    import emfile

    volume = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    source = write_set(tmp_path, volume, 5.0, BALLS, voxel_size=5.0)
    expected = open_pool(source).read(np.array([0, 1]))
    mrc = tmp_path / "t1.mrc"
    if ending == ".em":
        emfile.write(tmp_path / "t1.em", volume)
    elif ending == ".h5":
        with h5py.File(tmp_path / "t1.h5", "w") as file:
            file.create_dataset("v", data=volume, chunks=(16, 16, 16), compression="gzip")
    elif ending == ".zarr":
        zarr.create_array(str(tmp_path / "t1.zarr"), data=volume, chunks=(16, 16, 16))
    else:
        (tmp_path / "t1.mrc.gz").write_bytes(gzip.compress(mrc.read_bytes()))
    mrc.unlink()
    np.testing.assert_array_equal(open_pool(source).read(np.array([0, 1])), expected)


def test_an_ome_zarr_pyramid_is_read_at_the_level_asked_for(tmp_path):
    group = zarr.open_group(str(tmp_path / "t1.zarr"), mode="w", zarr_format=2)
    ball = np.array([[40.0, 44.0, 50.0]])  # on voxels of both levels
    group.create_array("0", data=phantom(3.0, (80, 88, 96), ball))
    group.create_array("1", data=phantom(1.5, (40, 44, 48), ball / 2))
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [5.0 * 2**n] * 3}]} for n in (0, 1)
    ]
    axes = [{"name": a, "type": "space", "unit": "angstrom"} for a in "zyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets}]
    source = write_list(tmp_path, {"t1": ((80, 88, 96), 5.0, ball)})
    fine, coarse = open_pool(source), open_pool(source.replace(rescale=10.0))
    assert (fine.voxel_size_angst, coarse.voxel_size_angst) == (5.0, 10.0)
    np.testing.assert_array_equal(coarse.cut(0).values_C[0], np.asarray(group["1"])[12:28, 14:30, 17:33])
    np.testing.assert_allclose(centre_of_mass(fine.cut(0).values_C[0]), 8, atol=0.01)


def test_stacks_of_other_formats_and_folders_of_em_files(tmp_path):
    import emfile

    volumes = np.random.default_rng(0).normal(size=(4, 10, 10, 10)).astype(np.float32)
    mrcfile.write(tmp_path / "s.mrc", volumes)
    expected = open_pool(Source("stack", str(tmp_path / "s.mrc"))).read(np.arange(4))
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["volumes"] = volumes
    zarr.create_array(str(tmp_path / "s.zarr"), data=volumes)
    emfile.write(tmp_path / "s.em", volumes.reshape(40, 10, 10))
    for name, ndim in (("s.h5", 0), ("s.zarr", 0), ("s.em", 3)):
        np.testing.assert_array_equal(
            open_pool(Source("stack", str(tmp_path / name), ndim=ndim)).read(np.arange(4)), expected
        )
    for i, volume in enumerate(volumes):
        (tmp_path / "dir").mkdir(exist_ok=True)
        emfile.write(tmp_path / "dir" / f"{i}.em", volume)
    pool = open_pool(Source("mrc_dir", str(tmp_path / "dir")))
    assert pool.ids == ("0.em", "1.em", "2.em", "3.em")
    np.testing.assert_array_equal(pool.read(np.arange(4)), expected)


def test_folders_of_2d_tilt_stacks_are_refused_with_the_reason(tmp_path):
    with mrcfile.new(tmp_path / "p_000001.mrcs", np.zeros((37, 32, 32), np.float32)) as mrc:
        mrc.set_image_stack()
    with pytest.raises(TomoTutorError, match=r"only \.mrcs files, .*cut out of the tilts and are no volumes"):
        open_pool(Source("mrc_dir", str(tmp_path)))
    star = tmp_path / "p.star"
    columns = "_rlnTomoName\n_rlnImageName\n" + "".join(f"_rlnCenteredCoordinate{a}Angst\n" for a in "XYZ")
    star.write_text(
        f"data_general\n_rlnTomoSubTomosAre2DStacks 1\n\ndata_particles\nloop_\n{columns}t1 p_000001.mrcs 0 0 0\n"
    )
    with pytest.raises(TomoTutorError, match=r"p\.star: its images are 2D tilt stacks, .* with --tomogram-dir"):
        open_pool(Source("particles", str(star), root=str(tmp_path)))
    write_mrc(tmp_path / "t1.mrc", np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32))
    assert len(open_pool(Source("particles", str(star), root=str(tmp_path), tomogram_dir=str(tmp_path), box=16))) == 1


def test_a_real_warp_list_is_refused_with_the_reason(data):
    with pytest.raises(TomoTutorError, match="2D tilt stacks"):
        open_pool(Source("particles", str(data / "formats" / "warptools.star")))


# ---- tilts
# --------------------------------------------------------------------------------------------------------------


def test_tilt_ranges_from_every_place(tmp_path, caplog):
    tomograms = dict.fromkeys(("a", "b", "c"), (SHAPE, 5.0, BALLS))
    for name in tomograms:
        write_mrc(tmp_path / f"{name}.mrc", phantom(), 5.0)
    source = write_list(tmp_path, tomograms)
    assert np.isnan(open_pool(source).tilt_range_N2).all()
    np.testing.assert_array_equal(open_pool(source.replace(tilt_range=(-40.0, 60.0))).tilt_range_N2, [[-40, 60]] * 6)

    folder = tmp_path / "tilts"
    folder.mkdir()
    (folder / "a.tlt").write_text("  -58.02\n  -3.0\n\n  60.5\n")
    (folder / "b.rawtlt").write_text("45\n0\n-45\n")
    with caplog.at_level(logging.WARNING):
        found = open_pool(source.replace(tilt_dir=str(folder))).tilt_range_N2
    np.testing.assert_array_equal(found, [[-58.02, 60.5]] * 2 + [[-45, 45]] * 2 + [[np.nan, np.nan]] * 2)
    assert "tomogram c: no c.tlt or .rawtlt" in caplog.text
    (folder / "a.tlt").write_text("-60\nthirty\n")
    with pytest.raises(TomoTutorError, match=r"a\.tlt: not a list of tilts"):
        open_pool(source.replace(tilt_dir=str(folder)))
    with pytest.raises(TomoTutorError, match=r"no tilts of any of 3 tomograms; expected files such as a\.tlt"):
        open_pool(source.replace(tilt_dir=str(tmp_path)))

    write_star(
        tmp_path / "Tomo" / "a.star",
        "a",
        {"rlnTomoNominalStageTiltAngle": [-60, 0, 51], "rlnTomoYTilt": [-59.5, 0.5, 51.5]},
    )
    write_star(tmp_path / "Tomo" / "b.star", "b", {"rlnTomoNominalStageTiltAngle": [-60, 0, 48]})
    columns = {
        "rlnTomoName": ["a", "b", "c"],
        "rlnTomoReconstructedTomogram": ["a.mrc", "b.mrc", "c.mrc"],
        "rlnTomoTiltSeriesStarFile": ["Tomo/a.star", "Tomo/b.star", "../c.star"],
    }
    write_star(tmp_path / "tomograms.star", "global", columns)
    source = source.replace(tomograms=str(tmp_path / "tomograms.star"))
    np.testing.assert_array_equal(
        open_pool(source).tilt_range_N2, [[-59.5, 51.5]] * 2 + [[-60, 48]] * 2 + [[np.nan, np.nan]] * 2
    )


def test_real_tomogram_set_names_its_tilt_series(data):
    entries = read_tomograms(data / "formats" / "relion5_tomograms.star")
    assert len(entries) == 10
    assert entries["tomo200528_100"].tilt_series == "Tomograms/job009/tilt_series/tomo200528_100.star"


def test_real_particles_rescaled_show_their_ring(data):
    """GroEL of the simulated tomograms (10 Å) brought to 13 Å: its shell of 60 Å stays a shell of 60 Å."""
    folder = data / "tomograms"
    source = Source(
        "particles", str(folder / "particles.star"), str(folder / "tomograms.star"), str(folder), box=24, rescale=13.0
    )
    pool = open_pool(source)
    truth = [line.split(",")[2] for line in (folder / "truth.csv").read_text().split()[1:]]
    average = pool.read(np.flatnonzero(np.array(truth) == "1MNF")).mean(0)[0]
    # its maps are centred half a voxel of 10 Å below ours
    radius = 13 * np.linalg.norm(np.indices(average.shape) - (12 - 5 / 13), axis=0)
    profile = [average[(radius >= r - 6.5) & (radius < r + 6.5)].mean() for r in range(10, 140, 10)]
    assert abs(10 * (int(np.argmax(profile)) + 1) - 60) <= 10
    assert max(profile) > 0.3
