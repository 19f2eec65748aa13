import numpy as np
import pytest
import starfile
from gemmi import cif

from helpers import write_star
from tomotutor.errors import TomoTutorError
from tomotutor.formats.relion import read_column, read_particles, read_tomograms, write_particles

STAR = """
# version 50001

data_optics

loop_
_rlnOpticsGroup #1
_rlnVoltage #2
1 300.000000


# version 50001

data_particles

loop_
_rlnTomoName #1
_rlnCenteredCoordinateXAngst #2
_rlnCenteredCoordinateYAngst #3
_rlnCenteredCoordinateZAngst #4
_rlnClassNumber #5
_rlnTomoVisibleFrames #6
_rlnSomethingNew #7
001 1.10 -2.200 +3.0e0 4 [1,1,0] 'two words'
001 0010.5 0 -.5 5 [1,0,0] "also two"
002 7 8 9 6 [0,0,0] plain
"""


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "particles.star"
    path.write_text(STAR)
    return path


def test_reads_names_as_text_and_coordinates_as_numbers(star):
    particles = read_particles(star)
    assert particles.ids == ("001:1", "001:2", "002:3")
    np.testing.assert_array_equal(particles.xyz_angst_N3, [[1.1, -2.2, 3.0], [10.5, 0, -0.5], [7, 8, 9]])


def test_writing_keeps_every_token(star, tmp_path):
    out = tmp_path / "out.star"
    write_particles(star, out, {"_rlnClassNumber": ["1", "2", "1"], "_tomotutorConfidence": ["0.5", "0.25", "1"]})
    before, after = cif.read(str(star)), cif.read(str(out))
    assert [b.name for b in after] == ["optics", "particles"]
    loop = after["particles"].find_loop("_rlnTomoName").get_loop()
    assert loop.tags[-1] == "_tomotutorConfidence"
    for tag in before["particles"].find_loop("_rlnTomoName").get_loop().tags:
        found, expected = list(after["particles"].find_loop(tag)), list(before["particles"].find_loop(tag))
        assert found == (["1", "2", "1"] if tag == "_rlnClassNumber" else expected)
    assert list(after["optics"].find_loop("_rlnVoltage")) == ["300.000000"]
    assert out.read_text().startswith("# version 50001\n")


def test_an_independent_reader_agrees(star, tmp_path):
    out = tmp_path / "out.star"
    write_particles(star, out, {"_rlnClassNumber": ["3", "2", "1"]}, np.array([0, 2]))
    table = starfile.read(out, parse_as_string=["rlnTomoName"])["particles"]
    assert table["rlnTomoName"].tolist() == ["001", "002"]
    assert table["rlnClassNumber"].tolist() == [3, 1]
    assert table["rlnCenteredCoordinateZAngst"].tolist() == [3.0, 9.0]
    assert table["rlnSomethingNew"].tolist() == ["two words", "plain"]


def test_read_column(star):
    assert read_column(star, "_rlnClassNumber") == ["4", "5", "6"]
    assert read_column(star, "_rlnNothing") is None


def test_tomograms(tmp_path):
    columns = {
        "rlnTomoName": ["a", "b"],
        "rlnTomoTiltSeriesPixelSize": [2.5, 2.5],
        "rlnTomoTomogramBinning": [4, 4],
        "rlnTomoSizeX": [400, 400],
        "rlnTomoSizeY": [300, 300],
        "rlnTomoSizeZ": [200, 200],
        "rlnTomoReconstructedTomogram": ["t/a.mrc", "t/b.mrc"],
    }
    found = read_tomograms(write_star(tmp_path / "t.star", "global", columns))
    assert found["b"].file == "t/b.mrc"
    assert found["b"].voxel_size_angst == 10
    assert found["b"].size_xyz == (100, 75, 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STAR.replace("data_particles", "data_"), r"a block without a name .*name the block"),
        (STAR.replace("_rlnCenteredCoordinateZAngst", "_rlnZ"), "lacks the column rlnCenteredCoordinateZAngst; it has rlnTomoName"),
        (STAR.replace("_rlnTomoName", "_rlnMicrographName"), "lacks the column rlnTomoName"),
        (STAR.replace("-2.200", "north"), "column rlnCenteredCoordinateYAngst, row 1: found 'north'; expected a number"),
        (STAR.replace("-2.200", "nan"), "row 1: found 'nan'; expected a finite number"),
        (STAR.replace("0010.5 ", ""), "not a STAR file that can be read"),
        (STAR.split("001 1.10")[0], "the particle list is empty"),
        (STAR.replace("CenteredCoordinateXAngst", "CoordinateX"), "expected RELION 5's rlnCenteredCoordinateXAngst"),
        (
            STAR.replace("data_particles", "data_stuff").replace("_rlnCenteredCoordinateX", "_x"),
            "found data_optics, data_stuff; expected a block",
        ),
        ("", "found no blocks"),
        ("just words", "not a STAR file that can be read"),
    ],
)
def test_bad_lists_get_one_clear_sentence(tmp_path, text, message):
    path = tmp_path / "bad.star"
    path.write_text(text)
    with pytest.raises(TomoTutorError, match=message) as caught:
        read_particles(path)
    assert "bad.star" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_rubbish_is_no_list(tmp_path):
    path = tmp_path / "bad.star"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(TomoTutorError, match=r"bad\.star"):
        read_particles(path)


def test_real_tomogram_set(data):
    found = read_tomograms(data / "formats" / "relion5_tomograms.star")
    assert len(found) == 10
    entry = found["tomo200528_100"]
    assert entry.file == "Tomograms/job009/tomograms/rec_tomo200528_100.mrc"
    assert entry.voxel_size_angst == pytest.approx(1.724 * 8.12065)
