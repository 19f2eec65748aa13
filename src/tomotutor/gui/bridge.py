"""Brings a Session's signals, which come from any thread, to the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from tomotutor.session import Session


class SessionBridge(QObject):
    """Qt signals with the payloads of the Session's; Qt queues an emission from another thread to the
    receiver's own.
    """

    queue_changed = Signal()
    status_changed = Signal(object)
    progressed = Signal(object)
    round_finished = Signal(object)
    failed = Signal(str)
    notice = Signal(str)

    NAMES = ("queue_changed", "status_changed", "progressed", "round_finished", "failed", "notice")

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._slots = {name: getattr(self, name).emit for name in self.NAMES}
        for name, slot in self._slots.items():
            getattr(session, name).connect(slot)

    def disconnect_all(self) -> None:
        """Hear no more of the session."""
        for name, slot in self._slots.items():
            getattr(self._session, name).disconnect(slot, missing_ok=True)


class Task(QObject):
    """Runs a function in a thread and tells the main thread how it ended."""

    done = Signal(object)
    failed = Signal(str)
    progressed = Signal(str, int, int)

    def __init__(self, parent: QObject, function: Callable[[Callable[[str, int, int], None]], Any]) -> None:
        super().__init__(parent)
        self._function = function

    def start(self) -> None:
        """Start; `function` is given a callable to report with: what it does, done and total."""
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            result = self._function(self.progressed.emit)
        except Exception as problem:  # shown on the screen, whatever it is
            self.failed.emit(str(problem) or type(problem).__name__)
        else:
            self.done.emit(result)
