"""How quick the screen is, in real windows with real keys and mouse: what a person waits for, and how long the main
thread is held up meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEvent, QObject, QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from typing_extensions import override
from vispy.gloo import gl

from tomotutor.gui.canvas.views import PARTICLE, SHEET
from tomotutor.gui.dialogs.export import ExportDialog
from tomotutor.gui.dock import TomoTutorDock, dock_in
from tomotutor.gui.label.page import LabelPage
from tomotutor.session.sample import create_sample_session
from tomotutor.session.status import Phase

Figures = dict[str, Any]
Make = Callable[[Path, int], Path]  # folder and number of items to a session whose pool is embedded

_BEAT_MS = 5
_LONGEST_S = 300.0  # that anything may take before the bench gives up
_KEYS = (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_3, Qt.Key.Key_4)
_LEFT = Qt.MouseButton.LeftButton


def spread(name: str, values: Sequence[float]) -> Figures:
    """Return median, 95th percentile and maximum of some milliseconds, under a name; None where there are none."""
    found = np.percentile(values, (50, 95, 100)).tolist() if len(values) else [None] * 3
    return dict(zip((f"{name}_p50_ms", f"{name}_p95_ms", f"{name}_max_ms"), found, strict=True))


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def _until(is_so: Callable[[], object], what: str) -> None:
    end = time.perf_counter() + _LONGEST_S
    while not is_so():
        QApplication.processEvents()
        if time.perf_counter() > end:
            raise TimeoutError(f"bench screen: {what} did not come in {_LONGEST_S:.0f} s")


class _Beats(QObject):
    """A timer of the main thread: the time between two beats is how long it was held up."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(lambda: self.at.append(time.perf_counter()))
        self._timer.start(_BEAT_MS)

    def stop(self) -> None:
        self._timer.stop()
        self.at.append(time.perf_counter())

    def blocked_ms(self, first: float = 0.0, last: float = np.inf) -> float:
        """Return the longest time between two beats, of those that end between two moments."""
        at = np.array(self.at)
        if len(at) < 2:
            return float("nan")
        inside = (at[1:] >= first) & (at[1:] <= last)
        return float(1e3 * np.diff(at)[inside].max(initial=0))


@contextmanager
def _beating() -> Iterator[_Beats]:
    beats = _Beats()
    _spin(3 * _BEAT_MS / 1e3)
    yield beats
    _spin(3 * _BEAT_MS / 1e3)
    beats.stop()


