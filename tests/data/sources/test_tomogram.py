import logging

import numpy as np
import pytest

from helpers import write_mrc, write_star
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source, open_input, open_pool

SHAPE_ZYX = (40, 61, 90)  # three different sizes, one of them odd: an axis error or a wrong centre cannot cancel
VOXEL = 7.5
BOX = 16
# voxel positions (z, y, x) of bright balls, off the grid by less than half a voxel
BALLS = np.array([[20.0, 30.0, 45.0], [12.3, 20.4, 70.6], [28.0, 45.2, 15.8], [13.7, 48.1, 58.4]])


def phantom(balls: np.ndarray = BALLS) -> np.ndarray:
    grid = np.indices(SHAPE_ZYX)
    volume = np.zeros(SHAPE_ZYX)
    for ball in balls:
        volume += np.exp(-((grid - ball[:, None, None, None]) ** 2).sum(0) / (2 * 1.5**2))
    return volume.astype(np.float32)


def centred_angst(zyx: np.ndarray) -> np.ndarray:
    """RELION 5: (position − size/2) · voxel size, x first; written out here by hand, not by our own function."""
    z, y, x = zyx.T
    return np.stack([(x - 90 / 2) * VOXEL, (y - 61 / 2) * VOXEL, (z - 40 / 2) * VOXEL], axis=1)


def write_set(folder, zyx=BALLS, volume=None, *, names=None, file="tomograms/t1.mrc", voxel=VOXEL, header_voxel=VOXEL):
    write_mrc(folder / "tomograms" / "t1.mrc", phantom() if volume is None else volume, header_voxel)
    xyz = centred_angst(np.asarray(zyx, float))
    columns = {"rlnTomoName": names or ["t1"] * len(xyz)}
    columns |= {f"rlnCenteredCoordinate{a}Angst": [f"{v:.4f}" for v in xyz[:, i]] for i, a in enumerate("XYZ")}
    particles = write_star(folder / "particles.star", "particles", columns)
    tomograms = write_star(
        folder / "tomograms.star",
        "global",
        {
            "rlnTomoName": ["t1"],
            "rlnTomoTiltSeriesPixelSize": [voxel / 4],
            "rlnTomoTomogramBinning": [4],
            "rlnTomoSizeX": [360],
            "rlnTomoSizeY": [244],
            "rlnTomoSizeZ": [160],
            "rlnTomoReconstructedTomogram": [file],
        },
    )
    return Source("particles", str(particles), str(tomograms), str(folder), box=BOX, protein="bright")


def centre_of_mass(box: np.ndarray) -> np.ndarray:
    weight = np.clip(box - 0.3 * box.max(), 0, None)
    return (np.indices(box.shape) * weight).sum((1, 2, 3)) / weight.sum()


def test_each_box_holds_its_ball_where_it_belongs(tmp_path):
    pool = open_pool(write_set(tmp_path))
    assert pool.ids == ("t1:1", "t1:2", "t1:3", "t1:4")
    assert pool.voxel_size_angst == pytest.approx(VOXEL)
    for ball, box in zip(BALLS, pool.read(np.arange(4))[:, 0], strict=True):
        nearest = np.floor(ball + 0.5)
        expected = BOX // 2 + (
            ball - nearest
        )  # the nearest voxel lies on the box's centre voxel, the rest is sub-voxel
        np.testing.assert_allclose(centre_of_mass(box), expected, atol=0.1)  # half a voxel off would be 0.5


def test_boxes_are_the_raw_voxels_normalised(tmp_path):
    volume = np.random.default_rng(0).normal(5, 3, SHAPE_ZYX).astype(np.float32)
    source = write_set(tmp_path, [[20, 31, 45]], volume)
    bright = open_pool(source).read(np.array([0]))[0, 0]
    raw = volume[12:28, 23:39, 37:53].astype(np.float64)
    np.testing.assert_allclose(bright, (raw - raw.mean()) / raw.std(), atol=1e-5)
    dark = open_pool(source.replace(protein="")).read(np.array([0]))[0, 0]  # tomograms are protein-dark by default
    np.testing.assert_allclose(dark, -bright, atol=1e-6)


