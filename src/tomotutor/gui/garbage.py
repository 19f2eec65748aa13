"""Python's garbage collector, kept to the main thread."""

from __future__ import annotations

import gc
import sys
import time

from qtpy.QtCore import QObject, QTimer

_EVERY_MS = 500
_WHOLE_S = 60  # between two collections of everything
_MANY = 200  # modules; torch and what it needs are more than a thousand
_keeper: _Keeper | None = None


class _Keeper(QObject):
    def __init__(self) -> None:
        super().__init__()
        self._whole = time.monotonic()
        self._modules = self._kept = len(sys.modules)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(_EVERY_MS)

    def _look(self) -> None:
        """Do what Python does by itself after so many new objects, in this thread."""
        before, self._modules = self._modules, len(sys.modules)
        if before == self._modules >= self._kept + _MANY:  # a large import, such as torch's, has ended
            gc.collect(1)
            gc.freeze()  # else closing the window, which collects everything, looks at it again
            self._kept = self._modules
        count, least = gc.get_count(), gc.get_threshold()
        if count[2] > least[2] and time.monotonic() - self._whole > _WHOLE_S:
            gc.collect()
            self._whole = time.monotonic()
        elif count[1] > least[1]:
            gc.collect(1)
        elif count[0] > least[0]:
            gc.collect(0)


def collect_in_main_thread() -> None:
    """Let Python collect garbage in the main thread alone, from here on.

    By itself it does so in whatever thread makes the next object. Windows and timers among the garbage are then deleted
    outside the thread that they belong to, and Qt crashes.
    """
    global _keeper
    if _keeper is None:
        gc.collect()
        gc.freeze()  # what is imported stays: later collections need not look at it
        gc.disable()
        _keeper = _Keeper()


def collect_anywhere() -> None:
    """Let Python collect garbage by itself again."""
    global _keeper
    if _keeper is not None:
        _keeper.deleteLater()
        _keeper = None
        gc.enable()
        gc.unfreeze()
