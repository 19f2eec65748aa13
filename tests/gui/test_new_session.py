"""The New session page: what it would make, and a mistake in each of its fields."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from helpers import two_kinds, write_mrc, write_star
from tomotutor.gui.welcome.new_session import KINDS
from tomotutor.gui.welcome.page import WelcomePage
from tomotutor.session import Session

Left = Qt.MouseButton.LeftButton
LIST, ARRAY, IMAGES = next(iter(KINDS)), "NumPy array", "folder of 2D images"


@pytest.fixture
def welcome(qtbot):
    page = WelcomePage()
    qtbot.addWidget(page)
    page.resize(520, 760)
    page.show()
    qtbot.mouseClick(page.buttons["New session…"], Left)
    yield page
    page.cancel()


@pytest.fixture
def picks(tmp_path):
    """A list of eight bright particles in a tomogram of dark ones, with its tomogram set beside it."""
    volume = np.random.default_rng(0).normal(0, 1, (24, 40, 40)).astype(np.float32)
    zyx = np.array([(12, y, x) for y in (8, 32) for x in (4, 14, 24, 34)])
    for z, y, x in zyx:
        volume[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] += 4
    write_mrc(tmp_path / "t.mrc", volume)
    columns = {"rlnTomoName": ["t"] * 8}
    for axis, values in zip("ZYX", (zyx - np.array(volume.shape) / 2).T * 10, strict=True):
        columns[f"rlnCenteredCoordinate{axis}Angst"] = values.tolist()
    path = write_star(tmp_path / "p.star", "particles", columns)
    tomograms = {"rlnTomoName": ["t"], "rlnTomoTiltSeriesPixelSize": [10.0], "rlnTomoTomogramBinning": [1.0]}
    tomograms |= {f"rlnTomoSize{axis}": [n] for axis, n in zip("ZYX", volume.shape, strict=True)}
    tomograms["rlnTomoReconstructedTomogram"] = ["t.mrc"]
    write_star(tmp_path / "tomograms.star", "global", tomograms)
    return path


def looked(qtbot, page):
    qtbot.waitUntil(lambda: page.preview.text.text() not in ("", "looking …"), timeout=20000)
    return page.preview.text.text()


def test_a_list_is_shown_before_a_session_is_made(welcome, picks, qtbot, tmp_path):
    page = welcome.new
    page.path.value, page.box.value = picks, 10
    assert page.tomograms.value == tmp_path / "tomograms.star"
    text = looked(qtbot, page)
    assert "8 particles from 1 tomogram · 10 × 10 × 10 voxels · voxels of 10 Å, as the files say" in text
    assert "protein looks bright, and is taken to be dark: right?" in text
    assert "2 boxes leave their tomogram" in text
    slab = page.preview.pictures[0].pixmap().toImage()
    yellow = sum(
        slab.pixelColor(x, y).red() > 180 and slab.pixelColor(x, y).blue() < 110
        for x in range(slab.width())
        for y in range(slab.height())
    )
    assert yellow > 8  # picks are drawn
    assert len(page.preview.pictures) > 3
    page.protein.value = "bright"
    qtbot.waitUntil(lambda: "protein is bright" in page.preview.text.text(), timeout=20000)
    page.path.line_edit.value = ""
    qtbot.waitUntil(lambda: page.preview.text.text() == "")
    assert page.preview.pictures == []
    assert page.tomograms.value is None
    assert list(tmp_path.glob("*session*")) == []


def test_only_the_last_entry_is_looked_at(welcome, picks, array_file, qtbot):
    page = welcome.new
    before = page._unwanted
    page.path.value = picks
    qtbot.waitUntil(lambda: page._unwanted is not before)  # it looks
    first = page._unwanted
    page.kind.value, page.path.value = ARRAY, array_file
    assert first.is_set()
    text = looked(qtbot, page)
    assert text.startswith("60 particles · 16 × 16 × 16 voxels · voxel size unknown")
    assert "classes in the file: ball, slab" in text
    assert len(page.preview.pictures) > 3


def press_create(welcome, qtbot):
    qtbot.mouseClick(welcome.new.create_button, Left)
    qtbot.waitUntil(lambda: welcome.new.isEnabled(), timeout=30000)


MISTAKES = {
    "path empty": (ARRAY, {"path": ""}, "path", "choose the file"),
    "path gone": (ARRAY, {"path": "{}/gone.npz"}, "path", "no such file"),
    "path of another kind": ("MRC stack", {"path": "{}/p.star"}, "path", "p.star"),
    "tomograms": (LIST, {"tomograms": "{}/gone.star"}, "tomograms", "no such file"),
    "tomogram folder": (LIST, {"tomogram_dir": "{}/gone"}, "tomogram_dir", "no such file or folder"),
    "no tomogram": (LIST, {"path": "{}/other.star", "tomograms": ""}, "tomogram_dir", "“folder of tomograms”"),
    "box": (LIST, {"box": 64}, "box", "choose a smaller “box, voxels”"),
    "coordinates": (LIST, {"path": "{}/far.star", "tomograms": ""}, "coordinate_pixel_size", "“coordinate pixel, Å”"),
    "voxel size": (LIST, {"path": "{}/untold.star", "tomograms": ""}, "voxel_size", "give “voxel size, Å”"),
    "task": (ARRAY, {"task": "a mask for each image"}, "task", "segmentation works on images"),
    "class twice": (ARRAY, {"classes": "ball, Ball"}, "classes", "a name is there twice"),
    "class name": (ARRAY, {"classes": "ball, =slab"}, "classes", "is no usable name"),
    "no classes": (ARRAY, {"path": "{}/plain.npy", "classes": ""}, "classes", "“classes”"),
    "weights empty": (ARRAY, {"start": "weights or session…", "weights": ""}, "weights", "choose a folder of weights"),
    "weights": (ARRAY, {"start": "weights or session…", "weights": "{}"}, "weights", "found no start.json"),
    "folder empty": (ARRAY, {"folder": ""}, "folder", "say which folder"),
    "folder taken": (ARRAY, {"folder": "{}"}, "folder", "exists already and is not empty"),
    "denoised": (LIST, {"denoised_dir": "{}/gone"}, "denoised_dir", "gone"),
    "tilt range": (LIST, {"tilt_range": "60, -60"}, "tilt_range", "the smallest and the largest tilt"),
    "low pass": (LIST, {"low_pass": "fine"}, "low_pass", "expected a number"),
    "rescale": (LIST, {"rescale": "1000"}, "rescale", "at most 16 times"),
    "ndim": (ARRAY, {"path": "{}/flat.npy", "ndim": "3"}, "ndim", "“ndim”"),
    "key": (ARRAY, {"key": "nothing"}, "key", "nothing"),
    "normalise": (ARRAY, {"normalise": "tomogram"}, "normalise", "only boxes cut from tomograms"),
    "size": (IMAGES, {"path": "{}/pictures", "size": "big"}, "size", "expected one edge"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_marks_its_field_and_stands_beside_it(welcome, picks, array_file, qtbot, tmp_path, name):
    np.save(tmp_path / "plain.npy", two_kinds(6, 8)[0])
    np.save(tmp_path / "flat.npy", two_kinds(6, 8)[0][:, 0])
    write_star(
        tmp_path / "far.star", "particles", {"rlnMicrographName": ["t"], **{f"rlnCoordinate{a}": [900] for a in "XYZ"}}
    )
    write_mrc(tmp_path / "u.mrc", np.zeros((24, 40, 40), np.float32), 0)
    (tmp_path / "untold.star").write_text(picks.read_text().replace(" t\n", " u\n").replace("\nt ", "\nu "))
    (tmp_path / "other.star").write_text(picks.read_text().replace("\nt ", "\nv "))
    kind, typed, field, said = MISTAKES[name]
    page = welcome.new
    good = {LIST: picks, "MRC stack": picks}.get(kind, array_file)
    page.kind.value, page.path.value, page.folder.value = kind, good, tmp_path / "made"
    page.box.value, page.classes.value, page.start.value = 10, "ball, slab", "from scratch"
    for one, value in typed.items():
        widget = page.fields.get(one) or getattr(page, one)
        value = value.format(tmp_path) if isinstance(value, str) else value
        if hasattr(widget, "line_edit"):
            widget.line_edit.value = value
        else:
            widget.value = value
    press_create(welcome, qtbot)
    assert page.marked == field, (page.mistake.text(), welcome.notice.text())
    assert said in page.mistake.text()
    assert "--" not in page.mistake.text()
    native = page.fields[field].native
    assert "border" in page._typed_in(field).styleSheet()
    assert page.mistake.isVisible() and native.isVisible()
    below = page.mistake.mapTo(page, QPoint(0, 0)).y() - native.mapTo(page, QPoint(0, native.height())).y()
    assert 0 <= below < 20
    assert "one field" in welcome.notice.text()
    assert not (tmp_path / "made").exists()
    page.unmark()
    assert not page.mistake.isVisible() and page._typed_in(field).styleSheet() == ""


def test_a_mistake_is_said_while_it_is_typed_and_goes_when_it_is_mended(welcome, array_file, tmp_path, qtbot):
    page = welcome.new
    page.kind.value = ARRAY
    page.path.line_edit.native.setFocus()
    QTest.keyClicks(page.path.line_edit.native, str(tmp_path / "two_kinds.np"))
    qtbot.waitUntil(lambda: page.marked == "path", timeout=20000)
    page.classes.value = "ball, slab"
    assert page.marked == "path"  # that mends nothing
    QTest.keyClicks(page.path.line_edit.native, "z")
    assert page.marked == ""
    assert looked(qtbot, page).startswith("60 particles")


def test_images_start_from_scratch_or_from_weights_of_photographs_and_the_choice_for_volumes_stays(welcome, tmp_path):
    page = welcome.new
    page.start.value = "from scratch"
    page.kind.value = IMAGES
    offered = ["from scratch", "weights or session…", "EfficientNet-Lite0 (images)"]
    assert list(page.start.choices) == offered and page.start.enabled
    page.start.value = "weights or session…"
    assert page.weights.enabled and page.weights.mode.name == "EXISTING_FILE"
    page.path.value, page.folder.value = tmp_path, tmp_path / "made"
    page.start.value = "EfficientNet-Lite0 (images)"
    assert not page.weights.enabled and page.answer["start"] == "efficientnet-lite0"
    page.start.value = "weights or session…"
    page.weights.line_edit.value = str(tmp_path / "resnet18.safetensors")
    assert page.answer["start"] == str(tmp_path / "resnet18.safetensors")
    page.kind.value = LIST
    assert page.start.value == "from scratch" and len(page.start.choices) == 3
    page.kind.value = IMAGES
    assert page.start.value == "weights or session…"


def test_a_good_entry_makes_a_session(welcome, picks, qtbot, tmp_path):
    page, made = welcome.new, []
    welcome.opened.connect(lambda folder, note: made.append((folder, note)))
    page.path.value, page.folder.value, page.box.value = picks, tmp_path / "made", 8
    page.protein.value, page.start.value, page.classes.value = "bright", "from scratch", "large ball, slab"
    qtbot.mouseClick(page.more, Left)
    page.fields["tilt_range"].value = "-50 60"
    press_create(welcome, qtbot)
    qtbot.waitUntil(lambda: bool(made), timeout=30000)
    assert page.marked == ""
    with Session(made[0][0], write=False) as session:
        assert session.classes == ("large ball", "slab", "junk")
        assert session.pool.tilt_range_N2.tolist() == [[-50, 60]] * 8
        assert session.source.where.tomograms == str(tmp_path / "made" / "tomograms.star")  # its own copy