def test_boxes_that_leave_the_tomogram_are_padded_and_flagged(tmp_path):
    volume = np.random.default_rng(0).normal(5, 3, SHAPE_ZYX).astype(np.float32)
    pool = open_pool(write_set(tmp_path, [[3, 31, 45], [20, 31, 45], [20, 60, 89], [-500, 0, 0]], volume))
    assert pool.padded_N.tolist() == [True, False, True, True]
    first, _, corner, outside = pool.read(np.arange(4))[:, 0]
    assert not first[:5].any()  # z from −5 to −1 does not exist
    raw = volume[0:11, 23:39, 37:53].astype(np.float64)
    np.testing.assert_allclose(first[5:], (raw - raw.mean()) / raw.std(), atol=1e-5)
    raw = volume[12:28, 52:61, 81:90].astype(np.float64)
    np.testing.assert_allclose(corner[:, :9, :9], (raw - raw.mean()) / raw.std(), atol=1e-5)
    assert not corner[:, 9:].any()
    assert not outside.any()


def test_the_tomogram_is_found_from_a_job_folder_below_the_project(tmp_path):
    source = write_set(tmp_path)
    job = tmp_path / "Extract" / "job007"
    job.mkdir(parents=True)
    for name in ("particles.star", "tomograms.star"):
        (tmp_path / name).rename(job / name)
    moved = source.replace(path=str(job / "particles.star"), tomograms=str(job / "tomograms.star"), root=str(job))
    assert len(open_pool(moved)) == 4


def test_the_tomogram_is_found_by_name_in_a_given_folder(tmp_path):
    source = write_set(tmp_path / "project", file="elsewhere/rec_t1.mrc")
    (tmp_path / "project" / "tomograms").rename(tmp_path / "disk")
    with pytest.raises(TomoTutorError, match=r"tomogram t1: no file elsewhere/rec_t1\.mrc in .*--tomogram-dir"):
        open_pool(source)
    assert len(open_pool(source.replace(tomogram_dir=str(tmp_path / "disk")))) == 4
    assert len(open_pool(source.replace(tomograms="", tomogram_dir=str(tmp_path / "disk")))) == 4


@pytest.mark.parametrize("file", ["../../secret.mrc", "tomograms/../../secret.mrc"])
def test_a_path_in_a_star_file_may_not_leave_its_folder(tmp_path, file):
    source = write_set(tmp_path / "a" / "b", file=file)
    write_mrc(tmp_path / "secret.mrc", phantom())
    with pytest.raises(TomoTutorError, match="leaves its folder"):
        open_pool(source)


