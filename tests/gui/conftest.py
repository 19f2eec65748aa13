import contextlib
import gc
import shutil

import napari
import numpy as np
import pytest
from app_model import Application
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt._qapp_model.qactions import init_qactions
from napari._qt.qt_viewer import QtViewer
from napari.plugins import _initialize_plugins
from napari.settings import get_settings
from qtpy.QtCore import QEvent, QSettings, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from helpers import FAST, answer_truthfully, two_kinds
from tomotutor.data.sources import Source
from tomotutor.gui.canvas.stage import OURS
from tomotutor.gui.dock import TomoTutorDock, docks_of
from tomotutor.gui.garbage import collect_anywhere
from tomotutor.learn.models import build_pair
from tomotutor.learn.start import write_start
from tomotutor.session import Session
from tomotutor.session.create import create_session
from tomotutor.session.sample import create_sample_session


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory):
    """Qt's settings in a folder of the test, away from the person's."""
    QSettings.setPath(
        QSettings.Format.NativeFormat, QSettings.Scope.UserScope, str(tmp_path_factory.mktemp("settings"))
    )


@pytest.fixture(autouse=True, scope="package")
def collector():
    """Python's own garbage collection, for the tests after these, which have no event loop."""
    yield
    gc.collect()
    collect_anywhere()


@pytest.fixture
def sample_session(tmp_path):
    folder = tmp_path / "sample"
    create_sample_session(folder, settings=FAST)
    return folder


@contextlib.contextmanager
def napari_window():
    """A window as napari's `make_napari_viewer` makes it, for more than one test."""
    app = NapariApplication("shared")
    app.injection_store.namespace = _napari_names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NapariApplication, "get_app_model", lambda: app)
        patch.setattr("napari._qt.threads.status_checker.StatusChecker.start", lambda _: None)
        _forget()
        get_settings().reset()
        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        QtViewer._instances.clear()  # `make_napari_viewer` counts its own
        try:
            yield viewer
        finally:
            if hasattr(viewer.window, "_qt_window"):
                patch.setattr(viewer.window._qt_window, "_save_current_window_settings", lambda: None)
                viewer.close()
            Application.destroy("shared")
            _forget()
            del viewer
            gc.collect()


def _forget():
    _initialize_plugins.cache_clear()
    init_qactions.cache_clear()


class SharedWindow:
    """A napari window that the tests of a module share; each leaves it as it was, or it is made anew."""

    def __init__(self):
        self._open = contextlib.ExitStack()
        self.viewer = None

    def make(self):
        if self.viewer is None:
            self.viewer = self._open.enter_context(napari_window())
            window = self.viewer.window._qt_window
            self._size = window.size()
            self._hears = self._callbacks()
        return self.viewer

    def close(self):
        self.viewer = None
        self._open.close()

    def _callbacks(self):
        viewer = self.viewer
        return dict(viewer.keymap), [
            list(getattr(viewer, f"mouse_{name}_callbacks")) for name in ("drag", "move", "wheel", "double_click")
        ]

    def check(self):
        """Hold a window that a session has left against what it was before."""
        viewer = self.viewer
        assert not [layer for layer in viewer.layers if OURS in layer.metadata]
        assert (viewer.title, docks_of(viewer)) == ("napari", [])
        assert self._callbacks() == self._hears

    def reset(self):
        """Take back what a test itself did to the window."""
        viewer, window = self.viewer, self.viewer.window._qt_window
        get_settings().reset()
        viewer.layers.clear()
        viewer.window.remove_dock_widget("all")
        viewer.theme = get_settings().appearance.theme
        viewer.dims.reset()
        viewer.scene.camera.reset()
        if window.size() != self._size:
            window.resize(self._size)


@pytest.fixture(scope="module")
def shared_window(qapp):
    shared = SharedWindow()
    yield shared
    shared.close()


@pytest.fixture
def dock(shared_window, qtbot, request):
    """The dock in a napari window."""
    viewer = shared_window.make()
    qtbot.wait_exposed(viewer.window._qt_window, timeout=5000)
    widget = TomoTutorDock(viewer)
    viewer.window.add_dock_widget(widget, name="TomoTutor", area="right")
    yield widget
    widget.leave()
    called = getattr(request.node, "rep_call", None)  # none where another fixture failed
    if called is None or called.failed or not viewer.window._qt_window.isVisible():
        shared_window.close()
        return
    for one in {widget, *docks_of(viewer)}:
        with contextlib.suppress(LookupError):  # a test may have closed it
            viewer.window.remove_dock_widget(one)
        one.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    try:
        shared_window.check()
        shared_window.reset()
    except BaseException:
        shared_window.close()
        raise


@pytest.fixture
def own_dock(make_napari_viewer):
    """The dock in a napari window of the test's own."""
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


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Weights of a small pair that has learned nothing, in a folder as `tomotutor pretrain` would leave it."""
    folder = tmp_path_factory.mktemp("weights")
    pair = build_pair("resnet18", ndim=3, channels=1, edge=16, classes=3, width=0.25, seed=0)
    write_start(folder, pair.parts(), {"teacher": "resnet18", "stem": "3s2", "width": 0.25})
    return folder


@pytest.fixture
def looked_page(dock, tmp_path, array_file, weights, qtbot):
    """A session that starts from weights and has looked around in its pool, open in the dock."""
    folder = tmp_path / "looked"
    create_session(folder, Source("array", str(array_file)), ["ball", "slab"], settings=FAST, start=str(weights))
    with Session(folder) as session:
        session.map_pool()
    assert dock.open(folder)
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


@pytest.fixture(scope="session")
def embedded(tmp_path_factory):
    """A session that has looked at its pool, and has twelve labels."""
    folder = tmp_path_factory.mktemp("embedded")
    x, y = two_kinds(80, 16)
    np.savez(folder / "a.npz", x=x, y=y)
    settings = {**FAST, "between": "uherding", "learning_rate": "0.01", "audit_share": "8", "initial_size": "500"}
    del settings["start"]
    create_session(folder / "s", Source("array", str(folder / "a.npz")), ["ball", "slab"], settings=settings)
    with Session(folder / "s") as session:
        session.map_pool()
        answer_truthfully(session, 12)
    return folder / "s"


@pytest.fixture
def known_page(dock, embedded, tmp_path, qtbot):
    """That session in the dock, with its answers on the screen."""
    shutil.copytree(embedded, tmp_path / "s")
    dock._viewer.window._qt_window.resize(1400, 900)
    assert dock.open(tmp_path / "s")
    page = dock.page
    qtbot.waitUntil(lambda: page.session.answers is not None, timeout=30000)
    qtbot.waitUntil(lambda: "answers right" in page.rounds.text.text(), timeout=60000)
    return page
