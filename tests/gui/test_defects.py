"""What must never come back: each was seen on a real session, with key and mouse."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from helpers import FAST, answer_truthfully
from tomotutor.data.sources import Source
from tomotutor.session.create import create_session
from tomotutor.session.status import Phase

Key = Qt.Key


def test_next_after_back_leaves_the_label(page, press):
    first = page.session.current.row
    press(Key.Key_1)
    press(Key.Key_B)
    assert page.session.current.row == first
    assert page.panel.actions_by_name["skip"].text() == "Next (S)"
    press(Key.Key_S)
    assert page.session.labels() == {first: "ball"}
    assert page.session.current.row != first
    assert page.panel.actions_by_name["skip"].text() == "Skip (S)"
    press(Key.Key_Z)
    assert page.session.labels() == {}


def test_a_tomogram_opened_by_hand_is_put_away_and_comes_back(page, press, dock):
    viewer = dock._viewer
    tomogram = viewer.add_image(np.ones((40, 40, 40), np.float32), name="tomogram")
    assert not tomogram.visible
    assert viewer.layers["particle"].visible
    row = page.session.current.row
    press(Key.Key_1)
    assert page.session.labels() == {row: "ball"}
    dock.leave()
    assert tomogram.visible


def test_a_key_never_labels_a_particle_that_cannot_be_seen(page, press, dock):
    viewer = dock._viewer
    tomogram = viewer.add_image(np.ones((40, 40, 40), np.float32), name="tomogram")
    for hide in (
        lambda: setattr(tomogram, "visible", True),  # the eye in napari's list
        lambda: setattr(viewer.layers["particle"], "visible", False),
        lambda: viewer.layers.remove("particle"),
    ):
        hide()
        press(Key.Key_1)
        press(Key.Key_B)
        assert page.session.labels() == {}
        assert not tomogram.visible
        assert viewer.layers["particle"].visible
    hide()
    press(Key.Key_U)
    assert page.session.status.unsure == 0
    assert "nothing was answered" in page.notice.text()
    press(Key.Key_2)
    assert list(page.session.labels().values()) == ["slab"]


def test_layers_that_were_there_are_hidden_and_restored_as_they_were(dock, session_folder):
    viewer = dock._viewer
    shown = viewer.add_image(np.ones((20, 20)), name="shown")
    hidden = viewer.add_image(np.ones((20, 20)), name="hidden", visible=False)
    viewer.dims.ndisplay = 2
    zoom = viewer.scene.camera.zoom
    lists = viewer.window._qt_viewer.dockLayerList
    dock.open(session_folder)
    assert (shown.visible, hidden.visible, lists.isVisible()) == (False, False, False)
    dock.leave()
    assert (shown.visible, hidden.visible, lists.isVisible()) == (True, False, True)
    assert (viewer.dims.ndisplay, viewer.scene.camera.zoom) == (2, pytest.approx(zoom))


def test_a_cancelled_training_starts_again_only_when_asked(page, press, qtbot, dock, session_folder):
    session = page.session
    session.set_recipe(session.recipe.replace(steps=3000))
    answer_truthfully(session, 8)
    assert session.phase is Phase.TRAINING  # by itself
    press(Key.Key_R)
    qtbot.waitUntil(lambda: session.phase is Phase.IDLE, timeout=60000)
    assert not page.rounds.automatic.isChecked()
    y = np.load(session.array_file)["y"]
    for _ in range(3):
        press((Key.Key_1, Key.Key_2)[y[session.current.row]])
        assert session.phase is Phase.IDLE
    dock.leave()
    assert dock.open(session_folder)
    page = dock.page
    assert not page.rounds.automatic.isChecked()
    assert page.session.automatic is False
    press(Key.Key_1)
    assert page.session.phase is Phase.IDLE
    qtbot.mouseClick(
        page.rounds.automatic, Qt.MouseButton.LeftButton, pos=QPoint(8, page.rounds.automatic.height() // 2)
    )
    press(Key.Key_1)
    qtbot.waitUntil(lambda: page.session.phase is Phase.TRAINING)


def test_back_reaches_what_was_answered_before_the_session_was_opened(page, press, dock, session_folder):
    row = page.session.current.row
    press(Key.Key_1)
    dock.leave()
    dock.open(session_folder)
    press(Key.Key_B)
    assert dock.page.session.current.row == row
    press(Key.Key_B)
    assert "no item before this one" in dock.page.notice.text()


def test_contrast_and_view_stay_from_particle_to_particle(page, press, dock):
    viewer, layer = dock._viewer, dock._viewer.layers["particle"]
    limits, slices = layer.contrast_limits, page.slices._limits
    press(Key.Key_1)
    assert layer.contrast_limits == limits
    assert page.slices._limits == slices
    layer.contrast_limits = (0.25, 0.75)  # the person's own
    viewer.scene.camera.angles, viewer.scene.camera.zoom = (10, 20, 30), 7.5
    viewer.dims.ndisplay = 2
    press(Key.Key_1)
    assert layer.contrast_limits == [0.25, 0.75]
    assert viewer.scene.camera.zoom == 7.5
    assert viewer.dims.ndisplay == 2


def test_the_corners_of_a_box_are_faded_out(page, dock, qtbot):
    layer = dock._viewer.layers["particle"]
    corner, middle = layer.data[:2, :2, :2].copy(), layer.data[8, 8, 8]
    assert np.ptp(corner) < 1e-5
    page.view.masked.setChecked(False)
    assert np.ptp(layer.data[:2, :2, :2]) > 1e-3
    assert layer.data[8, 8, 8] == pytest.approx(middle, abs=1e-4)


NAMES = [f"{letter} of a complex with a very long name of many subunits" for letter in "abcdefghijklmno"]


@pytest.fixture
def many(dock, tmp_path, array_file, qtbot):
    """A session of fifteen classes with long names, in a window of 1280×800."""
    create_session(tmp_path / "many", Source("array", str(array_file)), NAMES, settings=FAST)
    dock._viewer.window._qt_window.resize(1280, 800)
    assert dock.open(tmp_path / "many")
    qtbot.waitUntil(lambda: dock.page.isVisible())
    qtbot.wait(200)
    return dock.page


def test_fifteen_classes_with_long_names_leave_every_control_on_the_screen(many, dock, qtbot):
    window = dock._viewer.window._qt_window
    assert (window.width(), window.height()) == (1280, 800)
    inside = dock._area.viewport().rect()
    widgets = [*many.panel.rows.values(), *many.panel.actions_by_name.values()]
    widgets += [*many.slices.panes.values()]
    for widget in widgets:
        for corner in (widget.rect().topLeft(), widget.rect().bottomRight()):
            assert inside.contains(widget.mapTo(dock._area.viewport(), corner)), widget
    assert min(pane.width() for pane in many.slices.panes.values()) >= 140
    assert many.panel.rows[NAMES[3]].toolTip().startswith(NAMES[3])
    below = many.bottom.rect()
    line = (many.rounds.train, many.rounds.automatic, many.rounds.text, many.rounds.export, many.rounds.close_button)
    for widget in line:
        for corner in (widget.rect().topLeft(), widget.rect().bottomRight()):
            assert below.contains(widget.mapTo(many.bottom, corner)), widget
    assert window.rect().contains(many.bottom.mapTo(window, below.bottomRight()))


def test_a_notice_in_another_theme_pushes_nothing_below_a_fold(many, dock, qtbot):
    many.tabs.setCurrentWidget(many.model)
    many.say("a sentence of some length " * 6)
    dock._viewer.theme = "light"
    qtbot.wait(200)
    assert dock._area.verticalScrollBar().maximum() == 0
    qtbot.waitUntil(lambda: "label a few particles" in many.model.doubts.empty_text, timeout=20000)


def test_classes_beyond_nine_have_a_key(many, press):
    row = many.session.current.row
    press(Key.Key_W)  # the eleventh
    assert many.session.labels() == {row: NAMES[10]}


def test_a_class_is_found_by_its_name(many, press, qtbot):
    row = many.session.current.row
    press(Key.Key_Slash)
    assert many.window().focusWidget() is many.panel.finder
    QTest.keyClicks(many.panel.finder, "n OF")
    assert many.session.labels() == {}  # letters are typed, they label nothing
    QTest.keyClick(many.panel.finder, Key.Key_Return)
    assert many.session.labels() == {row: NAMES[13]}
    press(Key.Key_1)
    assert many.session.status.labeled == 2


def contrast(ink, ground):
    """WCAG contrast of two colours."""
    lights = []
    for colour in (ink, ground):
        parts = np.array(colour.getRgbF()[:3])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_can_be_read_in_both_themes(page, dock, qtbot, theme):
    dock._viewer.theme = theme
    qtbot.wait(100)
    for widget in (page.panel.rows["ball"], page.gallery):
        pixels = widget.grab().toImage()
        colours = [pixels.pixelColor(x, y) for x in range(pixels.width()) for y in range(pixels.height())]
        ground = widget._colours.raised if widget is not page.gallery else widget._colours.ground
        assert max(contrast(colour, ground) for colour in colours) > 7
    page.tabs.setCurrentWidget(page.model)
    qtbot.waitUntil(page.model.curve.isVisible)
    assert page.model.curve.figure.get_facecolor()[:3] == pytest.approx(
        page.panel.rows["ball"]._colours.ground.getRgbF()[:3], abs=0.01
    )


def test_keys_label_in_the_main_window_though_the_dock_floats(page, press, dock, qtbot):
    docked = dock.parent()
    while not hasattr(docked, "setFloating"):
        docked = docked.parent()
    docked.setFloating(True)
    qtbot.waitUntil(page.isVisible)
    press(Key.Key_1)
    assert page.session.status.labeled == 1