def test_header_without_voxel_size_yields_to_the_tomogram_set(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        pool = open_pool(write_set(tmp_path, header_voxel=1.0))
    assert pool.voxel_size_angst == pytest.approx(VOXEL)
    assert "header's voxel size is 1.000" in caplog.text
    box = pool.read(np.array([0]))[0, 0]
    np.testing.assert_allclose(centre_of_mass(box), 8, atol=0.1)


def test_header_wins_over_the_tomogram_set_and_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert open_pool(write_set(tmp_path, voxel=8.0)).voxel_size_angst == pytest.approx(VOXEL)
    assert "8.0000" in caplog.text
    assert open_pool(write_set(tmp_path).replace(voxel_size=5.0)).voxel_size_angst == 5.0


def test_bad_input_gets_one_clear_sentence(tmp_path):
    source = write_set(tmp_path)
    with pytest.raises(TomoTutorError, match="90×61×40 voxels, less than the box of 64"):
        open_pool(source.replace(box=64))
    with pytest.raises(
        TomoTutorError, match=r"1 of its 1 tomograms \(first: 't01'\) are not in .*which has 't1'; names must match"
    ):
        open_pool(write_set(tmp_path, names=["t01"] * 4))
    with pytest.raises(TomoTutorError, match="box is 4; expected 8 to 256"):
        source.replace(box=4)
    source = write_set(tmp_path, header_voxel=0.0)
    with pytest.raises(TomoTutorError, match="neither its header nor a tomogram set tells the voxel size"):
        open_pool(source.replace(tomograms="", tomogram_dir=str(tmp_path / "tomograms")))


def test_nan_voxels_name_the_item(tmp_path):
    volume = phantom()
    volume[20, 31, 45] = np.nan
    pool = open_pool(write_set(tmp_path, [[12, 20, 70], [20, 31, 45]], volume))
    pool.read(np.array([0]))
    with pytest.raises(TomoTutorError, match="item t1:2: 1 of its 4096 voxels are NaN or infinite"):
        pool.read(np.array([1]))


def test_mixed_voxel_sizes_are_refused(tmp_path):
    write_mrc(tmp_path / "a.mrc", phantom(), 10.0)
    write_mrc(tmp_path / "b.mrc", phantom(), 12.0)
    columns = {"rlnTomoName": ["a", "b"], **{f"rlnCenteredCoordinate{a}Angst": [0, 0] for a in "XYZ"}}
    star = write_star(tmp_path / "p.star", "particles", columns)
    with pytest.raises(TomoTutorError, match=r"different voxel sizes \(a: 10\.000 Å, b: 12\.000 Å\)"):
        open_pool(Source("particles", str(star), root=str(tmp_path), tomogram_dir=str(tmp_path), box=16))


@pytest.mark.parametrize(("name", "ring"), [("1MNF", 6), ("6Z6U", 5)])
def test_simulated_tomograms_show_the_rings_of_their_complexes(data, name, ring):
    """Averaged over random orientations, GroEL and a ferritin are hollow: a bright shell about the centre of the box.

    The maps of that data set are centred on (size − 1)/2 of their boxes, half a voxel from ours; the phantom above has
    no such offset.
    """
    folder = data / "tomograms"
    pool = open_pool(Source("particles", str(folder / "particles.star"), str(folder / "tomograms.star"), str(folder)))
    truth = [line.split(",")[2] for line in (folder / "truth.csv").read_text().split()[1:]]
    average = pool.read(np.flatnonzero(np.array(truth) == name)).mean(0)[0]
    radius = np.linalg.norm(np.indices(average.shape) - 15.5, axis=0)
    profile = [average[(radius >= r - 0.5) & (radius < r + 0.5)].mean() for r in range(1, 15)]
    assert abs(int(np.argmax(profile)) + 1 - ring) <= 1
    assert max(profile) > 0.3 > 0 > profile[1]
    assert np.abs(profile[11:]).max() < 0.06
    weight = np.where(radius < 9, np.clip(average - 0.25 * average.max(), 0, None), 0)
    np.testing.assert_allclose((np.indices(average.shape) * weight).sum((1, 2, 3)) / weight.sum(), 15.5, atol=0.3)


def add_denoised(folder, file):
    star = folder / "tomograms.star"
    lines = star.read_text().splitlines()
    last = next(i for i, line in enumerate(lines) if line.startswith("_rlnTomoReconstructedTomogram "))
    lines[last] += "\n_rlnTomoReconstructedTomogramDenoised #8"
    star.write_text("\n".join(lines) + f" {file}\n")


@pytest.mark.parametrize("how", ["the tomogram set", "a folder"])
def test_denoised_tomograms_are_cut_at_the_same_places(tmp_path, how):
    noise = np.random.default_rng(0).normal(0, 3, SHAPE_ZYX).astype(np.float32)
    source = write_set(tmp_path, volume=phantom() + noise)
    assert open_input(source).denoised() is None
    write_mrc(tmp_path / "denoised" / "t1.mrc", phantom(), VOXEL)
    if how == "a folder":
        source = source.replace(denoised_dir=str(tmp_path / "denoised"))
    else:
        add_denoised(tmp_path, "denoised/t1.mrc")
    shown, raw = open_input(source).denoised().read(np.arange(4))[:, 0], open_pool(source).read(np.arange(4))[:, 0]
    for ball, box in zip(BALLS, shown, strict=True):
        np.testing.assert_allclose(centre_of_mass(box), BOX // 2 + ball - np.floor(ball + 0.5), atol=0.1)
    assert np.abs(shown - raw).mean() > 0.5


def test_a_denoised_folder_never_falls_back_to_the_raw_tomogram(tmp_path):
    (tmp_path / "denoised").mkdir()
    source = write_set(tmp_path).replace(denoised_dir=str(tmp_path / "denoised"))
    with pytest.raises(
        TomoTutorError, match=r"denoised: no denoised tomogram t1\.mrc; expected the names of the raw ones"
    ):
        open_input(source).denoised()
