import gc
import shutil

import numpy as np
import pytest
from qtpy.QtCore import QSettings, Qt
from qtpy.QtTest import QTest

from helpers import FAST, answer_truthfully, two_kinds
from tomotutor.data.sources import Source
from tomotutor.gui.dock import TomoTutorDock
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
