"""Boxes of tomograms by lists of every format: the same voxels, whatever the list was converted to."""

import json

import numpy as np
import pytest

from data.sources.test_tomogram import BALLS, BOX, SHAPE_ZYX, VOXEL, centre_of_mass, centred_angst, phantom, write_set
from helpers import write_mrc, write_star
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source, open_pool
from tomotutor.export.lists import convert_list
from tomotutor.formats.particles.lists import LISTS, read_list
from tomotutor.session import Session
from tomotutor.session.create import create_session

FILES = {
    "relion": "c.star",
    "relion4": "c4.star",
    "dynamo": "c.tbl",
    "em": "c.em",
    "imod": "models",
    "csv": "c.csv",
    "copick": "project",
}


def expected_centres():
    nearest = np.floor(BALLS + 0.5)
    return BOX // 2 + (BALLS - nearest)


@pytest.mark.parametrize("kind", LISTS)
def test_converted_lists_cut_the_same_boxes(tmp_path, kind):
    source = write_set(tmp_path)
    out = tmp_path / "out" / FILES[kind]
    told = convert_list(source.replace(tomogram_dir=str(tmp_path / "tomograms")), out, kind)
    assert "4 particles of 1 tomograms" in told
    tomograms = source.where.tomograms if kind == "relion" else ""
    other = Source(
        "particles",
        str(out),
        tomograms,
        str(tmp_path / "tomograms"),
        str(tmp_path / "tomograms"),
        box=BOX,
        protein="bright",
    )
    pool, original = open_pool(other), open_pool(source)
    boxes = pool.read(np.arange(4))
    assert pool.voxel_size_angst == pytest.approx(VOXEL)
    assert not pool.padded_N.any()
    for box, there in zip(original.read(np.arange(4)), expected_centres(), strict=True):
        np.testing.assert_allclose(centre_of_mass(box[0]), there, atol=0.1)
        assert any(np.array_equal(box, found) for found in boxes)  # bit for bit, in whatever order


def hand_made(folder, kind):
    """Write the balls' list by hand in some format, without any of our code."""
    x, y, z = BALLS.T[::-1]
    rows = range(len(BALLS))
    if kind == "dynamo":
        lines = [
            [i + 1, 1, 1, 0.5, -0.25, 0, *[0] * 13, 1, 0, 0, 0, x[i] - 0.5, y[i] + 0.25, z[i], *[0] * 9] for i in rows
        ]
        (folder / "l.tbl").write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))
        (folder / "l.doc").write_text("1 /somewhere/else/t1.rec\n")
        return folder / "l.tbl"
    if kind == "em":
        values = np.zeros((len(BALLS), 20), "<f4")
        values[:, 4], values[:, 7:10], values[:, 10:13] = (
            1,
            np.floor(BALLS[:, ::-1]),
            BALLS[:, ::-1] - np.floor(BALLS[:, ::-1]),
        )
        header = np.zeros(128, "<i4")
        header[:4] = 0x05000006, 20, len(BALLS), 1
        (folder / "l.em").write_bytes(header.tobytes() + values.tobytes())
        (folder / "l.doc").write_text("1 t1.mrc\n")
        return folder / "l.em"
    if kind == "csv":
        (folder / "l.csv").write_text("x,y,z,tomogram\n" + "".join(f"{x[i]},{y[i]},{z[i]},t1\n" for i in rows))
        return folder / "l.csv"
    if kind == "copick":
        shift = [[1, 0, 0, VOXEL], [0, 1, 0, 0], [0, 0, 1, -VOXEL], [0, 0, 0, 1]]
        points = [
            {
                "location": {"x": (x[i] - 1) * VOXEL, "y": y[i] * VOXEL, "z": (z[i] + 1) * VOXEL},
                "transformation_": shift,
            }
            for i in rows
        ]
        path = folder / "project" / "ExperimentRuns" / "t1" / "Picks" / "ann_1_ball.json"
        path.parent.mkdir(parents=True)
        path.write_text(
            json.dumps({"pickable_object_name": "ball", "user_id": "ann", "session_id": "1", "points": points})
        )
        return folder / "project"
    pixel = VOXEL / 4  # RELION 4: pixels of the tilt series
    columns = {"rlnTomoName": ["t1"] * len(BALLS), "rlnOpticsGroup": [1] * len(BALLS)}
    columns |= {f"rlnCoordinate{a}": v * VOXEL / pixel + 8 for a, v in zip("XYZ", (x, y, z), strict=True)}
    columns |= {f"rlnOrigin{a}Angst": [8 * pixel] * len(BALLS) for a in "XYZ"}  # position = coordinate - origin
    path = write_star(folder / "l.star", "particles", columns)
    path.write_text(
        f"data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnTomoTiltSeriesPixelSize\n1 {pixel}\n\n" + path.read_text()
    )
    return path


