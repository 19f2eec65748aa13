import threading
import time

import npe2
import numpy as np
import pytest
from napari._qt.widgets.qt_viewer_dock_widget import QtCustomTitleBar
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from helpers import FAST, answer_truthfully
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import SOURCES, Source
from tomotutor.gui import settings
from tomotutor.gui.dock import TomoTutorDock, dock_in
from tomotutor.gui.welcome.new_session import KINDS, NewSessionPage
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.sample import create_sample_session
from tomotutor.session.status import Phase


def test_the_manifest_offers_the_dock_and_the_samples(make_napari_viewer):
    manifest = npe2.PluginManifest.from_distribution("tomotutor")
    assert manifest.display_name == "TomoTutor"
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("tomotutor", "TomoTutor")
    assert type(widget).__name__ == "TomoTutorDock"
    layers = viewer.open_sample("tomotutor", "tomo_1")
    assert [layer.name for layer in layers] == ["tomo_1", "tomo_1 picks"]
    picks = layers[1]
    assert set(picks.features["class"]) == {"ribosome", "proteasome", "chaperonin", "ferritin", "junk"}
    inside = (picks.data >= 0) & (picks.data < np.array(layers[0].data.shape))
    assert inside.all()


def test_sample_from_the_start_page(dock, qtbot, monkeypatch):
    # from scratch, so that nothing looks at all items first: `test_a_new_session_looks_around` waits for that
    monkeypatch.setattr(
        "tomotutor.gui.welcome.page.create_sample_session", lambda *given: create_sample_session(*given, settings=FAST)
    )
    qtbot.mouseClick(dock.welcome.buttons["Try the sample"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.page is not None, timeout=300000)
    assert dock.page.session.status.items > 150
    folder, closed = dock.page.session.folder, closing_of(dock.page.session)
    dock.leave()
    assert closed.wait(30)
    Session(folder).close()  # and it is free again


def test_open_session_dialog(dock, session_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(tmp_path))
    dock.welcome.open_session()
    assert dock.page is None
    assert "not a session" in dock.welcome.notice.text()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(session_folder))
    dock.welcome.open_session()
    assert dock.page.session.folder == session_folder


def test_a_session_open_elsewhere_is_opened_to_look_at(dock, session, session_folder, press, qtbot):
    answer_truthfully(session, 3)
    labels = session.labels()
    assert dock.open(session_folder)
    assert "open in another TomoTutor" in dock.page.notice.text()
    assert dock.page.session.labels() == labels
    press(Qt.Key.Key_1)
    assert "to look only" in dock.page.notice.text()
    assert dock.page.session.labels() == labels
    dock.leave()
    assert dock.open(session_folder)
    session.close()
    qtbot.mouseClick(dock.page.notice.button, Qt.MouseButton.LeftButton)  # Try again
    assert dock.page.session.write
    press(Qt.Key.Key_1)
    assert len(dock.page.session.labels()) == 4


def test_input_that_moved_is_found_again_on_the_screen(dock, session_folder, array_file, tmp_path, monkeypatch, qtbot):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    array_file.rename(moved / array_file.name)
    assert not dock.open(session_folder)
    notice = dock.welcome.notice
    assert array_file.name in notice.text() and notice.button.text() == "Where is it now?"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(tmp_path))  # not there
    qtbot.mouseClick(notice.button, Qt.MouseButton.LeftButton)
    assert dock.page is None and notice.button.isVisible()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(moved))
    qtbot.mouseClick(notice.button, Qt.MouseButton.LeftButton)
    assert dock.page.session.status.items == 60


def test_who_labels_is_asked_once_and_kept_with_each_label(dock, session_folder, press, qtbot):
    assert dock.open(session_folder)
    page = dock.page
    qtbot.waitUntil(page.isVisible)
    assert "who labels" in page.notice.text()
    qtbot.mouseClick(page.notice.button, Qt.MouseButton.LeftButton)
    page.dialogs.asked.setTextValue("Mara Okafor")
    page.dialogs.asked.accept()
    press(Qt.Key.Key_1)
    assert page.session.state.log.active[-1].annotator == "Mara Okafor"
    dock.leave()
    assert dock.open(session_folder)
    assert dock.page.notice.text() == ""
    dock.page.particles.grid.select(dock.page.particles.grid.rows[2:5])
    dock.page.particles.label("ball")
    assert {entry.annotator for entry in dock.page.session.state.log.active} == {"Mara Okafor"}


def fill_in(page, array_file, folder):
    """Fill the New session page in as a person does."""
    page.kind.value, page.path.value, page.classes.value = "NumPy array", array_file, "ball, slab"
    page.folder.value = folder


