"""The sheet: the next items as volumes, turned together by a real mouse."""

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from helpers import answer_truthfully
from tomotutor.export.rendering import project, turn

Key = Qt.Key


def test_a_projection_is_the_nearest_brightest_voxel_along_z():
    x = np.random.default_rng(0).random((3, 8, 8, 8), np.float32)
    nearness = np.linspace(1, 0.45, 8)[:, None, None]
    np.testing.assert_allclose(project(x, np.eye(3), 8), (x * nearness).max(1), atol=1e-6)
    about_z = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to y, y to −x
    odd = x[:, 1:, 1:, 1:]
    turned = np.rot90(odd, -1, axes=(2, 3))
    np.testing.assert_allclose(
        project(odd, about_z, 7), (turned * np.linspace(1, 0.45, 7)[:, None, None]).max(1), atol=1e-5
    )


def test_a_drag_to_the_right_moves_what_is_in_front_to_the_right():
    x = np.zeros((1, 17, 17, 17), np.float32)
    x[0, 2, 8, 8] = 1  # in front, in the middle
    right = project(x, turn(0.5, 0), 17)[0]
    down = project(x, turn(0, 0.5), 17)[0]
    assert np.unravel_index(right.argmax(), right.shape)[1] > 9
    assert np.unravel_index(down.argmax(), down.shape)[0] > 9


def drag(widget, start, moves):
    def send(kind, at, button, buttons):
        event = QMouseEvent(kind, QPointF(at), widget.mapToGlobal(QPointF(at)), button, buttons, Qt.KeyboardModifier(0))
        QApplication.sendEvent(widget, event)

    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    send(QEvent.Type.MouseButtonPress, start, left, left)
    for at in moves:
        send(QEvent.Type.MouseMove, at, none, left)
    send(QEvent.Type.MouseButtonRelease, moves[-1], left, none)


@pytest.fixture
def sheet(page, qtbot):
    QTest.mouseClick(page.views.buttons["Sheet"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.views.is_seen, timeout=60000)  # torch is imported
    return page.views.sheet


def pixels(image):
    return np.array(
        [[image.pixelColor(x, y).red() for x in range(0, image.width(), 2)] for y in range(0, image.height(), 2)]
    )


def test_the_sheet_turns_labels_and_goes_to_what_is_clicked(sheet, page, dock, press, qtbot):
    session = page.session
    assert [item.row for item in sheet.items] == [session.current.row, *(v.row for v in session.upcoming(11))]
    assert not dock._viewer.window._qt_viewer.canvas.native.isVisible()
    assert len(sheet.pictures) == 12
    before, rotation = pixels(sheet.pictures[0]), sheet.rotation
    assert before.max() > 100  # not black
    current = session.current.row
    drag(sheet, sheet.cell(1).center(), [sheet.cell(1).center() + QPoint(d, d // 2) for d in (20, 40, 80)])
    assert not np.allclose(sheet.rotation, rotation)
    qtbot.waitUntil(lambda: sheet.pictures[0].width() == 16 and not np.array_equal(pixels(sheet.pictures[0]), before))
    assert session.current.row == current  # a drag is no click
    third = sheet.items[2]
    qtbot.mouseClick(sheet, Qt.MouseButton.LeftButton, pos=sheet.cell(2).center())
    assert session.current.row == third.row
    assert sheet.items[0].row == third.row
    qtbot.waitUntil(lambda: page.views.is_seen)
    QTest.keyClick(sheet, Key.Key_1)
    assert session.labels() == {third.row: "ball"}
    QTest.mouseClick(page.views.orders["dispute"], Qt.MouseButton.LeftButton)
    assert "there is no dispute yet" in page.notice.text()
    rows = [5, 9, 20]
    page.views.follow(rows, "three of them")
    assert [item.row for item in sheet.items if item.row != session.current.row] == [
        r for r in rows if r != session.current.row
    ]
    QTest.mouseClick(page.views.buttons["Particle"], Qt.MouseButton.LeftButton)
    assert dock._viewer.window._qt_viewer.canvas.native.isVisible()
    assert "particle" in dock._viewer.layers


def test_dispute_is_one_click_away(page, qtbot):
    session = page.session
    answer_truthfully(session, 6)
    session.run_round()
    QTest.mouseClick(page.views.buttons["Sheet"], Qt.MouseButton.LeftButton)
    QTest.mouseClick(page.views.orders["dispute"], Qt.MouseButton.LeftButton)
    items = [item for item in page.views.sheet.items if item.row != session.current.row]
    disagreement = [item.disagreement for item in items]
    assert len(items) == 11
    assert disagreement == sorted(disagreement, reverse=True)
    most = max(v.disagreement for v in map(session.view, range(60)) if v.disagreement is not None and v.label is None)
    assert max(disagreement[0], session.current.disagreement or 0) == pytest.approx(most)
    assert not any(item.is_audit for item in items)
