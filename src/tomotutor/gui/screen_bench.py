"""How quick the screen is: key to painted particle, the main thread's timer while training, cancel, and the first
window.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from vispy.gloo import gl

from tomotutor.gui.app import make_window
from tomotutor.session.sample import create_sample_session
from tomotutor.session.status import Phase


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def _key_to_painted(viewer: Any, keys: list[Any]) -> list[float]:
    """Press keys on the canvas; return the milliseconds until the canvas has drawn what follows."""
    canvas = viewer.window._qt_viewer.canvas
    drawn: list[float] = []
    canvas.events.draw.connect(lambda event: drawn.append(time.perf_counter()))
    found = []
    for key in keys:
        _spin(0.05)
        drawn.clear()
        start = time.perf_counter()
        QTest.keyClick(canvas.native, key)
        while not drawn and time.perf_counter() - start < 5:
            QApplication.processEvents()
        gl.glFinish()
        found.append(1e3 * (time.perf_counter() - start))
    return found


def screen() -> dict[str, Any]:
    """Measure a labeling session on the sample data; needs a display."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "session"
        create_sample_session(folder)
        viewer, dock = make_window(folder)
        viewer.window._qt_window.resize(1400, 900)
        _spin(1.0)
        page = dock.page
        assert page is not None
        session = page.session
        session.automatic = False
        keys = [Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_3, Qt.Key.Key_4, Qt.Key.Key_0]
        volume_ms = _key_to_painted(viewer, keys * 6)
        page.view.next_rendering()
        surface_ms = _key_to_painted(viewer, keys * 4)
        page.view.next_rendering()

        ticks: list[float] = []
        timer = QTimer(page)
        timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
        session.start_round()
        while session.phase is Phase.TRAINING and "training · epoch" not in page.rounds.bar.format():
            _spin(0.05)
        timer.start(10)
        end = time.perf_counter() + 10
        while time.perf_counter() < end and session.phase is Phase.TRAINING:
            QApplication.processEvents()
            time.sleep(0.0005)
        timer.stop()
        training_ms = _key_to_painted(viewer, keys * 2) if session.phase is Phase.TRAINING else []
        start = time.perf_counter()
        session.cancel()
        while session.phase is not Phase.IDLE:
            _spin(0.001)
        cancel_ms = 1e3 * (time.perf_counter() - start)
        viewer.close()
    intervals = 1e3 * np.diff(ticks)
    return {
        "key_to_painted_volume_median_ms": float(np.median(volume_ms)),
        "key_to_painted_surface_median_ms": float(np.median(surface_ms)),
        "key_to_painted_while_training_median_ms": float(np.median(training_ms)) if training_ms else None,
        "timer_10ms_while_training_p50_ms": float(np.percentile(intervals, 50)),
        "timer_10ms_while_training_p95_ms": float(np.percentile(intervals, 95)),
        "timer_10ms_while_training_max_ms": float(intervals.max()),
        "cancel_ms": cancel_ms,
        "first_window_s": _first_window(),
    }


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