def test_new_session(dock, qtbot, array_file, tmp_path):
    assert set(KINDS.values()) == set(SOURCES)
    qtbot.mouseClick(dock.welcome.buttons["New session…"], Qt.MouseButton.LeftButton)
    fill_in(dock.welcome.new, array_file, tmp_path / "made")
    assert not dock.welcome.new.tomograms.enabled
    dock.welcome.new.start.value = "from scratch"
    qtbot.mouseClick(dock.welcome.new.create_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.page is not None, timeout=120000)
    assert dock.page.session.classes == ("ball", "slab", "junk")
    assert dock.page.session.status.items == 60


def test_a_mistake_in_a_new_session_is_said_and_what_was_typed_stays(dock, qtbot, array_file, tmp_path):
    qtbot.mouseClick(dock.welcome.buttons["New session…"], Qt.MouseButton.LeftButton)
    page = dock.welcome.new
    fill_in(page, tmp_path / "gone.npz", tmp_path / "made")
    qtbot.mouseClick(page.create_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.marked == "path", timeout=20000)
    assert "no such file" in page.mistake.text()
    assert page.isVisible()
    assert page.create_button.isEnabled()
    assert (page.classes.value, str(page.folder.value)) == ("ball, slab", str(tmp_path / "made"))
    page.path.value, page.start.value = array_file, "from scratch"
    qtbot.mouseClick(page.create_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.page is not None, timeout=120000)
    assert dock.page.session.folder == tmp_path / "made"


