"""Every format of particle lists: through our writer and reader, and against the field's own packages."""

import csv
import dataclasses
import json

import dynamotable
import emfile
import imodmodel
import numpy as np
import pandas as pd
import pytest
import starfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.particles import EXPORTED, LIST_NAMES
from tomotutor.formats.particles.euler import angles_to_matrix, dynamo_from_relion, em_from_relion
from tomotutor.formats.particles.lists import LISTS, format_of, read_list, rewrite_list, write_list
from tomotutor.formats.particles.table import ParticleTable, Reading, TomogramEntry, in_frame

SIZE = (512.0, 439.0, 120.0)  # an odd one among them
VOXEL, PIXEL = 7.84, 1.96
FILES = {
    "relion": "p.star",
    "relion4": "p.star",
    "dynamo": "p.tbl",
    "em": "p.em",
    "imod": "models",
    "csv": "p.csv",
    "copick": "project",
}
FAST = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entries(table, voxel=VOXEL):
    return {n: TomogramEntry(n, "", voxel, SIZE, PIXEL) for n in set(table.tomogram_N.tolist())}


def make_table(path="x", n=60, names=("TS_001", "TS_2.rec", "7"), seed=0, **changes):
    rng = np.random.default_rng(seed)
    angles = Rotation.random(n, rng=rng).as_euler("ZYZ", degrees=True)
    table = ParticleTable(
        path,
        rng.choice(np.array(names, dtype=object), n),
        rng.uniform(-20, np.array(SIZE) + 20, (n, 3)),
        "voxel",
        "corner",
        0.0,
        angles,
        rng.integers(1, 4, n),
        ("ribosome", "80S", "junk"),
        rng.uniform(0, 1, n).round(6),
        rng.integers(-70, -40, (n, 1)) * [1, -1] + [0, 3.0],
    )
    return table.replace(**changes)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 6))
    names = draw(
        st.lists(
            st.sampled_from(["a", "TS_01", "tomo 3", "rec.mrc", "12", "ä-1", "data_1", "it's", "?", "#5", "LOOP_"]),
            min_size=n,
            max_size=n,
        )
    )
    number = st.floats(-5000, 5000, allow_subnormal=False)
    xyz = draw(st.lists(st.tuples(number, number, number), min_size=n, max_size=n))
    turns = draw(
        st.none() | st.lists(st.tuples(*[st.floats(-180, 180, allow_subnormal=False)] * 3), min_size=n, max_size=n)
    )
    classes = draw(st.none() | st.lists(st.integers(1, 9), min_size=n, max_size=n))
    scores = draw(st.none() | st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=n, max_size=n))
    return ParticleTable(
        "x",
        np.array(names, dtype=object),
        np.array(xyz),
        "voxel",
        "corner",
        0.0,
        None if turns is None else np.array(turns),
        None if classes is None else np.array(classes),
        (),
        None if scores is None else np.array(scores),
    )


def in_order(table, by):
    """Sort by place, for formats that keep particles by tomogram and class."""
    class_N = np.zeros(len(table)) if table.class_N is None else table.class_N
    order = np.lexsort((class_N, *np.round(by, 2).T, table.tomogram_N.astype(str)))
    return table.take(order), by[order]


def assert_same(found, expected, kind, place=1e-4):
    tomograms = entries(expected)
    holds = LISTS[kind].holds
    got, want = (in_frame(t, "voxel", "corner", tomograms) for t in (found, expected))
    (got, got_xyz), (want, want_xyz) = in_order(got, got.xyz_N3), in_order(want, want.xyz_N3)
    assert got.tomogram_N.tolist() == want.tomogram_N.tolist()
    np.testing.assert_allclose(got_xyz, want_xyz, atol=place)
    if want.angles_deg_N3 is not None and "orientation" in holds:
        np.testing.assert_allclose(angles_to_matrix(got.angles_deg_N3), angles_to_matrix(want.angles_deg_N3), atol=1e-5)
    if want.class_N is not None and not want.class_names and kind != "copick":
        assert got.class_N.tolist() == want.class_N.tolist()
    if want.class_names and got.class_names:
        assert [got.class_names[c - 1] for c in got.class_N] == [want.class_names[c - 1] for c in want.class_N]
    if want.score_N is not None and "score" in holds:
        np.testing.assert_allclose(got.score_N if got.score_N is not None else 0, want.score_N, atol=1e-5)


