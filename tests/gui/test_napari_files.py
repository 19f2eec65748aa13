"""napari's own File > Open and File > Save: what it opens lies where it should, and comes back as it was."""

import mrcfile
import numpy as np
import pytest

from helpers import write_mrc, write_star
from tomotutor.formats.particles.lists import read_list

SHAPE = (20, 30, 41)
ZYX = np.array([[10.0, 12.0, 7.0], [4.5, 20.25, 33.0], [16.0, 5.0, 20.0]])
VOXEL = 8.0


@pytest.fixture
def particle_set(tmp_path):
    """A tomogram with one bright voxel at each whole position, and its RELION 5 list."""
    volume = np.zeros(SHAPE, np.float32)
    volume[10, 12, 7] = volume[16, 5, 20] = 50
    write_mrc(tmp_path / "tomo.mrc", volume, VOXEL)
    xyz = (ZYX[:, ::-1] - np.array(SHAPE[::-1]) / 2) * VOXEL
    columns = {"rlnTomoName": ["tomo"] * 3} | {f"rlnCenteredCoordinate{a}Angst": xyz[:, i] for i, a in enumerate("XYZ")}
    write_star(tmp_path / "particles.star", "particles", columns | {"rlnClassNumber": [2, 1, 2]})
    return tmp_path


def test_a_star_file_opens_as_points_on_its_tomogram(make_napari_viewer, particle_set):
    viewer = make_napari_viewer()
    image, points = viewer.open([particle_set / "tomo.mrc", particle_set / "particles.star"], plugin="tomotutor")
    np.testing.assert_allclose(points.data, ZYX)
    np.testing.assert_array_equal(points.scale, image.scale)
    at = [tuple(np.round(image.world_to_data(points.data_to_world(p))).astype(int)) for p in points.data[[0, 2]]]
    assert [image.data[zyx] for zyx in at] == [50, 50]
    assert points.features["class"].tolist() == ["class 2", "class 1", "class 2"]
    assert not np.array_equal(points.face_color[0], points.face_color[1])
    np.testing.assert_array_equal(points.face_color[0], points.face_color[2])


def test_a_list_without_its_tomogram_can_still_be_looked_at(make_napari_viewer, particle_set):
    (particle_set / "tomo.mrc").unlink()
    (points,) = make_napari_viewer().open(particle_set / "particles.star", plugin="tomotutor")
    assert points.name == "tomo (Å from the centre)"
    np.testing.assert_allclose(points.data, (ZYX - np.array(SHAPE) / 2) * VOXEL)


def test_of_several_tomograms_one_is_shown(make_napari_viewer, particle_set):
    star = particle_set / "particles.star"
    star.write_text(star.read_text().rstrip("\n") + "\nother 0 0 0 1\n")
    layers = make_napari_viewer().open(star, plugin="tomotutor")
    assert [(layer.features["tomogram"][0], layer.visible) for layer in layers] == [("tomo", True), ("other", False)]


@pytest.mark.parametrize("ending", [".star", ".tbl", ".em", ".mod"])
def test_points_are_saved_by_the_ending_and_come_back(make_napari_viewer, particle_set, ending):
    viewer = make_napari_viewer()
    _, points = viewer.open([particle_set / "tomo.mrc", particle_set / "particles.star"], plugin="tomotutor")
    points.data = np.vstack((points.data, [[3.0, 3.0, 3.0]]))  # a person adds one
    target = particle_set / "saved" / f"tomo{ending}"
    target.parent.mkdir()
    assert points.save(str(target), plugin="tomotutor") == [str(target)]
    (particle_set / "saved" / "tomo.mrc").write_bytes((particle_set / "tomo.mrc").read_bytes())
    (again,) = make_napari_viewer().open(target, plugin="tomotutor")
    order = np.lexsort(again.data.T)
    expected = np.vstack((ZYX, [[3.0, 3.0, 3.0]]))
    np.testing.assert_allclose(again.data[order], expected[np.lexsort(expected.T)], atol=1e-3)
    assert len(read_list(target)) == 4


def test_a_stack_of_subtomograms_and_a_volume_go_both_ways(make_napari_viewer, tmp_path):
    stack = np.random.default_rng(0).normal(size=(5, 8, 8, 8)).astype(np.float32)
    with mrcfile.new(tmp_path / "stack.mrc", stack) as mrc:
        mrc.voxel_size = VOXEL
    viewer = make_napari_viewer()
    (layer,) = viewer.open(tmp_path / "stack.mrc", plugin="tomotutor")
    np.testing.assert_array_equal(layer.data, stack)
    assert layer.scale.tolist() == [1, VOXEL, VOXEL, VOXEL]
    assert layer.contrast_limits[0] < layer.contrast_limits[1]
    for name, values, scale in (("again", stack, (1, VOXEL, VOXEL, VOXEL)), ("one", stack[2], (VOXEL,) * 3)):
        saved = viewer.add_image(values, scale=scale).save(str(tmp_path / f"{name}.mrc"), plugin="tomotutor")
        with mrcfile.open(saved[0]) as mrc:
            np.testing.assert_array_equal(mrc.data, values)
            assert mrc.voxel_size.x == VOXEL
            assert mrc.is_volume_stack() == (values.ndim == 4)
