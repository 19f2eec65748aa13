import numpy as np
import pytest
import starfile
from gemmi import cif

from helpers import write_star
from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.particles.relion import read_relion
from tomotutor.formats.particles.relion_sets import RelionList, named_in_set, read_tomograms
from tomotutor.formats.particles.table import Reading, TomogramEntry
from tomotutor.formats.star import parse_star

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
    particles = read_relion(star)
    assert particles.ids == ("001:1", "001:2", "002:3")
    np.testing.assert_array_equal(particles.xyz_N3, [[1.1, -2.2, 3.0], [10.5, 0, -0.5], [7, 8, 9]])


def test_writing_keeps_every_token(star, tmp_path):
    out = tmp_path / "out.star"
    RelionList(star).write(out, {"_rlnClassNumber": ["1", "2", "1"], "_tomotutorConfidence": ["0.5", "0.25", "1"]})
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
    RelionList(star).write(out, {"_rlnClassNumber": ["3", "2", "1"]}, np.array([0, 2]))
    table = starfile.read(out, parse_as_string=["rlnTomoName"])["particles"]
    assert table["rlnTomoName"].tolist() == ["001", "002"]
    assert table["rlnClassNumber"].tolist() == [3, 1]
    assert table["rlnCenteredCoordinateZAngst"].tolist() == [3.0, 9.0]
    assert table["rlnSomethingNew"].tolist() == ["two words", "plain"]


def test_the_tokens_of_a_column(star):
    assert RelionList(star).tokens("_rlnClassNumber") == ["4", "5", "6"]
    assert RelionList(star).tokens("_rlnNothing") is None


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
        (
            STAR.replace("_rlnCenteredCoordinateZAngst", "_rlnZ"),
            "lacks the column rlnCenteredCoordinateZAngst; it has rlnTomoName",
        ),
        (STAR.replace("_rlnTomoName", "_rlnImageName"), "lacks the column rlnTomoName"),
        (
            STAR.replace("-2.200", "north"),
            "column rlnCenteredCoordinateYAngst, row 1: found 'north'; expected a number",
        ),
        (STAR.replace("-2.200", "nan"), "row 1: found 'nan'; expected a finite number"),
        (STAR.replace("0010.5 ", ""), "not a STAR file that can be read"),
        (STAR.split("001 1.10")[0], "the particle list is empty"),
        (STAR.replace("CenteredCoordinateX", "CoordinateX"), "lacks the column rlnCenteredCoordinateXAngst"),
        (STAR.replace("plain", "one two"), "not a STAR file that can be read"),
        (STAR.replace(" 4 [", " 4.5 ["), "rlnClassNumber of particle 1 is 4.5; expected a whole number"),
        (STAR.replace("-2.200", "-2e9"), r"particle 1 lies at 1.1, -2e\+09, 3; expected finite numbers"),
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
        read_relion(path)
    assert "bad.star" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_rubbish_is_no_list(tmp_path):
    path = tmp_path / "bad.star"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(TomoTutorError, match=r"bad\.star"):
        read_relion(path)


PIXELS = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnTomoTiltSeriesPixelSize #2
1 2.5
2 5.0

data_particles

