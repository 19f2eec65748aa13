"""Labeling with real key presses and clicks in a real napari window."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit

from helpers import FAST, answer_truthfully, two_kinds, write_mrc, write_star
from tomotutor.data.sources import Source, open_pool
from tomotutor.gui.canvas.item import Rendering
from tomotutor.gui.label.answers import LETTERS, class_keys
from tomotutor.gui.particles.gallery import Gallery
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.status import Phase

Key = Qt.Key


def test_class_keys():
    assert class_keys(("a", "b", "junk")) == {"a": "1", "b": "2", "junk": "0"}
    many = tuple(f"c{i}" for i in range(12))
    assert "".join(class_keys(many).values()) == "123456789qwe"
    assert not set(LETTERS) & set("suzybrvdma")  # those act


def test_number_keys_label_though_an_image_layer_is_active(page, press, dock, session_folder):
    assert dock._viewer.layers.selection.active is not None  # napari's Image layer has keys 1 and 2 of its own
    seen = []
    for key in (Key.Key_1, Key.Key_2, Key.Key_0):
        seen.append(page.session.current.row)
        press(key)
    assert page.session.labels() == dict(zip(seen, ("ball", "slab", "junk"), strict=True))
    assert Session(session_folder, write=False).labels() == page.session.labels()  # on disk before the screen moved on
    assert page.panel.rows["ball"].count == 1


def test_each_label_brings_the_next_particle_to_the_canvas(page, press, dock):
    layer = dock._viewer.layers["particle"]
    before, title = layer.data.copy(), page.title.text()
    press(Key.Key_1)
    assert layer is dock._viewer.layers["particle"]  # the same layer, other voxels
    assert len(dock._viewer.layers) == 1
    assert not np.array_equal(layer.data, before)
    assert page.title.text() != title
    assert page.session.current.id in page.title.text()


def test_skip_unsure_undo_back(page, press):
    first = page.session.current.row
    press(Key.Key_S)
    assert page.session.status.skipped == 1
    second = page.session.current.row
    press(Key.Key_U)
    assert page.session.status.unsure == 1
    press(Key.Key_B)
    assert page.session.current.row == second
    assert "unsure" in page.title.text()
    press(Key.Key_B)
    assert page.session.current.row == first
    press(Key.Key_2)  # the skipped one gets its label after all
    assert page.session.labels() == {first: "slab"}
    press(Key.Key_Z)
    assert page.session.labels() == {}
    assert page.session.current.row == first
    press(Key.Key_1)
    press(Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert page.session.labels() == {}
    press(Key.Key_Y)
    assert page.session.labels() == {first: "ball"}
    press(Key.Key_Z)
    press(Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert page.session.labels() == {first: "ball"}
    press(Key.Key_Y)
    assert "nothing to bring back" in page.notice.text()


def test_buttons_do_what_the_keys_do(page, qtbot):
    first = page.session.current.row
    qtbot.mouseClick(page.panel.rows["slab"], Qt.MouseButton.LeftButton)
    assert page.session.labels() == {first: "slab"}
    qtbot.mouseClick(page.panel.actions_by_name["undo"], Qt.MouseButton.LeftButton)
    assert page.session.labels() == {}
    qtbot.mouseClick(page.panel.actions_by_name["skip"], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(page.panel.actions_by_name["unsure"], Qt.MouseButton.LeftButton)
    assert (page.session.status.skipped, page.session.status.unsure) == (1, 1)
    qtbot.mouseClick(page.panel.actions_by_name["back"], Qt.MouseButton.LeftButton)
    assert page.session.current.action == "unsure"


def test_keys_do_nothing_while_text_is_typed_or_another_modifier_is_held(page, press, dock, qtbot):
    line = QLineEdit()
    dock._viewer.window.add_dock_widget(line, name="text")
    press(Key.Key_1, target=line)
    assert line.text() == "1"
    press(Key.Key_1, Qt.KeyboardModifier.AltModifier)
    assert page.session.status.labeled == 0
    other = QLineEdit()  # another window
    qtbot.addWidget(other)
    other.show()
    QTest.keyClick(other, Key.Key_2)
    assert page.session.status.labeled == 0


def test_a_held_key_labels_once(page, dock):
    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QApplication

    canvas = dock._viewer.window._qt_viewer.canvas.native
    for repeat in (False, True, True, True):
        event = QKeyEvent(QEvent.Type.KeyPress, Key.Key_1, Qt.KeyboardModifier.NoModifier, "1", repeat)
        QApplication.sendEvent(canvas, event)
    assert page.session.status.labeled == 1


def test_gallery_shows_the_queue_and_a_click_takes_an_item(page, qtbot):
    expected = [v.row for v in page.session.upcoming(Gallery.COUNT)]
    assert [v.row for v in page.gallery.items] == expected
    held = page.session.current.row
    qtbot.mouseClick(page.gallery, Qt.MouseButton.LeftButton, pos=QPoint(2 * (Gallery.SIZE + 3) + 5, 10))
    assert page.session.current.row == expected[2]
    assert page.gallery.items[0].row == held


def test_crosshair_follows_the_mouse(page, qtbot):
    slices = page.slices
    assert slices.cross_in("xy") == (8, 8)
    pane = slices.panes["xy"]
    qtbot.mouseClick(pane, Qt.MouseButton.LeftButton, pos=QPoint(pane.width() // 2 + 2, pane.height() // 2 - 20))
    down, across = slices.cross_in("xy")
    assert down < 8
    assert across == 8
    assert slices.cross_in("yz") == (down, 8)
    slices.move_slice("xy", 3)
    assert slices.cross_in("xz") == (11, 8)
    slices.move_slice("xy", 300)
    assert slices.cross_in("xz") == (15, 8)


def test_slices_show_the_right_planes(page):
    volume = np.zeros((4, 5, 6), np.float32)
    volume[1, 2, 3] = 1
    page.slices.set_limits(0, 1)
    page.slices.show_volume(volume)
    page.slices.move_cross("xy", 2, 3)
    page.slices.move_slice("xy", -1)
    for name, (width, height, at) in {"xy": (6, 5, (3, 2)), "xz": (6, 4, (3, 1)), "yz": (4, 5, (1, 2))}.items():
        image = page.slices.panes[name]._image
        assert (image.width(), image.height()) == (width, height), name
        assert image.pixelColor(*at).red() == 255, name
        assert image.pixelColor(0, 0).red() == 0, name


def test_isosurface_and_volume(page, press, dock):
    press(Key.Key_V)
    assert page.canvas.rendering is Rendering.ISOSURFACE
    surface = dock._viewer.layers["particle surface"]
    assert surface.visible
    assert not dock._viewer.layers["particle"].visible
    before = len(surface.data[0])
    page.view.level.setValue(15)
    assert len(surface.data[0]) != before
    press(Key.Key_1)
    assert surface is dock._viewer.layers["particle surface"]
    press(Key.Key_V)
    assert dock._viewer.layers["particle"].visible
    assert not surface.visible


def test_the_volume_is_really_painted(page, dock, qtbot):
    qtbot.wait(200)
    pixels = dock._viewer.screenshot(canvas_only=True, flash=False)[..., :3]
    assert (pixels.max(-1) > 60).mean() > 0.02  # something bright, on a black ground
    assert pixels.std() > 5


def test_the_whole_box_is_in_view_whatever_the_window_becomes(page, dock, qtbot):
    viewer, edge = dock._viewer, page.session.pool.shape[-1]
    window, canvas = viewer.window._qt_window, viewer.window._qt_viewer.canvas.native

    def fits():  # a box turned by 15° is 1.2 to 1.3 times as wide as its edge
        return 0.6 < edge * viewer.scene.camera.zoom / min(canvas.width(), canvas.height()) < 0.85

    qtbot.waitUntil(fits)
    for size in ((1400, 900), (1000, 900), (1500, 700)):
        window.resize(*size)
        qtbot.waitUntil(fits)
    camera, width = viewer.scene.camera, 1200
    for change in ({"zoom": 2 * camera.zoom}, {"center": (3.0, 4.0, 5.0)}):
        camera.update(change)
        chosen = (camera.zoom, *camera.center)
        window.resize(width, 900)
        width += 100
        qtbot.wait(300)
        assert (camera.zoom, *camera.center) == chosen  # what a person chose stays


def test_a_deleted_layer_comes_back(page, press, dock):
    dock._viewer.layers.clear()
    press(Key.Key_1)
    assert "particle" in dock._viewer.layers


def test_before_the_first_model(page):
    assert "no model yet" in page.reason.text()
    assert "no model yet" in page.rounds.text.text()
    assert page.rounds.bar.maximum() == 8


def test_retrain_reorders_and_keeps_the_particle_in_front(page, press, qtbot):
    answer_truthfully(page.session, 6)
    press(Key.Key_R)
    assert page.session.phase is Phase.TRAINING
    assert page.rounds.train.text() == "Cancel (R)"
    press(Key.Key_S)  # labeling goes on
    held, title = page.session.current.row, page.title.text()
    qtbot.waitUntil(lambda: "round 1 is done" in page.notice.text(), timeout=60000)
    assert page.session.current.row == held
    assert page.title.text() == title
    qtbot.waitUntil(
        lambda: page.rounds.train.text() == "Train now (R)"
    )  # the thread is idle a moment after its round is done
    assert [v.row for v in page.gallery.items] == [v.row for v in page.session.upcoming(Gallery.COUNT)]
    assert "accuracy" in page.rounds.text.text()
    assert "round 1" in page.rounds.text.toolTip()
    assert "quarter width" in page.rounds.text.toolTip()
    query = next(v for v in page.session.upcoming(20) if not v.is_audit)
    page.session.show(query.id)
    qtbot.waitUntil(lambda: page.reason.toolTip() == f"disagreement {query.disagreement:.3f} nats")
    assert "nats" not in page.reason.text()
    audit = next(v for v in page.session.upcoming(60) if v.is_audit)
    page.session.show(audit.id)
    qtbot.waitUntil(lambda: "hidden until you answer" in page.reason.text())


def test_cancel(page, press, qtbot):
    answer_truthfully(page.session, 6)
    page.session.set_recipe(page.session.recipe.replace(steps=2000))
    press(Key.Key_R)
    qtbot.waitUntil(lambda: "training" in page.rounds.bar.format(), timeout=60000)
    assert "left" in page.rounds.bar.format()
    qtbot.waitUntil(lambda: page.rounds.bar.value() > 0, timeout=60000)
    press(Key.Key_R)
    qtbot.waitUntil(lambda: page.session.phase is Phase.IDLE, timeout=10000)
    qtbot.waitUntil(lambda: "labels to training" in page.rounds.bar.format())
    assert page.session.status.round == 0


def test_training_starts_by_itself_after_the_first_labels(page, press, qtbot):
    y = np.load(page.session.array_file)["y"]
    for _ in range(8):
        press((Key.Key_1, Key.Key_2)[y[page.session.current.row]])
    qtbot.waitUntil(lambda: "round 1 is done" in page.notice.text(), timeout=60000)
    qtbot.waitUntil(lambda: page.rounds.bar.maximum() == 6)


def test_retraining_too_early_says_why(page, press):
    press(Key.Key_R)
    assert "four labels and two classes" in page.notice.text()


def test_a_failed_round_is_said_on_the_screen(page, press, qtbot):
    answer_truthfully(page.session, 6)
    page.session.set_recipe(page.session.recipe.replace(learning_rate=1e30))
    press(Key.Key_R)
    qtbot.waitUntil(lambda: "the previous model stays" in page.notice.text(), timeout=60000)
    assert page.rounds.train.text() == "Train now (R)"


def test_a_full_disk_is_said_and_the_particle_stays(page, press):
    store = page.session._core.database
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(500):
        row = page.session.current.row
        press(Key.Key_S)
        if "full" in page.notice.text():
            break
    assert "database or disk is full" in page.notice.text()
    assert page.session.current.row == row
    store._connection.execute("PRAGMA max_page_count = 100000")
    press(Key.Key_1)
    assert page.session.labels() == {row: "ball"}


def test_the_last_answer(page, press):
    answer_truthfully(page.session, 3)
    while page.session.current is not None:
        press(Key.Key_U)
    assert "every item has an answer" in page.title.text()
    press(Key.Key_1)
    press(Key.Key_B)
    assert page.session.current is not None


@pytest.mark.parametrize("channels", [1, 3])
def test_2d_items(dock, press, tmp_path, channels):
    from helpers import FAST
    from tomotutor.data.sources import Source
    from tomotutor.session.create import create_session

    x = np.random.default_rng(0).integers(0, 256, (20, 32, 32, channels), np.uint8)
    np.save(tmp_path / "x.npy", x)
    create_session(tmp_path / "s2", Source("array", str(tmp_path / "x.npy")), ["a", "b"], settings=FAST)
    assert dock.open(tmp_path / "s2")
    layer = dock._viewer.layers["particle"]
    assert dock._viewer.dims.ndisplay == 2
    assert layer.data.shape == ((32, 32, 3) if channels == 3 else (32, 32))
    before = layer.data.copy()
    press(Key.Key_1)
    assert not np.array_equal(layer.data, before)
    assert not dock.page.view.level.isVisible()


def test_denoised_tomograms_are_looked_at_and_not_trained_on(dock, press, tmp_path, qtbot):
    x, _ = two_kinds(4, seed=2)
    raw = np.random.default_rng(0).normal(0, 1, (16, 16, 64)).astype(np.float32)
    clean = np.concatenate(list(x), axis=2)
    for folder, volume in ((tmp_path, raw), (tmp_path / "denoised", clean)):
        write_mrc(folder / "t.mrc", volume)
    columns = {"rlnTomoName": ["t"] * 4} | {f"rlnCenteredCoordinate{a}Angst": [0] * 4 for a in "YZ"}
    columns["rlnCenteredCoordinateXAngst"] = [(8 + 16 * i - 32) * 10 for i in range(4)]
    star = write_star(tmp_path / "p.star", "particles", columns)
    source = Source(
        "particles",
        str(star),
        tomogram_dir=str(tmp_path),
        denoised_dir=str(tmp_path / "denoised"),
        box=16,
        protein="bright",
    )
    create_session(tmp_path / "s", source, ["ball", "slab"], settings=FAST)
    assert dock.open(tmp_path / "s")
    page = dock.page
    qtbot.waitUntil(page.isVisible)
    row = page.session.current.row
    seen = dock._viewer.layers["particle"].data.copy()
    np.testing.assert_array_equal(
        page.session.pool.read(np.array([row]))[0, 0], open_pool(source).read(np.array([row]))[0, 0]
    )
    press(Key.Key_D)
    assert not page.view.denoised.isChecked()
    assert not np.allclose(dock._viewer.layers["particle"].data, seen)
    press(Key.Key_D)
    np.testing.assert_array_equal(dock._viewer.layers["particle"].data, seen)


def test_without_denoised_tomograms_there_is_no_such_choice(page):
    assert not page.view.denoised.isVisible()
