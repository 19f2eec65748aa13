"""Labels out in every format, and the command convert."""

import csv
import json

import numpy as np
import pytest
from gemmi import cif

from helpers import FAST, write_mrc, write_star
from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.data.sources import Source
from tomotutor.export.lists import export_list
from tomotutor.formats.particles.lists import read_list
from tomotutor.learn.results import Predictions

CLASSES = ("ribosome", "70S late", "junk")
CLASS_N = np.array([1, 0, 1, 1, 0])
PREDICTIONS = Predictions(
    CLASS_N, np.linspace(0.5, 1, 5), np.linspace(0, 0.1, 5), np.array([False, True, False, False, True])
)
XYZ = np.array([[10.25, 11, 12], [20, 21.5, 12], [30, 31, 13], [33, 12, 11], [5, 25, 14.75]])
NAMES = ["ts_1", "ts_1", "ts_2", "ts_1", "ts_2"]
TABLE = "".join(
    f"{i + 1} 1 1 0 0 0 {10 * i} {20 + i} {5 - i} 0.{i}5 0 0 1 -60 60 0 0 0 0 {name[-1]} 0 {i + 1} 0 {x} {y} {z} 0 0 0 "
    "0 0 1 0 0 0\n"
    for i, (name, (x, y, z)) in enumerate(zip(NAMES, XYZ.tolist(), strict=True))
)


@pytest.fixture
def folder(tmp_path):
    for name in ("ts_1", "ts_2"):
        write_mrc(tmp_path / f"{name}.mrc", np.zeros((24, 36, 48), np.float32), 10.0)
    (tmp_path / "l.tbl").write_text(TABLE)
    (tmp_path / "l.doc").write_text("1 ts_1.mrc\n2 ts_2.mrc\n")
    return tmp_path


@pytest.fixture
def source(folder):
    return Source("particles", str(folder / "l.tbl"), root=str(folder))


IDS = tuple(f"{name}:{i}" for i, name in enumerate(NAMES, 1))


def test_own_format_keeps_every_value_but_the_class(source, folder):
    written = export_list(folder / "out", source, "dynamo", IDS, PREDICTIONS, CLASSES, per_class=True)
    lines = [line.split() for line in (folder / "out" / "particles.tbl").open()]
    before = [line.split() for line in TABLE.splitlines()]
    assert [[t for i, t in enumerate(line) if i != 21] for line in lines] == [
        [t for i, t in enumerate(line) if i != 21] for line in before
    ]
    assert [line[21] for line in lines] == ["2", "1", "2", "2", "1"]
    assert read_list(folder / "out" / "particles.tbl").tomogram_N.tolist() == NAMES
    assert read_list(folder / "out" / "particles_70S_late.tbl").xyz_N3.tolist() == XYZ[[0, 2, 3]].tolist()
    assert not (folder / "out" / "particles_junk.tbl").exists()
    assert all(path.exists() for path in written)
    assert (
        folder / "out" / "classes.csv"
    ).read_text() == "number,class,particles\n1,ribosome,2\n2,70S late,3\n3,junk,0\n"
    previous = list(csv.reader((folder / "out" / "previous_class_number.csv").open()))
    assert previous[1:] == [[item, str(i)] for i, item in enumerate(IDS, 1)]


def test_another_format_is_converted_with_the_class(source, folder):
    original = read_list(folder / "l.tbl")
    for kind, name in (("em", "particles.em"), ("imod", "imod"), ("copick", "copick")):
        for _ in range(2):  # an export can be made again
            export_list(folder / "out", source, kind, IDS, PREDICTIONS, CLASSES)
        found = read_list(folder / "out" / name)
        places = found.xyz_N3 / (10 if kind == "copick" else 1)
        order = [int(np.argmin(np.abs(XYZ - p).sum(1))) for p in places]
        np.testing.assert_allclose(places, XYZ[order], atol=1e-4)
        assert found.tomogram_N.tolist() == original.tomogram_N[order].tolist()
        if kind == "em":
            assert found.class_N.tolist() == (CLASS_N + 1)[order].tolist()
        else:
            titles = [name.replace(" ", "-") for name in CLASSES] if kind == "copick" else CLASSES
            assert [found.class_names[c - 1] if found.class_names else titles[c - 1] for c in found.class_N] == [
                titles[c] for c in CLASS_N[order]
            ]
    export_list(folder / "out", source, "relion", IDS, PREDICTIONS, CLASSES, per_class=True)
    block = cif.read(str(folder / "out" / "particles.star"))["particles"]
    assert list(block.find_loop("_rlnClassNumber")) == ["2", "1", "2", "2", "1"]
    assert list(block.find_loop("_tomotutorLabeled")) == ["0", "1", "0", "0", "1"]
    centred = [float(v) for v in block.find_loop("_rlnCenteredCoordinateXAngst")]
    np.testing.assert_allclose(centred, (XYZ[:, 0] - 24) * 10)
    assert read_list(folder / "out" / "particles_ribosome.star").tomogram_N.tolist() == ["ts_1", "ts_2"]


def test_a_model_of_one_tomogram_keeps_its_name(folder):
    assert main(["convert", str(folder / "l.tbl"), str(folder / "m"), "--format", "imod"]) == 0
    source = Source("particles", str(folder / "m" / "ts_1.mod"), root=str(folder))
    ids = read_list(source.file).ids
    few = Predictions(np.array([0, 2, 0]), np.ones(3), np.zeros(3), np.zeros(3, bool))
    written = export_list(folder / "out", source, "imod", ids, few, CLASSES)
    assert written[0] == folder / "out" / "ts_1.mod"
    assert read_list(written[0]).tomogram_N.tolist() == ["ts_1"] * 3
    assert sorted(read_list(written[0]).class_N) == [1, 1, 3]