loop_
_rlnTomoName #1
_rlnCoordinateX #2
_rlnCoordinateY #3
_rlnCoordinateZ #4
_rlnOpticsGroup #5
_rlnOriginXAngst #6
_rlnOriginYAngst #7
_rlnOriginZAngst #8
_rlnTomoSubtomogramRot #9
_rlnTomoSubtomogramTilt #10
_rlnTomoSubtomogramPsi #11
_rlnAngleRot #12
_rlnAngleTilt #13
_rlnAnglePsi #14
a 100 200 30 1 5 -10 2 20 70 -35 10 40 100
b 50 20 30 2 0 0 0 0 0 0 170 20 -100
"""


def relion_matrix(rot, tilt, psi):
    """RELION's Euler::anglesToMatrix3, written out a turn at a time: about z, y, z, each time the frame's axes."""

    def turn(degrees, i, j):
        m = np.eye(3)
        m[i, i] = m[j, j] = np.cos(np.deg2rad(degrees))
        m[i, j], m[j, i] = np.sin(np.deg2rad(degrees)), -np.sin(np.deg2rad(degrees))
        return m

    return turn(psi, 0, 1) @ turn(-tilt, 0, 2) @ turn(rot, 0, 1)


def test_pixels_of_the_tilt_series_shifts_and_both_orientations(tmp_path):
    path = tmp_path / "p.star"
    path.write_text(PIXELS)
    table = read_relion(path)
    assert (table.unit, table.origin) == ("angst", "corner")
    a_sub, a_part = relion_matrix(20, 70, -35), relion_matrix(10, 40, 100)
    np.testing.assert_allclose(table.xyz_N3[0], np.array([250, 500, 75]) - a_sub @ [5, -10, 2], atol=1e-9)
    np.testing.assert_allclose(table.xyz_N3[1], [250, 100, 150], atol=1e-9)  # another optics group, another pixel
    np.testing.assert_allclose(relion_matrix(*table.angles_deg_N3[0]), a_sub @ a_part, atol=1e-9)
    np.testing.assert_allclose(table.angles_deg_N3[1], [170, 20, -100], atol=1e-9)
    np.testing.assert_allclose(read_relion(path, Reading(coordinate_pixel_size=4.0)).xyz_N3[1], [200, 80, 120])


def test_what_a_pixel_measures_is_asked_where_it_is_not_sure(tmp_path):
    path = tmp_path / "p.star"
    path.write_text(PIXELS.replace("_rlnTomoTiltSeriesPixelSize", "_rlnImagePixelSize"))
    with pytest.raises(
        TomoTutorError, match=r"pixels of a size that it does not tell; give .* --coordinate-pixel-size"
    ):
        read_relion(path)
    path.write_text(PIXELS.replace("a 100", "a.tomostar 100"))
    with pytest.raises(TomoTutorError, match=r"come from WARP or M, which does not tell .* --coordinate-pixel-size"):
        read_relion(path)
    path.write_text(PIXELS)
    tomograms = {n: TomogramEntry(n, extent_angst_xyz=(300.0, 600.0, 100.0), pixel_size_angst=2.5) for n in "ab"}
    np.testing.assert_allclose(
        read_relion(path, Reading(tomograms)).xyz_N3[1], [125, 50, 75]
    )  # the tomogram set is believed
    tomograms["a"] = TomogramEntry("a", extent_angst_xyz=(240.0, 600.0, 100.0), pixel_size_angst=2.5)
    with pytest.raises(
        TomoTutorError, match=r"particle 1 at 100, 200, 30 lies outside tomogram a .* --coordinate-pixel-size"
    ):
        read_relion(path, Reading(tomograms))


def test_the_picker_of_relion_counts_from_one_pixel_below(tmp_path):
    path = tmp_path / "p.star"
    path.write_text(STAR)
    with pytest.raises(TomoTutorError, match=r"pixel size .* is unknown; give --tomograms or --coordinate-pixel-size"):
        read_relion(path, Reading(centre="relion-napari"))
    tomograms = {n: TomogramEntry(n, pixel_size_angst=1.5) for n in ("001", "002")}
    np.testing.assert_allclose(
        read_relion(path, Reading(tomograms, centre="relion-napari")).xyz_N3[2], [7 - 1.5, 8 - 1.5, 9 - 1.5]
    )
    path.write_text(PIXELS)
    with pytest.raises(TomoTutorError, match="this list counts from the corner"):
        read_relion(path, Reading(centre="relion-napari"))


def test_pytom_match_pick(tmp_path):
    columns = {
        "rlnCoordinateX": [10, 20],
        "rlnCoordinateY": [30, 40],
        "rlnCoordinateZ": [5, 6],
        "rlnAngleRot": [1, 2],
        "rlnAngleTilt": [3, 4],
        "rlnAnglePsi": [5, 6],
        "rlnLCCmax": [0.5, 0.25],
        "rlnCutOff": [0.1, 0.1],
        "rlnSearchStd": [0.02, 0.02],
        "rlnDetectorPixelSize": [13.79, 13.79],
        "rlnMicrographName": ["tomo_1", "tomo_1"],
    }
    table = read_relion(write_star(tmp_path / "p.star", "particles", columns))
    assert table.ids == ("tomo_1:1", "tomo_1:2")
    np.testing.assert_allclose(table.xyz_N3[1], [20 * 13.79, 40 * 13.79, 6 * 13.79])
    np.testing.assert_array_equal(table.score_N, [0.5, 0.25])


@pytest.mark.parametrize("block", ["data_", "data_optimisation_set"])
def test_optimisation_set(tmp_path, block):
    path = tmp_path / "optimisation_set.star"
    path.write_text(
        f"# version 50001\n\n{block}\n\n_rlnTomoParticlesFile  Extract/job1/particles.star\n_rlnTomoTomogramsFile "
        "T/t.star\n"
    )
    assert named_in_set(parse_star(path), path) == ("Extract/job1/particles.star", "T/t.star")
    path.write_text(f"{block}\n\nloop_\n_rlnTomoParticlesFile #1\n_rlnTomoTomogramsFile #2\np.star t.star\n")
    assert named_in_set(parse_star(path), path) == ("p.star", "t.star")
    path.write_text(f"{block}\n\n_rlnTomoTomogramsFile T/t.star\n")
    with pytest.raises(TomoTutorError, match="names no particle list"):
        named_in_set(parse_star(path), path)
    path.write_text(STAR)
    assert named_in_set(parse_star(path), path) is None


def test_real_warp_list(data):
    path = data / "formats" / "warptools.star"
    with pytest.raises(TomoTutorError, match="WARP or M"):
        read_relion(path)
    table = read_relion(path, Reading(coordinate_pixel_size=10.0))
    assert len(table) == 40
    assert table.tomogram_N[0] == "Unt_083.tomostar"
    np.testing.assert_allclose(table.xyz_N3[0], [4945.21, 5640.65, 281.46])
    np.testing.assert_allclose(table.angles_deg_N3[0], [53.913, 104.84, -78.58])


def test_real_tomogram_set(data):
    found = read_tomograms(data / "formats" / "relion5_tomograms.star")
    assert len(found) == 10
    entry = found["tomo200528_100"]
    assert entry.file == "Tomograms/job009/tomograms/rec_tomo200528_100.mrc"
    assert entry.voxel_size_angst == pytest.approx(1.724 * 8.12065)
