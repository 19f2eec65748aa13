import npe2
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from helpers import FAST, answer_truthfully
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import SOURCES
from tomotutor.gui.welcome import page as welcome_module
from tomotutor.gui.welcome.new_session import KINDS, STARTS, NewSessionDialog
from tomotutor.session import Session


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


def test_sample_from_the_start_page(dock, qtbot):
    qtbot.mouseClick(dock.welcome.buttons["Try the sample"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.page is not None, timeout=30000)
    assert dock.page.session.status.items > 150
    folder = dock.page.session.folder
    dock.leave()
    Session(folder).close()  # and it is free again


def test_open_session_dialog(dock, session_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(tmp_path))
    dock.welcome.open_session()
    assert dock.page is None
    assert "not a session" in dock.welcome.notice.text()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(session_folder))
    dock.welcome.open_session()
    assert dock.page.session.folder == session_folder


def test_a_session_open_elsewhere_is_said(dock, session, session_folder):
    assert not dock.open(session_folder)
    assert "open in another TomoTutor" in dock.welcome.notice.text()


def test_new_session_dialog(dock, qtbot, array_file, tmp_path, monkeypatch):
    assert set(KINDS.values()) == set(SOURCES)
    filled = []

    def fill_and_accept(dialog):
        dialog.kind.value = "NumPy array"
        dialog.path.value = array_file
        dialog.classes.value = "ball, slab"
        dialog.folder.value = tmp_path / "made"
        assert not dialog.tomograms.enabled
        filled.append(dialog.answer)
        return dialog.DialogCode.Accepted

    monkeypatch.setattr(NewSessionDialog, "exec", fill_and_accept)
    dock.welcome.new_session()
    qtbot.waitUntil(lambda: dock.page is not None, timeout=30000)
    assert dock.page.session.classes == ("ball", "slab", "junk")
    assert dock.page.session.status.items == 60


def test_new_session_with_bad_input_says_what_is_wrong(dock, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(NewSessionDialog, "exec", lambda dialog: dialog.DialogCode.Accepted)
    monkeypatch.setattr(
        NewSessionDialog,
        "answer",
        {
            "folder": tmp_path / "s",
            "source": welcome_module.Source("array", str(tmp_path / "gone.npz")),
            "classes": ["a", "b"],
        },
    )
    dock.welcome.new_session()
    qtbot.waitUntil(lambda: "no such file" in dock.welcome.notice.text(), timeout=10000)
    assert dock.welcome.buttons["New session…"].isEnabled()


def test_the_dialog_can_be_shown(dock, qtbot):
    dialog = NewSessionDialog(dock)
    qtbot.addWidget(dialog)
    dialog.show()
    for name in KINDS:
        dialog.kind.value = name
    assert dialog.tomograms.enabled is False
    dialog.kind.value = next(iter(KINDS))
    assert dialog.tomograms.enabled
    assert dialog.answer["source"].tomogram_dir == ""
    dialog.path.value, dialog.tomogram_dir.value, dialog.pixel_size.value = "/a/list.tbl", "/a/tomograms", 2.5
    source = dialog.answer["source"]
    assert (source.kind, source.path, source.tomogram_dir, source.coordinate_pixel_size) == (
        "particles",
        "/a/list.tbl",
        "/a/tomograms",
        2.5,
    )


def test_the_dialog_asks_what_networks_start_from(dock, qtbot, weights):
    dialog = NewSessionDialog(dock)
    qtbot.addWidget(dialog)
    dialog.kind.value = "MRC stack"
    pretrained, scratch, chosen = STARTS
    assert (dialog.start.value, dialog.answer["start"]) == (pretrained, "")
    assert not dialog.weights.enabled
    dialog.start.value = scratch
    assert dialog.answer["start"] == "scratch"
    assert not dialog.weights.enabled
    dialog.start.value = chosen
    assert dialog.weights.enabled
    dialog.weights.value = weights
    assert dialog.answer["start"] == str(weights)


@pytest.mark.parametrize(
    "change", [("kind", "folder of 2D images"), ("recipe", "paper"), ("task", "a mask for each image")]
)
def test_where_networks_can_only_start_from_scratch(dock, qtbot, weights, change):
    dialog = NewSessionDialog(dock)
    qtbot.addWidget(dialog)
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
    """Make a session in the dialog; return what the start page said meanwhile, and where its bar stood."""

    def fill_and_accept(dialog):
        dialog.kind.value, dialog.path.value, dialog.classes.value = "NumPy array", array_file, "ball, slab"
        dialog.start.value, dialog.weights.value = "weights or session…", weights
        dialog.folder.value = folder
        return dialog.DialogCode.Accepted

    monkeypatch.setattr(NewSessionDialog, "exec", fill_and_accept)
    said = []
    monkeypatch.setattr(dock.start, "say", said.append)
    told = []
    dock.welcome.bar.valueChanged.connect(lambda value: told.append((value, dock.welcome.bar.maximum())))
    dock.welcome.new_session()
    qtbot.waitUntil(lambda: dock.page is not None or dock.welcome.buttons["New session…"].isEnabled(), timeout=60000)
    return said, told


def test_a_new_session_looks_around(dock, qtbot, monkeypatch, array_file, weights, tmp_path):
    said, told = make_from(dock, qtbot, monkeypatch, array_file, weights, tmp_path / "s")
    assert "looking at every item …" in said
    assert said.index("reading every item once …") < said.index("looking at every item …")
    assert told.count((60, 60)) == 2  # all of them read, and all of them looked at
    assert dock.page.session.recipe.start == "pretrained"
    assert dock.page.session.look is not None
    assert dock.page.notice.text() == ""


def test_a_session_opens_though_the_look_failed(dock, qtbot, monkeypatch, array_file, weights, tmp_path):
    def fail(folder, report):
        raise TomoTutorError("no memory for that")

    monkeypatch.setattr(welcome_module, "look_around", fail)
    make_from(dock, qtbot, monkeypatch, array_file, weights, tmp_path / "s")
    assert dock.page.notice.text() == "no memory for that"
    assert dock.page.session.look is None


def test_a_wrong_start_is_said_and_nothing_is_made(dock, qtbot, monkeypatch, array_file, tmp_path):
    said, _ = make_from(dock, qtbot, monkeypatch, array_file, tmp_path, tmp_path / "s")
    assert "found no start.json" in said[-1]
    assert dock.page is None
    assert not (tmp_path / "s").exists()


def test_closing_the_window_while_training_ends_cleanly_and_resumes(make_napari_viewer, session_folder, qtbot):
    from tomotutor.gui.dock import TomoTutorDock

    viewer = make_napari_viewer(show=True)
    dock = TomoTutorDock(viewer)
    viewer.window.add_dock_widget(dock, name="TomoTutor", area="right")
    dock.open(session_folder)
    session = dock.page.session
    session.set_recipe(session.recipe.replace(steps=3000))
    answer_truthfully(session, 8)
    page = dock.page
    qtbot.waitUntil(lambda: "training · epoch" in page.rounds.bar.format(), timeout=60000)
    viewer.close()
    assert dock.page is None
    again = Session(session_folder)  # the lock is free, the answers are there, no half round is
    assert again.status.labeled == 8
    assert again.status.round == 0
    again.close()


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
    assert FAST["steps"] == str(dock.page.session.recipe.steps)
