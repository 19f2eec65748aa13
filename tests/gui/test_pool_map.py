"""The labeling page before the first round of a session that starts from weights."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from helpers import FAST
from tomotutor.data.sources import Source
from tomotutor.gui.model.pool_map import PoolMapCanvas
from tomotutor.gui.theme import class_colours, colours_of
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.status import ItemView, Phase, PoolMap

Key = Qt.Key


def place(page, row):
    """Where an item is on the map, in data."""
    look = page.session.pool_map
    return tuple(look.xy_N2[np.searchsorted(look.rows, row)].tolist())


def pixel(canvas, look, row):
    """Where an item is on the map, in pixels of the widget."""
    canvas.draw()
    x, y = canvas.figure.axes[0].transData.transform(look.xy_N2[np.searchsorted(look.rows, row)])
    return QPoint(round(x / canvas.devicePixelRatioF()), round(canvas.height() - y / canvas.devicePixelRatioF()))


def queries(page):
    return [item for item in page.session.upcoming(60) if not item.is_audit]


def test_the_map_stays_after_the_first_training(looked_page, press, qtbot):
    page, y = looked_page, np.load(looked_page.session.array_file)["y"]
    page.tabs.setCurrentWidget(page.model)
    assert page.model.map.isVisible()
    for _ in range(8):
        press((Key.Key_1, Key.Key_2)[y[page.session.current.row]])
    qtbot.waitUntil(lambda: "round 1 is done" in page.notice.text(), timeout=60000)
    assert page.model.map.isVisible()
    assert page.model.curve.isVisible()
    page.session.show(queries(page)[0].id)
    assert page.model.map.ringed == [pytest.approx(place(page, page.session.current.row))]
    qtbot.waitUntil(lambda: "nats" in page.reason.toolTip())
    captions = dict(zip([item.is_audit for item in page.gallery.items], page.gallery.captions, strict=True))
    assert captions[False] in page.session.classes
    assert "what the model says" in page.gallery.toolTip()
    qtbot.waitUntil(lambda: page.session.phase is Phase.IDLE)


def test_labels_show_on_the_map_and_the_ring_goes_to_the_next_item(looked_page, press):
    page = looked_page
    page.session.show(queries(page)[0].id)
    first = page.session.current
    assert page.model.map.ringed == [pytest.approx(place(page, first.row))]
    assert page.model.map.legend == []
    press(Key.Key_2)
    offsets, colours = page.model.map._labeled.get_offsets(), page.model.map._labeled.get_facecolors()
    np.testing.assert_allclose(offsets, [place(page, first.row)])
    np.testing.assert_allclose(colours[0, :3], class_colours(page.session.classes)["slab"])
    assert page.model.map.legend == ["slab"]
    following = page.session.current
    assert following.row != first.row
    assert page.model.map.ringed == ([] if following.is_audit else [pytest.approx(place(page, following.row))])
    press(Key.Key_1)
    assert page.model.map.legend == ["ball", "slab"]
    press(Key.Key_Z)
    press(Key.Key_Z)
    assert page.model.map.legend == []
    assert len(page.model.map._labeled.get_offsets()) == 0


def test_a_label_is_painted_and_what_was_there_is_not_drawn_anew(looked_page, press, qtbot):
    page = looked_page
    page.tabs.setCurrentWidget(page.model)
    qtbot.wait(200)
    press(Key.Key_2)  # the first of its class, with which the legend changes
    qtbot.wait(100)
    before = np.array(page.model.map.buffer_rgba())
    drawn = []
    page.model.map.mpl_connect("draw_event", drawn.append)
    press(Key.Key_2)
    colour = np.round(255 * np.array(class_colours(page.session.classes)["slab"])).astype(int)

    def coloured(pixels):
        return int((np.abs(pixels[..., :3].astype(int) - colour).max(-1) < 3).sum())

    assert coloured(np.array(page.model.map.buffer_rgba())) > coloured(before) + 10
    assert drawn == []
    press(Key.Key_Z)
    assert (np.array(page.model.map.buffer_rgba()) == before).all()


def test_a_click_on_the_map_shows_the_nearest_item(looked_page, qtbot):
    page, look = looked_page, looked_page.session.pool_map
    page.tabs.setCurrentWidget(page.model)
    qtbot.wait(200)
    held = page.session.current.row
    apart = [row for row in look.rows.tolist() if row != held and not page.session.view(row).is_audit]
    at = np.array([[p.x(), p.y()] for p in (pixel(page.model.map, look, row) for row in look.rows.tolist())])
    nearest = {row: np.sort(np.abs(at - at[np.searchsorted(look.rows, row)]).max(1))[1] for row in apart}
    row = max(nearest, key=nearest.get)  # the one that no other lies near to
    where = pixel(page.model.map, look, row)
    QTest.mouseClick(page.model.map, Qt.MouseButton.LeftButton, pos=where + QPoint(2, 1))
    assert page.session.current.row == row
    assert page.model.map.ringed == [pytest.approx(place(page, row))]
    assert page.gallery.items[0].row == held
    QTest.mouseClick(page.model.map, Qt.MouseButton.RightButton, pos=pixel(page.model.map, look, held))
    QTest.mouseClick(
        page.model.map, Qt.MouseButton.LeftButton, pos=QPoint(page.model.map.width() - 3, page.model.map.height() // 2)
    )  # the legend's room
    assert page.session.current.row == row


def test_gallery_and_opinion_tell_groups(looked_page):
    page, look = looked_page, looked_page.session.pool_map
    page.session.show(queries(page)[0].id)
    expected = ["check" if item.is_audit else f"group {look.group(item.row) + 1}" for item in page.gallery.items]
    assert page.gallery.captions == expected
    assert "check" not in expected or len(set(expected)) > 2
    assert "typical members of groups that look alike come first" in page.gallery.toolTip()
    group = look.group(page.session.current.row)
    assert page.reason.text() == f"no model yet · look-alikes: group {group + 1} of {len(np.unique(look.group_N))}"


def test_an_audit_item_reveals_nothing_before_it_is_answered(looked_page, press):
    page = looked_page
    audit = next(item for item in page.session.upcoming(60) if item.is_audit)
    page.session.show(audit.id)
    assert "hidden until you answer" in page.reason.text()
    assert "group" not in page.reason.text()
    assert page.model.map.ringed == []
    press(Key.Key_1)
    press(Key.Key_B)
    assert page.session.current.row == audit.row
    assert "look-alikes: group" in page.reason.text()
    assert page.model.map.ringed == [pytest.approx(place(page, audit.row))]
    page.session.show(next(item for item in page.session.upcoming(60) if item.is_audit).id)
    page.session.show(queries(page)[0].id)
    assert page.gallery.captions[0] == "check"


def test_a_look_that_comes_late_is_shown(dock, tmp_path, array_file, weights, qtbot):
    create_session(
        tmp_path / "s", Source("array", str(array_file)), ["ball", "slab"], settings=FAST, start=str(weights)
    )
    assert dock.open(tmp_path / "s")
    page = dock.page
    qtbot.waitUntil(page.isVisible)
    page.tabs.setCurrentWidget(page.model)
    assert page.model.curve.isVisible()
    assert not page.model.map.isVisible()
    assert page.reason.text() == "no model yet: it comes after the first training"
    page.session.map_pool()
    qtbot.waitUntil(page.model.map.isVisible)
    assert "typical" in page.gallery.toolTip()


def test_from_scratch_nothing_changes(dock, tmp_path, array_file, qtbot):
    create_session(tmp_path / "s", Source("array", str(array_file)), ["ball", "slab"], settings=FAST, start="scratch")
    with Session(tmp_path / "s") as session:
        session.map_pool()
    assert dock.open(tmp_path / "s")
    page = dock.page
    qtbot.waitUntil(page.isVisible)
    page.tabs.setCurrentWidget(page.model)
    assert page.model.curve.isVisible()
    assert not page.model.map.isVisible()
    assert set(page.gallery.captions) <= {"", "check"}
    assert "what the model says" in page.gallery.toolTip()


def test_a_notice_outlives_the_end_of_the_round(looked_page, qtbot):
    page = looked_page
    page.session.notice.emit("this session starts from scratch")
    assert page.notice.text() == "this session starts from scratch"
    page._round_finished(type("Point", (), {"round": 1, "metrics": {"trained_on": 8}})())
    assert page.notice.text().splitlines() == [
        "round 1 is done: trained on 8 labels; the queue has its order",
        "this session starts from scratch",
    ]


def test_items_that_were_not_looked_at(qtbot):
    look = PoolMap(
        np.array([2, 5, 9]), np.array([[0, 0], [1, 0], [0, 1]], np.float32), np.array([0, 1, 0]), np.array([2, 5, 9])
    )
    canvas = PoolMapCanvas(["a", "b"], colours_of("dark"))
    qtbot.addWidget(canvas)
    canvas.show()
    item = ItemView(3, "i3", None, None, False, (), (), None, False)
    canvas.set_map(look, {5: "b", 4: "a"}, item)
    canvas.draw()
    assert canvas.ringed == []
    np.testing.assert_array_equal(canvas._labeled.get_offsets(), [[1, 0]])
