"""Painting masks with real strokes and keys in a real napari window."""

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from helpers import discs
from tomotutor.data.sources import Source
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.status import Phase

Key = Qt.Key
X, Y = discs(10)
FAST = {
    "steps": "2",
    "batch_size": "4",
    "width": "0.25",
    "precision": "float32",
    "initial_size": "3",
    "query_size": "3",
}


@pytest.fixture
def dock(own_dock):
    """A window for each test: drawing crashed in one where layers of labels had come and gone before."""
    return own_dock


@pytest.fixture
def page(dock, tmp_path, qtbot):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, pixels in enumerate(X):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    create_session(
        tmp_path / "s", Source("images", str(folder)), ["ground", "disc"], task="segmentation", settings=FAST
    )
    assert dock.open(tmp_path / "s")
    qtbot.waitUntil(lambda: dock.page.isVisible())
    return dock.page


@pytest.fixture
def layer(page, dock):
    return dock._viewer.layers["mask"]


def stroke(layer, *points):
    """Paint with napari's own brush, as dragging the mouse does."""
    for point in points:
        layer.paint(point, layer.selected_label)


def test_the_image_comes_with_an_empty_layer_to_paint_on(page, dock, layer):
    assert layer.data.shape == (20, 28)
    assert not layer.data.any()
    assert layer.mode == "paint"
    assert dock._viewer.layers.selection.active is layer
    assert dock._viewer.dims.ndisplay == 2
    assert page.reason.text() == "no model yet: it comes after the first training"


def test_number_keys_choose_the_class_and_enter_saves(page, press, dock, layer, tmp_path):
    layer.brush_size = 3
    first = page.session.current
    press(Key.Key_1)
    assert (layer.selected_label, page.panel.rows["ground"].isChecked()) == (1, True)
    stroke(layer, (4, 4), (4, 10))
    press(Key.Key_2)
    stroke(layer, (12, 20))
    assert page.panel.rows["disc"].isChecked()
    press(Key.Key_0)
    assert layer.selected_label == 0
    stroke(layer, (4, 10))  # erased again
    assert page.session.labels() == {}  # choosing a class answers nothing
    press(Key.Key_Return)
    mask = Session(tmp_path / "s", write=False).mask(first.row)
    assert (mask[4, 4], mask[12, 20], mask[4, 10], mask[0, 0]) == (0, 1, 255, 255)
    assert page.session.current.row != first.row
    assert not layer.data.any()  # the next image has nothing on it
    assert layer is dock._viewer.layers["mask"]
    assert page.panel.rows["disc"].count == 1


def test_nothing_painted_is_not_saved(page, press):
    press(Key.Key_Enter)
    assert page.session.labels() == {}
    assert "nothing is painted yet" in page.notice.text()


def test_what_was_painted_comes_back_with_undo_and_back(page, press, layer):
    item = page.session.current
    stroke(layer, (10, 10))
    painted = layer.data.copy()
    press(Key.Key_S)  # skipped, and looked at again
    assert not layer.data.any()
    press(Key.Key_B)
    assert page.session.current.row == item.row
    np.testing.assert_array_equal(layer.data, painted)
    press(Key.Key_Return)
    assert list(page.session.labels()) == [item.row]
    press(Key.Key_Z)
    assert page.session.labels() == {}
    np.testing.assert_array_equal(layer.data, painted)
    press(Key.Key_Return)
    press(Key.Key_B)
    assert "has a mask" in page.title.text()


def test_control_z_takes_back_a_stroke_and_no_answer(page, press, dock, layer):
    stroke(layer, (10, 10))
    press(Key.Key_Return)
    stroke(layer, (10, 10))
    press(Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert len(page.session.labels()) == 1


def test_the_done_button_and_training_by_itself(page, qtbot, layer):
    done = next(b for b in page.findChildren(QPushButton) if b.text() == "Done (Enter)")
    for _ in range(3):
        row = page.session.current.row
        layer.data = np.where(Y[row] == 255, 0, Y[row] + 1).astype(np.uint8)
        qtbot.mouseClick(done, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(page.session.rounds) and page.session.phase is Phase.IDLE, timeout=120000)
    qtbot.waitUntil(lambda: "round 1" in page.rounds.text.toolTip(), timeout=20000)
    assert "(mean squared)" in page.reason.toolTip() or "not scored" in page.reason.text()
    assert [page.model.tabs.isTabVisible(k) for k in range(page.model.tabs.count())] == [False] * 5 + [True]  # rounds
    for row, name in page.session.labels().items():
        np.testing.assert_array_equal(page.session.mask(row), Y[row])
        assert name.endswith(".png")


def test_a_deleted_layer_comes_back_with_the_next_image(page, press, dock, layer):
    dock._viewer.layers.remove(layer)
    press(Key.Key_Return)
    assert page.session.labels() == {}
    press(Key.Key_S)
    assert "mask" in dock._viewer.layers


def test_leaving_takes_the_layer_away(page, dock):
    dock.leave()
    assert len(dock._viewer.layers) == 0
