import csv

import numpy as np
import pytest
from gemmi import cif

from tomotutor.base.errors import TomoTutorError
from tomotutor.export.lists import export_relion, write_predictions
from tomotutor.formats.label_csv import read_labels
from tomotutor.learn.results import Predictions

STAR = """# version 50001

data_particles

loop_
_rlnTomoName #1
_rlnCenteredCoordinateXAngst #2
_rlnCenteredCoordinateYAngst #3
_rlnCenteredCoordinateZAngst #4
_rlnClassNumber #5
001 1.10 -2.200 +3.0e0 9
001 0010.5 0 -.5 8
002 7 8 9 7
"""
IDS = ("001:1", "001:2", "002:3")
PREDICTIONS = Predictions(
    np.array([1, 0, 1]), np.array([0.75, 1.0, 0.5]), np.array([0.125, 0.0, 2.5e-9]), np.array([False, True, False])
)
CLASSES = ("ribosome", "70S late", "junk")


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "particles.star"
    path.write_text(STAR)
    return path


def columns(path):
    block = cif.read(str(path))["particles"]
    return {tag: list(block.find_loop(tag)) for tag in block.find_loop("_rlnTomoName").get_loop().tags}


def test_every_class_has_a_list_of_its_own_inside_the_folder(star, tmp_path):
    classes = ("a b", "a_b", "../../pwned")
    predictions = Predictions(np.array([0, 1, 2]), np.ones(3), np.zeros(3), np.zeros(3, bool))
    (tmp_path / "pwned.star").write_text("not ours")
    written = export_relion(tmp_path / "x" / "out", star, IDS, predictions, classes, per_class=True)
    lists = [path for path in written if path.name.startswith("particles_")]
    assert [columns(path)["_rlnClassNumber"] for path in lists] == [["1"], ["2"], ["3"]]
    assert {path.resolve().parent for path in lists} == {(tmp_path / "x" / "out").resolve()}
    assert (tmp_path / "pwned.star").read_text() == "not ours"


def test_names_are_text_to_a_spreadsheet_and_our_reader_takes_them_back(tmp_path):
    ids, classes = ("=cmd|' /C calc'!A0.png", "b", "+3"), ("+ribosome", "-70S", "junk")
    write_predictions(tmp_path / "p.csv", ids, PREDICTIONS, classes)
    with (tmp_path / "p.csv").open() as handle:
        assert not any(cell[:1] in "=+-@" for row in csv.reader(handle) for cell in row)
    read = read_labels(tmp_path / "p.csv")
    assert [(row.item, row.label) for row in read] == list(zip(ids, ("-70S", "+ribosome", "-70S"), strict=True))


def test_relion_keeps_values_and_adds_ours(star, tmp_path):
    written = export_relion(tmp_path / "out", star, IDS, PREDICTIONS, CLASSES, per_class=True)
    found = columns(tmp_path / "out" / "particles.star")
    assert found["_rlnCenteredCoordinateXAngst"] == ["1.10", "0010.5", "7"]
    assert found["_rlnCenteredCoordinateZAngst"] == ["+3.0e0", "-.5", "9"]
    assert found["_rlnClassNumber"] == ["2", "1", "2"]  # from 1, in the order of the classes
    assert found["_tomotutorConfidence"] == ["0.750000", "1.000000", "0.500000"]
    assert found["_tomotutorDisagreement"] == ["0.125", "0", "2.5e-09"]
    assert found["_tomotutorLabeled"] == ["0", "1", "0"]
    assert columns(tmp_path / "out" / "particles_70S_late.star")["_rlnTomoName"] == ["001", "002"]
    assert not (tmp_path / "out" / "particles_junk.star").exists()  # no particles, no list
    with (tmp_path / "out" / "classes.csv").open() as handle:
        assert list(csv.reader(handle)) == [
            ["number", "class", "particles"],
            ["1", "ribosome", "1"],
            ["2", "70S late", "2"],
            ["3", "junk", "0"],
        ]
    assert (
        tmp_path / "out" / "previous_class_number.csv"
    ).read_text() == "item,rlnClassNumber\n001:1,9\n001:2,8\n002:3,7\n"
    assert {p.name for p in written} == {p.name for p in (tmp_path / "out").iterdir()}


def test_a_list_without_classes_has_no_previous_ones(star, tmp_path):
    star.write_text(STAR.replace("_rlnClassNumber", "_rlnGroupNumber"))
    export_relion(tmp_path / "out", star, IDS, PREDICTIONS, CLASSES)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"particles.star", "classes.csv"}
    assert columns(tmp_path / "out" / "particles.star")["_rlnGroupNumber"] == ["9", "8", "7"]


def test_an_export_can_be_exported_again(star, tmp_path):
    export_relion(tmp_path / "a", star, IDS, PREDICTIONS, CLASSES)
    export_relion(tmp_path / "b", tmp_path / "a" / "particles.star", IDS, PREDICTIONS, CLASSES)
    assert columns(tmp_path / "a" / "particles.star") == columns(tmp_path / "b" / "particles.star")


def test_predictions_table(tmp_path):
    write_predictions(tmp_path / "p.csv", IDS, PREDICTIONS, CLASSES)
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "item,class,confidence,disagreement,labeled"
    assert lines[1:] == [
        "001:1,70S late,0.750000,0.125,0",
        "001:2,ribosome,1.000000,0,1",
        "002:3,70S late,0.500000,2.5e-09,0",
    ]


def test_no_list_no_star(tmp_path):
    with pytest.raises(TomoTutorError, match="did not come from a RELION particle list; use --format csv"):
        export_relion(tmp_path / "out", None, IDS, PREDICTIONS, CLASSES)
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TomoTutorError, match="cannot be written"):
        write_predictions(tmp_path / "file" / "p.csv", IDS, PREDICTIONS, CLASSES)