def test_no_list_no_list(tmp_path):
    with pytest.raises(
        TomoTutorError, match="did not come from a particle list, which --format dynamo needs; use --format csv"
    ):
        export_list(tmp_path, None, "dynamo", IDS, PREDICTIONS, CLASSES)


def test_convert_tells_what_it_kept_and_dropped(folder, capsys):
    assert main(["convert", str(folder / "l.tbl"), str(folder / "a.star"), "--tomogram-dir", str(folder)]) == 0
    told = capsys.readouterr().out
    assert (
        "5 particles of 2 tomograms; kept: tomogram, position (shifts applied), orientation, class, score; no place "
        "for: tilt range, col" in told
    )
    assert main(["convert", str(folder / "a.star"), str(folder / "b.tbl"), "--tomogram-dir", str(folder)]) == 0
    again, original = read_list(folder / "b.tbl"), read_list(folder / "l.tbl")
    np.testing.assert_allclose(again.xyz_N3, original.xyz_N3, atol=1e-6)
    np.testing.assert_allclose(again.angles_deg_N3, original.angles_deg_N3, atol=1e-5)
    assert again.class_N.tolist() == original.class_N.tolist()
    np.testing.assert_allclose(again.score_N, original.score_N)
    capsys.readouterr()
    assert main(["convert", str(folder / "l.tbl"), str(folder / "c.tbl")]) == 0
    assert "every value as it was" in capsys.readouterr().out
    assert (folder / "c.tbl").read_text() == TABLE


def test_convert_asks_for_what_it_needs(folder, capsys):
    assert main(["convert", str(folder / "l.tbl"), str(folder / "a.star")]) == 1
    assert "voxel size of tomogram ts_1 is unknown" in capsys.readouterr().err
    assert main(["convert", str(folder / "l.tbl"), str(folder / "a.star"), "--voxel-size", "10"]) == 1
    assert "size of tomogram ts_1 is unknown" in capsys.readouterr().err
    assert (
        main(["convert", str(folder / "l.tbl"), str(folder / "project"), "--format", "copick", "--voxel-size", "10"])
        == 0
    )
    assert (
        main(["convert", str(folder / "l.tbl"), str(folder / "a.star"), "--format", "relion4", "--voxel-size", "10"])
        == 1
    )
    assert "give --tilt-series-pixel-size or --tomograms" in capsys.readouterr().err
    assert main(["convert", str(folder / "l.tbl"), str(folder / "l.tbl")]) == 1
    assert "this is the list itself" in capsys.readouterr().err
    assert main(["convert", str(folder / "l.tbl"), str(folder / "a.xyz")]) == 1
    assert "found the ending .xyz" in capsys.readouterr().err
    assert {p.name for p in folder.iterdir()} == {
        "l.tbl",
        "l.doc",
        "ts_1.mrc",
        "ts_2.mrc",
        "project",
    }  # nothing half-written
    columns = {"rlnTomoName": NAMES, "rlnTomoTiltSeriesPixelSize": [2.5] * 5, "rlnTomoTomogramBinning": [4] * 5}
    columns |= {f"rlnTomoSize{a}": [s] * 5 for a, s in zip("XYZ", (192, 144, 96), strict=True)}
    write_star(folder / "t.star", "global", columns)
    tomograms = ["--tomograms", str(folder / "t.star")]
    assert main(["convert", str(folder / "l.tbl"), str(folder / "a.star"), "--format", "relion4", *tomograms]) == 0
    np.testing.assert_allclose(read_list(folder / "a.star").xyz_N3, XYZ * 10, atol=1e-4)


def test_a_session_on_another_list_through_the_commands(folder, capsys):
    rng = np.random.default_rng(0)
    for name in ("ts_1", "ts_2"):
        write_mrc(folder / f"{name}.mrc", rng.normal(size=(24, 36, 48)).astype(np.float32), 10.0)
    settings = [
        w
        for k, v in (FAST | {"steps": "1", "batch_size": "2", "initial_size": "3"}).items()
        for w in ("--set", f"{k}={v}")
    ]
    session = str(folder / "s")
    assert (
        main(
            [
                "new",
                session,
                "--particles",
                str(folder / "l.tbl"),
                "--box",
                "8",
                "--classes",
                "a,b",
                "--no-junk",
                *settings,
            ]
        )
        == 0
    )
    (folder / "labels.csv").write_text("item,class\n" + "".join(f"{i},{'ab'[n % 2]}\n" for n, i in enumerate(IDS)))
    assert main(["import-labels", session, str(folder / "labels.csv")]) == 0
    assert main(["round", session]) == 0
    capsys.readouterr()
    for kind in ("dynamo", "copick"):
        assert main(["export", session, "--format", kind, "--out", str(folder / kind), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)
    assert read_list(folder / "dynamo" / "particles.tbl").class_N.tolist() == [1, 2, 1, 2, 1]
    assert (
        main(["apply", session, "--particles", str(folder / "l.tbl"), "--box", "8", "--out", str(folder / "applied")])
        == 0
    )
    assert len(read_list(folder / "applied" / "particles.tbl")) == 5
