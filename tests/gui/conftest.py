import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from helpers import FAST
from tomotutor.gui.dock import TomoTutorDock
from tomotutor.sample import create_sample_session


@pytest.fixture
def sample_session(tmp_path):
    folder = tmp_path / "sample"
    create_sample_session(folder, settings=FAST)
    return folder


@pytest.fixture
def dock(make_napari_viewer, qtbot):
    """The dock in a napari window."""
    viewer = make_napari_viewer(show=True)
    widget = TomoTutorDock(viewer)
    viewer.window.add_dock_widget(widget, name="TomoTutor", area="right")
    yield widget
    widget.leave()


@pytest.fixture
def page(dock, session_folder, qtbot):
    """A small session of volumes, open in the dock."""
    assert dock.open(session_folder)
    qtbot.waitUntil(lambda: dock.page.isVisible())
    return dock.page


@pytest.fixture
def press(dock):
    """Press a real key on napari's canvas, where the focus of a labeling person is."""
    canvas = dock._viewer.window._qt_viewer.canvas.native

    def press_key(key, modifier=Qt.KeyboardModifier.NoModifier, target=None):
        (target or canvas).setFocus()
        QTest.keyClick(target or canvas, key, modifier)

    return press_key