@pytest.mark.parametrize("kind", ["relion4", "dynamo", "em", "csv", "copick"])
def test_hand_made_lists_put_each_ball_where_it_belongs(tmp_path, kind):
    write_mrc(tmp_path / "t1.mrc", phantom(), VOXEL)
    path = hand_made(tmp_path, kind)
    pool = open_pool(
        Source("particles", str(path), root=str(tmp_path), tomogram_dir=str(tmp_path), box=BOX, protein="bright")
    )
    assert pool.ids == ("t1:1", "t1:2", "t1:3", "t1:4")
    for box, there in zip(pool.read(np.arange(4))[:, 0], expected_centres(), strict=True):
        np.testing.assert_allclose(centre_of_mass(box), there, atol=0.1)  # half a voxel off would be 0.5


def test_an_imod_model_puts_each_ball_where_it_belongs(tmp_path):
    imodmodel = pytest.importorskip("imodmodel")
    pandas = pytest.importorskip("pandas")
    write_mrc(tmp_path / "t1.mrc", phantom(), VOXEL)
    points = BALLS[:, ::-1] + [0.5, 0.5, 0]
    imodmodel.write(pandas.DataFrame(points, columns=list("xyz")), tmp_path / "t1.mod")
    pool = open_pool(Source("particles", str(tmp_path / "t1.mod"), root=str(tmp_path), box=BOX, protein="bright"))
    for box, there in zip(pool.read(np.arange(4))[:, 0], expected_centres(), strict=True):
        np.testing.assert_allclose(centre_of_mass(box), there, atol=0.1)


def test_lists_in_voxels_of_another_binning(tmp_path):
    write_mrc(tmp_path / "t1.mrc", phantom(), VOXEL)
    x, y, z = BALLS.T[::-1] * 2
    (tmp_path / "t1.csv").write_text("x,y,z\n" + "".join(f"{x[i]},{y[i]},{z[i]}\n" for i in range(4)))
    source = Source(
        "particles",
        str(tmp_path / "t1.csv"),
        root=str(tmp_path),
        box=BOX,
        protein="bright",
        coordinate_pixel_size=VOXEL / 2,
    )
    for box, there in zip(open_pool(source).read(np.arange(4))[:, 0], expected_centres(), strict=True):
        np.testing.assert_allclose(centre_of_mass(box), there, atol=0.1)


def test_the_centre_of_relions_picker_is_a_pixel_of_the_tilt_series_lower(tmp_path):
    source = write_set(tmp_path)
    text = (tmp_path / "particles.star").read_text()
    xyz = centred_angst(BALLS) + VOXEL / 4  # what that picker writes for the same balls
    rows = [f"t1 {a:.4f} {b:.4f} {c:.4f}" for a, b, c in xyz]
    (tmp_path / "particles.star").write_text(text[: text.index("t1 ")] + "\n".join(rows) + "\n")
    boxes = open_pool(source.replace(centre="relion-napari")).read(np.arange(4))
    for box, there in zip(boxes[:, 0], expected_centres(), strict=True):
        np.testing.assert_allclose(centre_of_mass(box), there, atol=0.1)


def test_pixels_that_would_lie_outside_are_asked_for(tmp_path):
    write_mrc(tmp_path / "t1.mrc", phantom(), VOXEL)
    path = hand_made(tmp_path, "relion4")
    source = Source("particles", str(path), root=str(tmp_path), box=BOX)
    path.write_text(path.read_text().replace(f"1 {VOXEL / 4}", f"1 {VOXEL * 2}"))
    with pytest.raises(
        TomoTutorError, match=r"lie outside their tomograms; rlnCoordinate.* pixels of the tilt series, 15 Å"
    ):
        open_pool(source)
    assert len(open_pool(source.replace(coordinate_pixel_size=VOXEL / 4))) == 4


def test_a_list_in_voxels_needs_no_voxel_size(tmp_path):
    write_mrc(tmp_path / "t1.mrc", phantom(), 0.0)
    pool = open_pool(Source("particles", str(hand_made(tmp_path, "csv")), root=str(tmp_path), box=BOX))
    assert pool.voxel_size_angst == 0
    with pytest.raises(TomoTutorError, match="neither its header nor a tomogram set tells the voxel size"):
        open_pool(Source("particles", str(hand_made(tmp_path, "copick")), root=str(tmp_path), box=BOX))