class _Paints(QObject):
    """Notes when a widget is painted."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self.count = 0
        self._widget = widget
        widget.installEventFilter(self)

    def wait(self) -> None:
        """Wait until it is painted from now on."""
        self.count = 0
        _until(lambda: self.count, "the grid")

    @override
    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        self.count += target is self._widget and event.type() == QEvent.Type.Paint
        return False


class _Window:
    """napari with a session in it."""

    def __init__(self, folder: Path) -> None:
        self.viewer = napari.Viewer(title="TomoTutor", ndisplay=3)
        self.viewer.window._qt_window.resize(1400, 900)
        self.dock: TomoTutorDock = dock_in(self.viewer)
        _spin(1.0)
        with _beating() as beats:
            start = time.perf_counter()
            if not self.dock.open(folder):
                raise RuntimeError(f"bench screen: {folder} did not open: {self.dock.welcome.notice.text()}")
            _until(lambda: self.page.particles.grid.isVisible(), "the grid")
            QApplication.processEvents()
            self.open_s = time.perf_counter() - start
            _spin(1.0)
        self.open_blocked_ms = beats.blocked_ms()
        self.canvas = self.viewer.window._qt_viewer.canvas
        self.session = self.page.session
        self.session.automatic = False

    @property
    def page(self) -> LabelPage:
        """Its labeling page."""
        assert self.dock.page is not None
        return self.dock.page

    def press(self, key: Any) -> None:
        """Press a key on the canvas."""
        QTest.keyClick(self.canvas.native, key)

    def key_to_painted_ms(self, count: int, keys: Sequence[Any] = _KEYS) -> list[float]:
        """Return the milliseconds from each key until the canvas has drawn the next particle."""
        drawn: list[float] = []

        def note(event: object) -> None:
            drawn.append(time.perf_counter())

        self.canvas.events.draw.connect(note)
        found = []
        for k in range(count):
            _spin(0.05)
            drawn.clear()
            start = time.perf_counter()
            self.press(keys[k % len(keys)])
            _until(lambda: drawn, "the next particle")
            gl.glFinish()
            found.append(1e3 * (time.perf_counter() - start))
        self.canvas.events.draw.disconnect(note)
        return found

    def key_to_grid_ms(self, count: int) -> list[float]:
        """Return the milliseconds from each key until answers, counts and frames of the grid know it, and are painted.
        Item n is of class n mod the number of classes.
        """
        session, found = self.session, list[float]()
        paints, told = _Paints(self.page.particles.grid.viewport()), list[object]()
        session.answers_changed.connect(told.append, thread="main")  # after the page, which connected first
        for _ in range(count):
            _spin(0.05)
            item = session.current
            assert item is not None
            start = time.perf_counter()
            self.press(getattr(Qt.Key, f"Key_{item.row % len(session.classes) + 1}"))

            def is_known(row: int = item.row) -> bool:
                known = bool(told) and session.answers is not None and bool(session.answers.labeled_N[row])
                told.clear()
                return known

            _until(is_known, "the answers")
            paints.wait()
            found.append(1e3 * (time.perf_counter() - start))
        session.answers_changed.disconnect(told.append)
        return found

    def scroll_ms(self, count: int) -> list[float]:
        """Return the milliseconds from each step of the grid's scroll bar, a fifth of them far ones, until it is
        painted.
        """
        grid, rng, found = self.page.particles.grid, np.random.default_rng(0), list[float]()
        paints, bar = _Paints(grid.viewport()), grid.verticalScrollBar()
        for k in range(count):
            _spin(0.03)
            paints.count, start = 0, time.perf_counter()
            bar.setValue(int(rng.integers(bar.maximum())) if k % 5 == 0 else bar.value() + 3 * bar.singleStep())
            if bar.value() >= bar.maximum():
                bar.setValue(0)
            _until(lambda: paints.count, "the grid")
            found.append(1e3 * (time.perf_counter() - start))
        return found

    def sheet_frames(self, seconds: float) -> Figures:
        """Turn the sheet by the mouse; return pictures a second, and of its slowest twentieth."""
        views, at = self.page.views, list[float]()
        QTest.mouseClick(views.buttons[SHEET], _LEFT)
        _until(lambda: views.sheet.pictures, "the sheet")
        _spin(1.0)
        sheet, place, shown = views.sheet, views.sheet.rect().center(), views.sheet.pictures
        QTest.mousePress(sheet, _LEFT, pos=place)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            place += QPoint(3, 1) if place.x() < sheet.width() - 9 else QPoint(-sheet.width() // 2, 0)
            QTest.mouseMove(sheet, place)
            _spin(0.008)
            if sheet.pictures is not shown:
                shown = sheet.pictures
                at.append(time.perf_counter())
        QTest.mouseRelease(sheet, _LEFT, pos=place)
        QTest.mouseClick(views.buttons[PARTICLE], _LEFT)
        _spin(0.5)
        between = np.diff(at)
        return {
            "frames_per_s_p50": float(1 / np.median(between)),
            "frames_per_s_p5": float(1 / np.quantile(between, 0.95)),
        }

    def close_ms(self) -> tuple[float, float]:
        """Close the window; return the milliseconds until it is gone, and the seconds until the session is free."""
        session, free = self.session, list[float]()
        session.closed.connect(lambda: free.append(time.perf_counter()))
        start = time.perf_counter()
        self.viewer.close()
        gone_ms = 1e3 * (time.perf_counter() - start)
        _until(lambda: free, "the end of the session")
        return gone_ms, free[0] - start


def _start_training(window: _Window) -> None:
    """Wait until mini-batches are trained on."""
    window.press(Qt.Key.Key_R)
    _until(lambda: window.session.phase is Phase.TRAINING, "a training")
    _until(lambda: "training" in window.page.rounds.bar.format(), "its first mini-batch")


def _particles(folder: Path, keys: int) -> Figures:
    """Measure the sample session, idle, through a training, and closing."""
    create_sample_session(folder)
    window = _Window(folder)
    found: Figures = {"opening_s": window.open_s, "blocked_while_opening_ms": window.open_blocked_ms}
    found |= spread("key_to_painted_volume", window.key_to_painted_ms(keys))
    window.page.view.next_rendering()
    found |= spread("key_to_painted_surface", window.key_to_painted_ms(keys))
    window.page.view.next_rendering()
    found |= {f"sheet_{name}": value for name, value in window.sheet_frames(3.0).items()}
    window.press(Qt.Key.Key_R)
    _until(lambda: window.session.phase is Phase.TRAINING, "a training")
    gone, free = window.close_ms()
    found |= {"closing_before_first_batch_ms": gone, "free_after_s": free}

    window = _Window(folder)
    found |= {"opening_again_s": window.open_s, "blocked_while_opening_again_ms": window.open_blocked_ms}
    ended: list[float] = []
    window.session.round_finished.connect(lambda point: ended.append(time.perf_counter()))
    with _beating() as beats:
        _start_training(window)
        found |= spread("key_to_painted_while_training", window.key_to_painted_ms(keys))
        found |= {f"sheet_while_training_{name}": value for name, value in window.sheet_frames(3.0).items()}
        _until(lambda: ended, "the end of the training")
        _spin(2.0)
    found["blocked_while_training_ms"] = beats.blocked_ms(last=ended[0] - 0.5)
    found["blocked_at_round_end_ms"] = beats.blocked_ms(first=ended[0] - 0.5)
    _start_training(window)
    _spin(0.5)
    gone, free = window.close_ms()
    found |= {"closing_in_training_ms": gone, "free_after_training_s": free}

    window = _Window(folder)
    QTest.mouseClick(window.page.rounds.export, _LEFT)
    dialog = window.page.dialogs["export"]
    assert isinstance(dialog, ExportDialog)
    dialog.folder.setText(str(folder / "out"))
    dialog.format.setCurrentIndex(dialog.format.findData("averages"))
    QTest.mouseClick(dialog.start, _LEFT)
    _spin(0.2)
    found["closing_was_exporting"] = dialog.runs
    found["closing_while_exporting_ms"], found["free_after_exporting_s"] = window.close_ms()
    return found


def _answers(folder: Path, make: Make, items: int, keys: int) -> Figures:
    """Measure how soon the grid knows what a key said, idle and while training."""
    folder.mkdir()
    window = _Window(make(folder, items))
    found: Figures = {"items": items, "opening_s": window.open_s, "blocked_while_opening_ms": window.open_blocked_ms}
    session = window.session
    while session.answers is None:  # two classes are needed first
        item = session.current
        assert item is not None
        window.press(getattr(Qt.Key, f"Key_{item.row % len(session.classes) + 1}"))
        _spin(0.5)
    window.page.particles.show_box.setCurrentText("all")
    window.page.particles.sort_box.setCurrentText("confidence")
    _spin(1.0)
    with _beating() as beats:
        found |= spread("key_to_grid", window.key_to_grid_ms(keys))
    found["blocked_while_labeling_ms"] = beats.blocked_ms()
    _start_training(window)
    found |= spread("key_to_grid_while_training", window.key_to_grid_ms(keys))
    found["trained_all_the_while"] = session.phase is Phase.TRAINING
    found["closing_in_training_ms"], _ = window.close_ms()
    return found


def _grid(folder: Path, make: Make, items: int, steps: int) -> Figures:
    """Measure a very large session: opening, scrolling, closing."""
    folder.mkdir()
    window = _Window(make(folder, items))
    found: Figures = {"items": items, "opening_s": window.open_s, "blocked_while_opening_ms": window.open_blocked_ms}
    window.page.particles.show_box.setCurrentText("all")
    _spin(1.0)
    found |= spread("scroll", window.scroll_ms(steps))
    found["closing_ms"], _ = window.close_ms()
    return found


def screen(make: Make, many: int = 10_000, most: int = 100_000, keys: int = 40, steps: int = 200) -> Figures:
    """Measure the screen; needs a display.

    Parameters
    ----------
    make : callable
        Makes a session of so many items whose pool is embedded.
    many, most : int
        Items of the sessions in which answers and scrolling are timed.
    keys, steps : int
        Keys and steps of the scroll bar that are timed, each.
    """
    # in this folder: /tmp may be memory, where nothing is committed
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        found = _particles(folder / "sample", keys)
        found |= {f"many_{key}": value for key, value in _answers(folder / "many", make, many, keys).items()}
        found |= {f"most_{key}": value for key, value in _grid(folder / "most", make, most, steps).items()}
    return {**found, "first_window_s": _first_window()}


_FIRST = """
import sys
from pathlib import Path
from tomotutor.gui.app import make_window
from qtpy.QtTest import QTest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
viewer, dock = make_window(Path(sys.argv[1]))
canvas = viewer.window._qt_viewer.canvas.native
while not dock.page.session.labels():
    QApplication.processEvents()
    QTest.keyClick(canvas, Qt.Key.Key_1)
print("labeled", flush=True)
viewer.close()
"""


def _first_window() -> float:
    """Time a new process from its start until a key has labeled the first particle of the sample session."""
    with tempfile.TemporaryDirectory() as name:
        create_sample_session(Path(name) / "session")
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", _FIRST, str(Path(name) / "session")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - start
        process.wait()
    return seconds