def test_making_a_session_can_be_cancelled(dock, qtbot, tmp_path):
    big = np.zeros((4000, 16, 16, 16), np.float32)
    big[:, 0, 0, 0] = np.arange(4000)
    np.save(tmp_path / "big.npy", big)
    qtbot.mouseClick(dock.welcome.buttons["New session…"], Qt.MouseButton.LeftButton)
    page = dock.welcome.new
    fill_in(page, tmp_path / "big.npy", tmp_path / "made")
    qtbot.mouseClick(page.create_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(dock.welcome.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.welcome.notice.text() == "cancelled", timeout=120000)
    assert dock.page is None
    assert not (tmp_path / "made").exists()


def test_the_page_shows_every_kind_of_input(dock, qtbot, tmp_path):
    dock.welcome.new_session()
    page = dock.welcome.new
    for name in KINDS:
        page.kind.value = name
    assert page.tomograms.enabled is False
    page.kind.value = next(iter(KINDS))
    assert page.tomograms.enabled
    listed, folder = tmp_path / "list.tbl", tmp_path / "tomograms"
    listed.touch()
    folder.mkdir()
    page.path.value = listed
    assert page.source.where.tomogram_dir == ""
    page.tomogram_dir.value, page.pixel_size.value = folder, 2.5
    source = page.source
    assert (source.kind, source.path, source.where.tomogram_dir, source.reading.coordinate_pixel_size) == (
        "particles",
        str(listed),
        str(folder),
        2.5,
    )


def test_the_page_asks_what_networks_start_from(dock, qtbot, weights, array_file, tmp_path):
    dialog = NewSessionPage()
    qtbot.addWidget(dialog)
    dialog.path.value, dialog.folder.value = array_file, tmp_path / "new"
    dialog.kind.value = "MRC stack"
    pretrained, scratch, chosen = dialog.start.choices
    assert (dialog.start.value, dialog.answer["start"]) == (pretrained, "")
    assert not dialog.weights.enabled
    dialog.start.value = scratch
    assert dialog.answer["start"] == "scratch"
    assert not dialog.weights.enabled
    dialog.start.value = chosen
    assert dialog.weights.enabled
    dialog.weights.value = weights
    assert dialog.answer["start"] == str(weights)


@pytest.mark.parametrize("change", [("recipe", "paper"), ("task", "a mask for each image")])
def test_where_networks_can_only_start_from_scratch(dock, qtbot, weights, change, array_file, tmp_path):
    dialog = NewSessionPage()
    qtbot.addWidget(dialog)
    dialog.path.value, dialog.folder.value = array_file, tmp_path / "new"
    dialog.kind.value = "NumPy array"
    dialog.start.value, dialog.weights.value = "weights or session…", weights
    widget = getattr(dialog, change[0])
    before, widget.value = widget.value, change[1]
    assert (dialog.start.enabled, dialog.weights.enabled) == (False, False)
    assert (dialog.start.value, dialog.answer["start"]) == ("from scratch", "scratch")
    widget.value = before
    assert (dialog.start.enabled, dialog.weights.enabled) == (True, True)
    assert dialog.answer["start"] == str(weights)  # the choice made before is back
    dialog.task.value = "a mask for each image"
    dialog.kind.value = "MRC stack"  # volumes have no masks, whatever the disabled box says
    assert dialog.start.enabled


def make_from(dock, qtbot, monkeypatch, array_file, weights, folder):
    """Make a session on the page; return what the welcome page said meanwhile, and where its bar stood."""
    said, told, say = [], [], dock.welcome.notice.say
    monkeypatch.setattr(dock.welcome.notice, "say", lambda text, *rest: (said.append(text), say(text, *rest)))
    dock.welcome.bar.valueChanged.connect(lambda value: told.append((value, dock.welcome.bar.maximum())))
    dock.welcome.new_session()
    page = dock.welcome.new
    fill_in(page, array_file, folder)
    page.start.value, page.weights.value = "weights or session…", weights
    qtbot.mouseClick(page.create_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.page is not None or page.isEnabled(), timeout=60000)
    return said, told


def test_a_new_session_looks_around(dock, qtbot, monkeypatch, array_file, weights, tmp_path):
    said, told = make_from(dock, qtbot, monkeypatch, array_file, weights, tmp_path / "s")
    assert "looking at every item …" in said
    assert said.index("reading every item once …") < said.index("looking at every item …")
    assert told.count((60, 60)) == 2  # all of them read, and all of them looked at
    assert dock.page.session.recipe.network.start == "pretrained"
    assert dock.page.session.pool_map is not None
    assert "who labels" in dock.page.notice.text()  # and nothing that went wrong


def test_a_session_opens_though_the_look_failed(dock, qtbot, monkeypatch, array_file, weights, tmp_path):
    def fail(session, report):
        raise TomoTutorError("no memory for that")

    monkeypatch.setattr(Session, "map_pool", fail)
    make_from(dock, qtbot, monkeypatch, array_file, weights, tmp_path / "s")
    assert dock.page.notice.text() == "no memory for that"
    assert dock.page.session.pool_map is None


def test_a_wrong_start_is_said_and_nothing_is_made(dock, qtbot, monkeypatch, array_file, tmp_path):
    said, _ = make_from(dock, qtbot, monkeypatch, array_file, tmp_path, tmp_path / "s")
    assert "one field needs another look" in said[-1]
    assert "found no start.json" in dock.welcome.new.mistake.text()
    assert dock.page is None
    assert not (tmp_path / "s").exists()


def closing_of(session):
    """Return an event that is set once a session is closed."""
    closed = threading.Event()
    session.closed.connect(closed.set)
    return closed


@pytest.mark.parametrize("moment", ["before the first mini-batch", "in the middle"])
def test_closing_the_window_while_training_is_instant_and_loses_nothing(
    make_napari_viewer, session_folder, qtbot, moment
):
    viewer = make_napari_viewer(show=True)
    dock = dock_in(viewer)
    dock.open(session_folder)
    session, page = dock.page.session, dock.page
    session.set_recipe(session.recipe.replace(steps=3000))
    answer_truthfully(session, 8)
    if moment == "in the middle":
        qtbot.waitUntil(lambda: "training" in page.rounds.bar.format(), timeout=60000)
    closed = closing_of(session)
    viewer.close()
    assert dock.page is None
    if moment != "in the middle":
        assert not closed.is_set()  # the window is gone, and the training has not even stopped yet
    assert closed.wait(60)
    again = Session(session_folder)  # the lock is free, the answers are there, no half round is
    assert (again.status.labeled, again.status.round) == (8, 0)
    again.close()


def test_a_session_whose_training_still_stops_opens_when_it_has(dock, session_folder, qtbot):
    dock.open(session_folder)
    session = dock.page.session
    session.set_recipe(session.recipe.replace(steps=3000))
    answer_truthfully(session, 8)
    qtbot.waitUntil(lambda: session.phase is Phase.TRAINING)
    dock.leave()
    assert not dock.open(session_folder)
    assert "still stopping" in dock.welcome.notice.text()
    qtbot.waitUntil(lambda: dock.page is not None, timeout=60000)
    assert dock.page.session.status.labeled == 8


def close_like_a_person(viewer):
    """Close the window as its ✕ does, with which napari asks; what is left of it is for the fixture to clean up."""
    viewer.window._qt_window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    viewer.window._qt_window.windowHandle().close()


def answer_dialog(accept, seen):
    """Answer the next modal dialog."""

    def answer():
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(50, answer)
            return
        seen.append(dialog)
        dialog.accept() if accept else dialog.reject()

    QTimer.singleShot(50, answer)


def test_the_window_closes_without_a_question_where_only_the_session_is_shown(dock, session_folder, qtbot):
    dock.open(session_folder)
    closed = closing_of(dock.page.session)
    window = dock._viewer.window._qt_window
    seen = []
    answer_dialog(False, seen)
    close_like_a_person(dock._viewer)
    assert not window.isVisible()
    assert seen == []
    assert closed.wait(10)


def test_closing_the_dock_closes_the_session(make_napari_viewer, session_folder, qtbot):
    viewer = make_napari_viewer(show=True)
    dock = dock_in(viewer)
    dock.open(session_folder)
    closed = closing_of(dock.page.session)
    title = next(
        bar for bar in viewer.window._qt_window.findChildren(QtCustomTitleBar) if bar.parent().widget() is dock
    )
    qtbot.mouseClick(title.close_button, Qt.MouseButton.LeftButton)
    assert closed.wait(10)
    assert len(viewer.layers) == 0
    Session(session_folder).close()
    again = dock_in(viewer)  # and it can be had again
    assert again is not dock
    assert again.open(session_folder)
    again.leave()


def test_a_viewer_shows_one_session(dock, session_folder, tmp_path, array_file, qtbot):
    other = tmp_path / "other"
    create_session(other, Source("array", str(array_file)), ["ball", "slab"], settings=FAST)
    viewer = dock._viewer
    dock.open(session_folder)
    second = TomoTutorDock(viewer)
    viewer.window.add_dock_widget(second, name="second", area="right")
    assert not second.open(other)
    assert "the session session is open in this window" in second.welcome.notice.text()
    assert len(viewer.layers) == 1
    qtbot.mouseClick(second.welcome.notice.button, Qt.MouseButton.LeftButton)
    assert dock.page is None
    assert second.page.session.folder == other
    assert viewer.title == "TomoTutor: other"
    second.leave()
    assert viewer.title == "napari"


def test_a_session_folder_opens_as_any_file_does(dock, session_folder):
    dock._viewer.open(session_folder, plugin="tomotutor")
    assert dock.page.session.folder == session_folder
    assert [layer.name for layer in dock._viewer.layers] == ["particle"]


def test_recent_sessions(dock, session_folder, qtbot):
    assert dock.open(session_folder)
    dock.leave()
    (button,) = dock.welcome.recent.buttons
    assert button.toolTip() == str(session_folder)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert dock.page.session.folder == session_folder


def test_the_arrangement_is_remembered(dock, session_folder, qtbot):
    window = dock._viewer.window._qt_window
    window.resize(1280, 900)
    assert dock.open(session_folder)
    qtbot.waitUntil(lambda: dock.page.isVisible())
    below = dock._below
    qtbot.waitUntil(lambda: below.height() > 100)
    before = below.height()
    window.resizeDocks([below], [before + 80], Qt.Orientation.Vertical)  # as dragging its edge does
    qtbot.waitUntil(lambda: below.height() > before + 60)
    dragged = below.height()
    held = dock._held
    window.resizeDocks([held], [held.width() + 90], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: held.width() > 570)
    wide = held.width()
    tabs = dock.page.tabs.tabBar()
    qtbot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(1).center())
    dock.leave()
    window.resizeDocks([held], [480], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: held.width() < 500)
    assert dock.open(session_folder)
    assert dock.page.tabs.currentWidget() is dock.page.model
    qtbot.waitUntil(lambda: abs(dock._below.height() - dragged) < 4)
    qtbot.waitUntil(lambda: abs(held.width() - wide) < 4)


def test_an_arrangement_that_an_earlier_version_kept_is_read(own_settings):
    settings._kept().setValue("arrangement", "[1, 0.4]")
    assert settings.arrangement() == settings.Arrangement(1, 0.4, 0.0)


def test_an_idle_window_takes_little_of_a_core(dock, session_folder, qtbot):
    dock.open(session_folder)
    qtbot.wait(1500)
    before, start = time.process_time(), time.monotonic()
    qtbot.wait(2000)
    assert (time.process_time() - before) / (time.monotonic() - start) < 0.2


def test_leaving_takes_our_layers_along_and_leaves_others(dock, session_folder):
    viewer = dock._viewer
    viewer.add_points(np.zeros((1, 3)), name="mine")
    dock.open(session_folder)
    assert len(viewer.layers) == 2
    dock.page.left.emit()
    assert [layer.name for layer in viewer.layers] == ["mine"]
    assert dock.page is None


@pytest.mark.parametrize("name", ["sample_session"])
def test_real_size_items(dock, sample_session, press, name):
    assert dock.open(sample_session)
    press(Qt.Key.Key_3)
    assert list(dock.page.session.labels().values()) == ["chaperonin"]
    assert FAST["steps"] == str(dock.page.session.recipe.training.steps)
