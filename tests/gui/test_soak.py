"""Hours of labeling in one window: nothing grows that should not."""

import gc
import os
import threading

import numpy as np
import psutil
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

from helpers import FAST, two_kinds
from tomotutor.data.sources import Source
from tomotutor.session.create import create_session
from tomotutor.session.status import Phase

Key = Qt.Key
LABELS = int(os.environ.get("TOMOTUTOR_SOAK", 2000))
TRAININGS, VIEWS = max(4, LABELS // 200), max(20, LABELS // 10)


def counted(viewer, session):
    """What may leak: layers, running timers, threads, open files, listeners of the session's signals, widgets."""
    timers = [timer for timer in viewer.window._qt_window.findChildren(QTimer) if timer.isActive()]
    signals = ("queue_changed", "answers_changed", "status_changed", "progressed", "round_finished", "failed", "notice")
    return {
        "layers": len(viewer.layers),
        "timers": len(timers),
        "threads": len([thread for thread in threading.enumerate() if thread.name != "tomotutor-background"]),
        "files": len(psutil.Process().open_files()),
        "listeners": sum(len(getattr(session, name)) for name in signals),
        "windows": len(QApplication.topLevelWidgets()),
    }


@pytest.mark.slow
def test_memory_stays_flat_and_nothing_leaks(dock, press, tmp_path, qtbot):
    x, y = two_kinds(LABELS + 60, 12)
    np.save(tmp_path / "x.npy", x)
    del x
    settings = {**FAST, "audit_share": "8"}
    create_session(tmp_path / "s", Source("array", str(tmp_path / "x.npy")), ["ball", "slab"], settings=settings)
    assert dock.open(tmp_path / "s")
    page, viewer, memory = dock.page, dock._viewer, []
    session = page.session
    session.automatic = False
    views = [page.views.buttons[name] for name in ("Sheet", "Particle")]
    bar = page.tabs.tabBar()

    def part(labels, changes):
        """Label, look at everything, and train once."""
        for _ in range(labels):
            press((Key.Key_1, Key.Key_2)[y[session.current.row]])
        for k in range(changes):
            qtbot.mouseClick(views[k % 2], Qt.MouseButton.LeftButton)
            qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect((k // 2) % 2).center())
            page.particles.show_box.setCurrentIndex(k % page.particles.show_box.count())
            qtbot.wait(30)
        qtbot.mouseClick(views[1], Qt.MouseButton.LeftButton)
        qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(0).center())
        rounds = session.status.round
        press(Key.Key_R)
        qtbot.waitUntil(lambda: session.status.round == rounds + 1 and session.phase is Phase.IDLE, timeout=300000)
        qtbot.wait(1000)
        working = (thread for thread in threading.enumerate() if thread.name == "tomotutor-background")
        for thread in list(working):  # what it works with is no leak
            qtbot.waitUntil(lambda thread=thread: not thread.is_alive(), timeout=60000)
        gc.collect()
        memory.append(psutil.Process().memory_info().rss / 2**20)

    warm = max(2, TRAININGS // 4)
    for _ in range(warm):
        part(LABELS // TRAININGS, VIEWS // TRAININGS)
    before = counted(viewer, session)
    for _ in range(TRAININGS - warm):
        part(LABELS // TRAININGS, VIEWS // TRAININGS)
    after = counted(viewer, session)
    print(
        f"\n{LABELS} labels, {TRAININGS} trainings, {VIEWS} views: MiB {[round(m) for m in memory]}; {before} {after}"
    )
    assert after == before
    assert session.status.labeled == LABELS // TRAININGS * TRAININGS
    assert memory[-1] <= 1.05 * memory[warm - 1]