@pytest.mark.parametrize("kind", LISTS)
@FAST
@given(table=tables())
def test_round_trip(tmp_path_factory, kind, table):
    if kind in ("dynamo", "em"):  # table maps are split at blanks
        table = table.replace(tomogram_N=np.array([n.replace(" ", "_") for n in table.tomogram_N], dtype=object))
    if kind == "copick":  # runs are folders, on every system
        table = table.replace(tomogram_N=np.array([n.replace("?", "q") for n in table.tomogram_N], dtype=object))
    path = tmp_path_factory.mktemp("lists") / FILES[kind]
    write_list(table, path, kind, entries(table))
    found = read_list(path)
    assert found.path == path
    assert_same(found, table, kind, 1e-3 if kind == "imod" else 1e-5)


@pytest.mark.parametrize("kind", LISTS)
def test_what_is_kept_and_what_is_told_to_be_dropped(tmp_path, kind):
    table = make_table(class_names=())
    dropped = write_list(table, tmp_path / FILES[kind], kind, entries(table))
    found = read_list(tmp_path / FILES[kind])
    assert_same(found, table, kind)
    have = {
        "orientation": found.angles_deg_N3,
        "class": found.class_N,
        "score": found.score_N,
        "tilt range": found.tilt_range_N2,
    }
    assert {name for name, values in have.items() if values is None} == set(dropped)
    if found.tilt_range_N2 is not None:
        np.testing.assert_allclose(found.tilt_range_N2, table.tilt_range_N2)


def test_the_command_knows_every_format():
    assert set(LIST_NAMES) == set(LISTS)
    assert set(EXPORTED) == {name for name, kind in LISTS.items() if kind.endings}


@pytest.mark.parametrize("kind", ["imod", "csv", "copick"])
def test_class_names_are_kept_where_there_is_a_place_for_them(tmp_path, kind):
    table = make_table()
    write_list(table, tmp_path / FILES[kind], kind, entries(table))
    found = read_list(tmp_path / FILES[kind])
    assert sorted(found.class_names) == sorted(table.class_names)
    assert_same(found, table, kind)


@pytest.mark.parametrize("kind", LISTS)
def test_every_pair_of_formats_keeps_the_positions(tmp_path, kind):
    table = make_table(names=("TS_001", "TS_2"))
    write_list(table, tmp_path / FILES[kind], kind, entries(table))
    middle = read_list(tmp_path / FILES[kind])
    for other in LISTS:
        path = tmp_path / f"{other}_{FILES[other]}"
        write_list(middle, path, other, entries(table))
        assert_same(read_list(path), middle, other, 2e-4)


def tokens(path, kind):
    """The cells of a list without the class, by a reading of our own."""
    if kind == "relion":
        frame = starfile.read(path, always_dict=True, parse_as_string=["rlnTomoName"])["particles"]
        return [(name, frame[name].tolist()) for name in frame if name != "rlnClassNumber"]
    if kind == "dynamo":
        return [[t for i, t in enumerate(line.split()) if i != 21] for line in path.read_text().splitlines()]
    if kind == "em":
        return emfile.read(path)[1][..., :19].tolist()
    with path.open(newline="") as handle:
        return [row[:5] for row in csv.reader(handle)]


ORIGINALS = {
    "dynamo": "7 1 0 0.50 -1.25 0 10 20.0 30 0.1 0 0 1 -60 60 -60 60 0 0 3 1 2 0 67.75 17.087 81 0 0+1.5i 0 0 0 "
    "1 0 0 0\n"
    "9 1 0 0 0 0 0 0 0 0.2 0 0 1 -60 60 -60 60 0 0 4 1 2 0 1e1 017 81.00 0 0 0 0 0 1 0 0 0\n",
    "csv": 'tomogram,x,y,z,"my note",class\na,1.50,2,3e0,"b, c",4\na,007,8,9,,5\n',
    "relion": "data_optics\n\n_rlnVoltage 300\n\ndata_particles\n\nloop_\n_rlnTomoName\n_rlnCenteredCoordinateXAngst\n"
    "_rlnCenteredCoordinateYAngst\n_rlnCenteredCoordinateZAngst\n_rlnOriginXAngst\n_rlnOther\n001 1.10 -2.200 +3.0e0 "
    "0.5 'a b'\n"
    "002 1 2 3 0 x\n",
}