def test_warp_names_find_their_tomograms_by_a_rule(tmp_path):
    write_mrc(tmp_path / "warp" / "TS_1_7.50Apx.mrc", phantom(), VOXEL)
    columns = {"rlnTomoName": ["TS_1.tomostar"] * 4}
    columns |= {f"rlnCoordinate{a}": BALLS[:, 2 - i] * VOXEL / 10 for i, a in enumerate("XYZ")}
    path = write_star(tmp_path / "p.star", "particles", columns)
    source = Source(
        "particles", str(path), root=str(tmp_path), tomogram_dir=str(tmp_path / "warp"), box=BOX, protein="bright"
    )
    pool = open_pool(source.replace(coordinate_pixel_size=10.0))
    assert pool.ids[0] == "TS_1.tomostar:1"
    for box, there in zip(pool.read(np.arange(4))[:, 0], expected_centres(), strict=True):
        np.testing.assert_allclose(centre_of_mass(box), there, atol=0.1)


def test_an_optimisation_set_names_list_and_tomograms(tmp_path):
    source = write_set(tmp_path)
    job = tmp_path / "Refine3D" / "job020"
    job.mkdir(parents=True)
    path = job / "optimisation_set.star"
    path.write_text("data_\n\n_rlnTomoParticlesFile particles.star\n_rlnTomoTomogramsFile tomograms.star\n")
    create_session(tmp_path / "s", Source("particles", str(path), box=BOX, protein="bright"), ["a", "b"])
    session = Session(tmp_path / "s", write=False)
    np.testing.assert_array_equal(session.pool.read(np.arange(4)), open_pool(source).read(np.arange(4)))
    path.write_text("data_\n\n_rlnTomoParticlesFile ../../secret.star\n")
    with pytest.raises(TomoTutorError, match="leaves its folder"):
        open_pool(Source("particles", str(path)))
    path.write_text("data_\n\n_rlnTomoParticlesFile gone.star\n")
    with pytest.raises(TomoTutorError, match=r"the file gone\.star that it names is not in its folder"):
        open_pool(Source("particles", str(path)))


@pytest.mark.parametrize("kind", ["dynamo", "em", "csv", "copick"])
def test_a_session_keeps_its_own_copy_of_the_list(tmp_path, kind):
    write_mrc(tmp_path / "t1.mrc", phantom(), VOXEL)
    path = hand_made(tmp_path, kind)
    source = Source("particles", str(path), tomogram_dir=str(tmp_path), box=BOX, protein="bright")
    create_session(tmp_path / "s", source, ["a", "b"])
    before = read_list(path)
    for file in sorted(tmp_path.glob("l.*")):
        file.unlink()
    if path.is_dir():
        path.rename(tmp_path / "moved")
    session = Session(tmp_path / "s", write=False)
    after = read_list(session.source.file)
    np.testing.assert_array_equal(after.xyz_N3, before.xyz_N3)
    assert session.pool.ids == before.ids == ("t1:1", "t1:2", "t1:3", "t1:4")


def test_tilt_ranges_of_a_dynamo_table_reach_the_pool(tmp_path):
    write_mrc(tmp_path / "t1.mrc", phantom(), VOXEL)
    path = hand_made(tmp_path, "dynamo")
    lines = [line.split() for line in path.read_text().splitlines()]
    for line, high in zip(lines, (60, 45, 0, 70), strict=True):
        line[13:15] = ["-52", str(high)] if high else ["0", "0"]
    path.write_text("".join(" ".join(line) + "\n" for line in lines))
    pool = open_pool(Source("particles", str(path), root=str(tmp_path), box=BOX))
    np.testing.assert_array_equal(pool.tilt_range_N2, [[-52, 60], [-52, 45], [np.nan, np.nan], [-52, 70]])


def test_shape_of_the_phantom_is_uneven():
    assert len(set(SHAPE_ZYX)) == 3  # else exchanged axes could pass


@pytest.mark.parametrize("kind", LISTS)
def test_real_tomograms_by_converted_lists_show_the_same_rings(data, tmp_path, kind):
    """The 1MNF and 6Z6U rings that sources/test_tomogram.py checks, from boxes that a converted list cuts: voxel for
    voxel.
    """
    folder = data / "tomograms"
    source = Source("particles", str(folder / "particles.star"), str(folder / "tomograms.star"), str(folder))
    out = tmp_path / FILES[kind]
    convert_list(source, out, kind)
    tomograms = str(folder / "tomograms.star") if kind.startswith("relion") else ""
    other = open_pool(Source("particles", str(out), tomograms, str(folder), str(folder / "tomograms")))
    original = open_pool(source)
    truth = np.array([line.split(",")[2] for line in (folder / "truth.csv").read_text().split()[1:]])
    rows = np.concatenate([np.flatnonzero(truth == name)[:12] for name in ("1MNF", "6Z6U")])
    # these lists keep the order, as the particles come tomogram by tomogram and without classes
    np.testing.assert_array_equal(other.tomogram_N, original.tomogram_N)
    np.testing.assert_array_equal(other.read(rows), original.read(rows))
