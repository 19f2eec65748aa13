"""The particle in its tomogram, with key, wheel and mouse in a real napari window."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from helpers import FAST, write_mrc, write_star
from tomotutor.data.sources import Source
from tomotutor.gui.canvas.item import smooth
from tomotutor.gui.canvas.tomogram import SLICES
from tomotutor.session import Session
from tomotutor.session.create import create_session

Key = Qt.Key
ZYX = [(10, 12, 12), (10, 12, 40), (30, 30, 30), (11, 40, 16), (30, 33, 30)]  # the third and the last crowd each other


@pytest.fixture
def tomogram():
    volume = np.random.default_rng(0).normal(0, 1, (40, 48, 56)).astype(np.float32)
    for z, y, x in ZYX:
        volume[z - 2 : z + 2, y - 2 : y + 2, x - 2 : x + 2] -= 4  # protein is dark
    return volume


@pytest.fixture
def folder(tmp_path, tomogram):
    write_mrc(tmp_path / "t.mrc", tomogram)
    write_mrc(tmp_path / "u.mrc", -tomogram[::-1])
    columns = {"rlnTomoName": ["t"] * 5 + ["u"]}
    size = np.array(tomogram.shape)
    centred = (np.array([*ZYX, (20, 20, 20)]) - size / 2) * 10
    for axis, values in zip("ZYX", centred.T, strict=True):
        columns[f"rlnCenteredCoordinate{axis}Angst"] = values.tolist()
    star = write_star(tmp_path / "p.star", "particles", columns)
    source = Source("particles", str(star), tomogram_dir=str(tmp_path), box=8)
    create_session(tmp_path / "s", source, ["ball", "slab"], settings=FAST)
    return tmp_path / "s"


@pytest.fixture
def page(dock, folder, qtbot):
    assert dock.open(folder)
    qtbot.waitUntil(dock.page.isVisible)
    dock.page.session.show("t:1")
    return dock.page


@pytest.fixture
def view(page, qtbot):
    QTest.mouseClick(page.views.buttons["Tomogram"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.views.is_seen, timeout=10000)
    return page.views.tomogram


def shown_rows(view):
    edges = np.asarray(view.picks.border_color)
    assert (edges[:, 3] > 0).sum() == len(view.drawn_rows)  # the others are really transparent
    return view.drawn_rows.tolist()


def seen(page, tomogram, z):
    return smooth(-tomogram[z - 2 : z + 3].mean(0)[None], page.canvas.sigma)


def turn_wheel(canvas, steps, modifiers=Qt.KeyboardModifier.NoModifier):
    middle = QPointF(canvas.width() / 2, canvas.height() / 2)
    for _ in range(abs(steps)):
        event = QWheelEvent(
            middle,
            canvas.mapToGlobal(middle),
            QPoint(),
            QPoint(0, 120 if steps > 0 else -120),
            Qt.MouseButton.NoButton,
            modifiers,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(canvas, event)


def canvas_point(viewer, y, x):
    canvas = viewer.window._qt_viewer.canvas.native
    camera = viewer.scene.camera
    away = (np.array([y, x]) - np.array(camera.center[-2:])) * camera.zoom
    return QPoint(round(canvas.width() / 2 + away[1]), round(canvas.height() / 2 + away[0]))


def test_a_session_knows_the_tomogram_of_an_item(folder, tomogram):
    with Session(folder, write=False) as session:
        found = session.tomogram_of(2)
        assert (found.name, found.rows.tolist(), found.box) == ("t", [0, 1, 2, 3, 4], 8)
        np.testing.assert_allclose(found.zyx_N3, ZYX, atol=1e-6)
        np.testing.assert_allclose(found.slab(10, 5), -tomogram[8:13].mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.slab(0, 5), -tomogram[:5].mean(0), rtol=1e-5, atol=1e-6)
        assert session.tomogram_of(5).rows.tolist() == [5]


def test_the_slab_follows_wheel_slider_and_clicks(view, page, dock, qtbot, tomogram):
    viewer = dock._viewer
    canvas, camera = viewer.window._qt_viewer.canvas.native, viewer.scene.camera
    np.testing.assert_allclose(view.slab.data, seen(page, tomogram, 10), atol=1e-5)
    assert SLICES == 5
    assert shown_rows(view) == [0, 1, 3]  # those that the slice meets
    assert "particle" not in viewer.layers
    assert viewer.dims.ndisplay == 2
    turn_wheel(canvas, 3)
    assert view.depth.value() == 13
    qtbot.waitUntil(lambda: np.allclose(view.slab.data, seen(page, tomogram, 13), atol=1e-5))
    turn_wheel(canvas, 3, Qt.KeyboardModifier.ShiftModifier)
    assert view.depth.value() == 28
    view.depth.setValue(30)
    qtbot.waitUntil(lambda: shown_rows(view) == [2, 4])
    zoom = camera.zoom
    turn_wheel(canvas, 1, Qt.KeyboardModifier.ControlModifier)
    assert (view.depth.value(), camera.zoom > zoom) == (30, True)
    view.depth.setValue(10)
    qtbot.waitUntil(lambda: shown_rows(view) == [0, 1, 3])
    qtbot.wait(300)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas_point(viewer, 25, 30))  # nobody is there
    assert page.session.current.row == 0
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas_point(viewer, 41, 15))
    assert page.session.current.row == 3
    qtbot.waitUntil(lambda: page.views.is_seen)
    assert view.depth.value() == 11
    page.session.show("u:6")  # another tomogram comes with its particle
    qtbot.waitUntil(lambda: page.views.is_seen and shown_rows(view) == [5])
    assert view.tomogram.name == "u"
    assert "u · z 20 of 40" in view.place.text()
    QTest.mouseClick(page.views.buttons["Particle"], Qt.MouseButton.LeftButton)
    assert [layer.name for layer in viewer.layers] == ["particle"]
    assert viewer.dims.ndisplay == 3


def test_keys_label_only_what_is_seen_and_colours_filter_and_squares_tell(view, page, press, dock, qtbot):
    turn_wheel(dock._viewer.window._qt_viewer.canvas.native, 6, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: shown_rows(view) == [])
    press(Key.Key_1)  # the slab has left the particle
    assert page.session.labels() == {}
    qtbot.waitUntil(lambda: page.views.is_seen)
    assert view.depth.value() == 10
    press(Key.Key_1)
    assert page.session.labels() == {0: "ball"}
    page.session.show("t:2")
    qtbot.waitUntil(lambda: page.views.is_seen and shown_rows(view) == [0, 1, 3])
    qtbot.waitUntil(lambda: (view.picks.face_color[:, 3] > 0).tolist() == [True, False, False, False, False])
    assert view.picks.size[1] > view.picks.size[3] == view.picks.size[0]
    view.filter.setCurrentText("ball")
    assert shown_rows(view) == [0, 1]  # the current one is there always
    view.filter.setCurrentText("slab")
    assert shown_rows(view) == [1]
    view.filter.setCurrentText("no answer")
    assert shown_rows(view) == [1, 3]
    qtbot.waitUntil(lambda: view.crowded_rows.tolist() == [2, 4])
    assert list(map(str, view.picks.symbol)) == ["disc", "disc", "square", "disc", "square"]
    view.radius.setValue(2)
    qtbot.waitUntil(lambda: view.crowded_rows.tolist() == [])
    assert set(map(str, view.picks.symbol)) == {"disc"}


def test_leaving_takes_the_slab_along(view, dock):
    bar = dock.page.views.bar
    dock.leave()
    assert len(dock._viewer.layers) == 0
    assert not bar.isVisible()
    assert dock._viewer.window._qt_viewer.canvas.native.isVisible()


def test_without_tomograms_the_button_is_grey_and_says_why(dock, session_folder, qtbot):
    assert dock.open(session_folder)
    button = dock.page.views.buttons["Tomogram"]
    assert not button.isEnabled()
    assert "not cut from tomograms" in button.toolTip()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    assert dock.page.views.shown == "Particle"