@pytest.mark.parametrize("kind", ORIGINALS)
def test_written_again_nothing_changes_but_the_class(tmp_path, kind):
    path, out = tmp_path / FILES[kind], tmp_path / f"out_{FILES[kind]}"
    path.write_text(ORIGINALS[kind])
    before = read_list(path)
    rewrite_list(path, out, np.array([3, 1]))
    assert tokens(out, kind) == tokens(path, kind)
    after = read_list(out)
    assert after.class_N.tolist() == [3, 1]
    np.testing.assert_array_equal(after.xyz_N3, before.xyz_N3)
    rewrite_list(path, out, np.array([3, 1]), rows=np.array([1]))
    assert read_list(out).ids == (f"{before.tomogram_N[1]}:1",)
    rewrite_list(path, out)
    assert tokens(out, kind) == tokens(path, kind)


def test_an_em_list_is_written_again_bit_for_bit(tmp_path):
    path, out = tmp_path / "a.em", tmp_path / "b.em"
    values = np.random.default_rng(0).normal(size=(1, 5, 20)).astype(np.float32)
    values[0, :, 4], values[0, :, 19] = 2, 1
    emfile.write(path, values, {"comment": "hello" * 16})
    rewrite_list(path, out, np.array([1, 2, 1, 2, 1]))
    header, found = emfile.read(out)
    assert header == emfile.read(path)[0]
    np.testing.assert_array_equal(found[0, :, :19], values[0, :, :19])
    assert found[0, :, 19].tolist() == [1, 2, 1, 2, 1]
    rewrite_list(path, out, rows=np.array([4, 0]))
    np.testing.assert_array_equal(emfile.read(out)[1][0], values[0, [4, 0]])


def test_models_are_written_again_with_their_points_bit_for_bit(tmp_path):
    points = pd.DataFrame(np.random.default_rng(0).uniform(0, 400, (9, 3)).astype(np.float32), columns=list("xyz"))
    imodmodel.write(points.assign(object_id=0, contour_id=np.arange(9) // 3), tmp_path / "TS_1.mod")
    class_N = np.array([1, 2] * 4 + [1])
    rewrite_list(tmp_path / "TS_1.mod", tmp_path / "out" / "TS_1.mod", class_N, ("a", "b"))
    found = imodmodel.read(tmp_path / "out" / "TS_1.mod")
    for number in (1, 2):
        mine = found[found.object_id == number - 1][["x", "y", "z"]].to_numpy(np.float32)
        np.testing.assert_array_equal(mine, points.to_numpy()[class_N == number])
    assert read_list(tmp_path / "out" / "TS_1.mod").class_names == ("a", "b")


def test_copick_points_are_written_again_beside_the_old_ones(tmp_path):
    picks = tmp_path / "project" / "ExperimentRuns" / "TS_1" / "Picks"
    picks.mkdir(parents=True)
    shift = np.eye(4)
    shift[:3, 3] = [1, -2, 3]
    points = [
        {
            "location": {"x": 10.5 * i, "y": 20, "z": 30},
            "transformation_": shift.tolist(),
            "instance_id": i,
            "score": 0.5,
        }
        for i in range(3)
    ]
    content = {
        "pickable_object_name": "ribo",
        "user_id": "ann",
        "session_id": "1",
        "run_name": "TS_1",
        "unit": "angstrom",
        "points": points,
    }
    (picks / "ann_1_ribo.json").write_text(json.dumps(content))
    table = read_list(tmp_path / "project")
    np.testing.assert_allclose(table.xyz_N3[2], [22, 18, 33])
    rewrite_list(tmp_path / "project", tmp_path / "project", np.array([1, 2, 1]), ("a b", "junk"))
    assert {p.name for p in picks.iterdir()} == {"ann_1_ribo.json", "tomotutor_0_a-b.json", "tomotutor_0_junk.json"}
    assert json.loads((picks / "ann_1_ribo.json").read_text()) == content
    assert json.loads((picks / "tomotutor_0_a-b.json").read_text())["points"] == [points[0], points[2]]


# ---- the field's own packages ----------------------------------------------------------------------------------------


def test_starfile_reads_what_we_write(tmp_path):
    table = make_table()
    write_list(table, tmp_path / "p.star", "relion", entries(table))
    assert {line.split()[0] for line in (tmp_path / "p.star").read_text().splitlines()[15:]} == set(
        table.tomogram_N
    )  # RELION wants no quotes
    frame = starfile.read(tmp_path / "p.star", parse_as_string=["rlnTomoName"])
    assert frame["rlnTomoName"].tolist() == table.tomogram_N.tolist()
    for i, axis in enumerate("XYZ"):
        centred = (table.xyz_N3[:, i] - SIZE[i] / 2) * VOXEL
        np.testing.assert_allclose(frame[f"rlnCenteredCoordinate{axis}Angst"], centred, atol=1e-5)
    np.testing.assert_allclose(frame[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]], table.angles_deg_N3, atol=1e-5)
    write_list(table, tmp_path / "p4.star", "relion4", entries(table))
    blocks = starfile.read(tmp_path / "p4.star", parse_as_string=["rlnTomoName"])
    assert float(np.ravel(blocks["optics"]["rlnTomoTiltSeriesPixelSize"])[0]) == PIXEL
    np.testing.assert_allclose(blocks["particles"]["rlnCoordinateY"], table.xyz_N3[:, 1] * VOXEL / PIXEL, atol=1e-4)


def test_dynamotable_reads_what_we_write_and_we_what_it_writes(tmp_path):
    table = make_table(names=("TS_001", "TS_2"))
    write_list(table, tmp_path / "p.tbl", "dynamo", entries(table))
    frame = dynamotable.read(tmp_path / "p.tbl", tmp_path / "p.doc")
    assert [name.removesuffix(".mrc") for name in frame["tomo_file"]] == table.tomogram_N.tolist()
    np.testing.assert_allclose(frame[["x", "y", "z"]], table.xyz_N3, atol=1e-5)
    np.testing.assert_allclose(frame[["tdrot", "tilt", "narot"]], dynamo_from_relion(table.angles_deg_N3), atol=1e-5)
    assert frame["class"].tolist() == table.class_N.tolist()
    np.testing.assert_allclose(frame[["ymintilt", "ymaxtilt"]], table.tilt_range_N2)
    dynamotable.write(frame.assign(dx=0.25, dz=-1.5), str(tmp_path / "theirs.tbl"))
    again = read_list(tmp_path / "theirs.tbl")
    np.testing.assert_allclose(again.xyz_N3, table.xyz_N3 + np.array([0.25, 0, -1.5]), atol=1e-5)
    assert again.tomogram_N.tolist() == table.tomogram_N.tolist()


def test_emfile_reads_what_we_write_and_we_what_it_writes(tmp_path):
    table = make_table(names=("51", "73"))
    write_list(table, tmp_path / "p.em", "em", entries(table))
    values = emfile.read(tmp_path / "p.em")[1][0].astype(np.float64)
    np.testing.assert_allclose(values[:, 7:10] + values[:, 10:13], table.xyz_N3, atol=1e-6)
    assert np.abs(values[:, 10:13]).max() <= 0.5
    np.testing.assert_allclose(values[:, 16:19], em_from_relion(table.angles_deg_N3), atol=1e-4)
    assert values[:, 4].astype(int).astype(str).tolist() == table.tomogram_N.tolist()
    (tmp_path / "p.doc").unlink()
    emfile.write(tmp_path / "p.em", values[None].astype(np.float32), overwrite=True)
    assert_same(read_list(tmp_path / "p.em"), table.replace(class_names=()), "em")


def test_imodmodel_reads_what_we_write_and_we_what_it_writes(tmp_path):
    table = make_table(names=("TS_1",))
    write_list(table, tmp_path / "TS_1.mod", "imod", entries(table))
    frame = imodmodel.read(tmp_path / "TS_1.mod")
    for number in (1, 2, 3):  # IMOD has the centre of the first voxel at 0.5, 0.5, 0
        mine = frame[frame.object_id == number - 1][["x", "y", "z"]].to_numpy()
        np.testing.assert_allclose(mine, table.xyz_N3[table.class_N == number] + [0.5, 0.5, 0], atol=1e-3)
    imodmodel.write(frame[["x", "y", "z"]].copy(), tmp_path / "theirs.mod")
    theirs = read_list(tmp_path / "theirs.mod")
    assert theirs.class_N is None
    np.testing.assert_allclose(np.sort(theirs.xyz_N3, 0), np.sort(table.xyz_N3, 0), atol=1e-3)


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_frames_ask_for_what_is_missing():
    table = make_table()
    with pytest.raises(TomoTutorError, match=r"voxel size of tomogram .* is unknown.* give --voxel-size, --tomograms"):
        in_frame(table, "angst", "corner", {})
    with pytest.raises(TomoTutorError, match=r"size of tomogram .* is unknown.* give --tomograms"):
        in_frame(table, "voxel", "centre", {})
    mixed = entries(table) | {"7": TomogramEntry("7", "", 10.0, SIZE)}
    with pytest.raises(TomoTutorError, match=r"different voxel sizes \(TS_.*: 7\.840 Å, 7: 10\.000 Å\)"):
        in_frame(in_frame(table, "angst", "corner", mixed), "voxel", "corner", mixed)
    np.testing.assert_array_equal(in_frame(table, "voxel", "corner", {}).xyz_N3, table.xyz_N3)
    half = in_frame(table.replace(voxel_size_angst=VOXEL / 2), "voxel", "corner", entries(table))
    np.testing.assert_allclose(half.xyz_N3, table.xyz_N3 / 2)


def test_a_binning_that_is_no_whole_number_keeps_the_centre():
    entry = TomogramEntry("a", "", 1.724 * 8.12065, (4000 / 8.12065,) * 3, 1.724, (6896.0,) * 3)
    table = ParticleTable("x", np.array(["a"], dtype=object), np.zeros((1, 3)), "angst", "centre")
    np.testing.assert_allclose(in_frame(table, "angst", "corner", {"a": entry}).xyz_N3, 3448)
    np.testing.assert_allclose(in_frame(table, "voxel", "corner", {"a": entry}).xyz_N3, 2000 / 8.12065)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tbl", b"1 2 3\n", "rows of 3 columns; expected a Dynamo table"),
        ("a.tbl", b"", "found no rows"),
        ("a.tbl", b"x " * 30, "not a Dynamo table"),
        ("a.tbl", b"nan " * 30, r"column 20 \(tomogram\) of particle 1 is nan"),
        ("a.tbl", b"\xff\xfe", "not the text of a Dynamo table"),
        ("a.em", b"short", "expected an EM file"),
        ("a.em", bytes([6, 0, 0, 5]) + bytes(508), "expected a motive list: 20×N×1"),
        (
            "a.em",
            bytes([6, 0, 0, 5, 20, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0]) + bytes(496),
            "cut short: 512 bytes, but 9 particles need 1232",
        ),
        ("a.mod", b"no model", "expected an IMOD model"),
        ("a.mod", b"IMODV1.2" + bytes(232) + b"OBJT", "cut short"),
        ("a.mod", b"IMODV1.2" + bytes(232) + b"IEOF", "found no points"),
        ("a.csv", b"x,y\n1,2\n", "found the columns x, y; expected x,y,z"),
        ("a.csv", b"x,y,z\n", "the particle list is empty"),
        ("a.csv", b"x,y,z\n1,2,up\n", "row 2, column z: found 'up'"),
        ("a.csv", b"x,y,z\n1,2\n", "row 2 has 2 cells, the header 3"),
        ("a.csv", b"x,y,z,x\n1,2,3,4\n", "two of its columns have one name"),
        ("a.csv", b"x,y,z,tomogram\n1,2,3,a\n1,2,3,\n", "found the tomogram name ''"),
        ("a.json", b"{}", "expected copick's picks"),
        ("a.json", b"{", "not a JSON file"),
        (
            "a.json",
            b'{"pickable_objects": [], "overlay_root": "x"}',
            "configuration of a copick project; name the folder",
        ),
        (
            "a.json",
            b'{"pickable_object_name": "a", "points": [{"location": {"x": 1}}], "run_name": "r"}',
            "point 1 is incomplete",
        ),
        ("a.json", b'{"pickable_object_name": "a", "points": []}', "does not tell its run"),
        ("a.xyz", b"1 2 3", "found the ending .xyz; expected a particle list"),
    ],
)
def test_bad_lists_get_one_clear_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TomoTutorError, match=message) as caught:
        read_list(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(TomoTutorError, match="no such file"):
        read_list(tmp_path / f"gone_{name}")


def test_a_folder_is_known_by_its_content(tmp_path):
    with pytest.raises(TomoTutorError, match="no particle list in this folder"):
        read_list(tmp_path)
    table = make_table(names=("a", "b"))
    write_list(table, tmp_path / "m", "imod", entries(table))
    assert format_of(tmp_path / "m") == "imod"
    write_list(table, tmp_path / "c", "copick", entries(table))
    assert format_of(tmp_path / "c") == "copick"
    with pytest.raises(TomoTutorError, match="a model holds one tomogram, this list has 2"):
        write_list(table, tmp_path / "p.mod", "imod", entries(table))


@pytest.mark.parametrize("kind", ["imod", "copick", "dynamo", "em"])
@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden"])
def test_a_tomogram_name_is_no_path_out_of_the_folder(tmp_path, kind, name):
    table = make_table(names=(name,))
    if kind in ("dynamo", "em") and name == ".hidden":
        return  # only a word in a text there
    with pytest.raises(TomoTutorError, match="cannot"):
        write_list(table, tmp_path / "deep" / "er" / FILES[kind], kind, entries(table))
    assert not list(tmp_path.rglob("*up*"))


def test_a_table_map_that_lacks_a_tomogram_is_told(tmp_path):
    (tmp_path / "a.tbl").write_text(ORIGINALS["dynamo"])
    (tmp_path / "indices_column20.doc").write_text("3 /data/x/TS_3_b8.rec\n4 C:\\data\\TS_4.mrc\n")
    assert read_list(tmp_path / "a.tbl").tomogram_N.tolist() == ["TS_3_b8", "TS_4"]
    (tmp_path / "a.doc").write_text("3 TS_3.rec\n")
    with pytest.raises(TomoTutorError, match=r"its tomogram 4 is not in .*a\.doc, which has 3"):
        read_list(tmp_path / "a.tbl")
    (tmp_path / "a.doc").write_text("3 TS_3.rec\n4 other/TS_3.mrc\n")
    with pytest.raises(TomoTutorError, match="files of one name"):
        read_list(tmp_path / "a.tbl")


def test_a_table_keeps_its_fields_together():
    table = make_table(n=10)
    rows = np.array([7, 2])
    taken = table.take(rows)
    for field in dataclasses.fields(table):
        values = getattr(table, field.name)
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(getattr(taken, field.name), values[rows])
    assert [(name, r.tolist()) for name, r in taken.groups()] == [
        (n, [i for i, m in enumerate(taken.tomogram_N) if m == n]) for n in dict.fromkeys(taken.tomogram_N)
    ]


# ---- real files ------------------------------------------------------------------------------------------------------


def test_real_dynamo_table(data, tmp_path):
    path = data / "formats" / "picked_b8.tbl"
    table = read_list(path)
    frame = dynamotable.read(path)
    assert (len(table), set(table.tomogram_N)) == (4427, {"1", "2", "3", "4"})
    assert table.xyz_N3[0].tolist() == [67.75, 17.087, 81]
    np.testing.assert_array_equal(table.xyz_N3, frame[["x", "y", "z"]])
    np.testing.assert_array_equal(table.tilt_range_N2, np.tile([-60, 60], (4427, 1)))
    np.testing.assert_allclose(angles_to_matrix(table.angles_deg_N3), np.tile(np.eye(3), (4427, 1, 1)), atol=1e-12)
    rewrite_list(path, tmp_path / "b.tbl")
    assert [line.split() for line in (tmp_path / "b.tbl").open()] == [line.split() for line in path.open()]


def test_real_motive_list(data, tmp_path):
    path = data / "formats" / "tric.em"
    table = read_list(path, Reading(coordinate_pixel_size=1.7))
    values = emfile.read(path)[1][0].astype(np.float64)
    assert (len(table), table.tomogram_N[0], table.class_N[0], table.voxel_size_angst) == (139, "51", 1, 1.7)
    np.testing.assert_allclose(table.xyz_N3[0], [1703 + 0.054937039, 734 + 0.28142968, 720 - 0.024324611], atol=1e-5)
    phi, psi, theta = values[:, 16:19].T
    matrices = Rotation.from_euler("zxz", np.stack([phi, theta, psi], axis=1), degrees=True).as_matrix()
    np.testing.assert_allclose(angles_to_matrix(table.angles_deg_N3), matrices, atol=1e-6)
    rewrite_list(path, tmp_path / "b.em")
    assert (tmp_path / "b.em").read_bytes() == path.read_bytes()
