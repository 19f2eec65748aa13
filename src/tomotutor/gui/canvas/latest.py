"""Work off the main thread of which only the newest matters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

from tomotutor.base.errors import TomoTutorError


class Latest(QObject):
    """Runs functions off the main thread, one at a time. Of those that wait only the newest is run; what the others
    would have found nobody wants any more.
    """

    found = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runs = False
        self._waiting: Callable[[], object] | None = None
        self._is_open = True

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._runs

    def ask(self, function: Callable[..., object], *args: object) -> None:
        """Run `function` as soon as what runs has ended, unless something newer is asked for until then."""
        self._waiting = partial(function, *args)
        if not self._runs:
            self._start()

    def _start(self) -> None:
        function, self._waiting = self._waiting, None
        if function is None or not self._is_open:
            return
        self._runs = True
        worker = create_worker(function, _ignore_errors=True)
        worker.returned.connect(self._returned)
        worker.errored.connect(self._errored)
        worker.start()

    def _returned(self, result: object) -> None:
        self._runs = False
        if self._is_open:
            self.found.emit(result)
            self._start_next()

    def _errored(self, problem: Exception) -> None:
        self._runs = False
        if self._is_open:
            self.failed.emit(
                str(problem) if isinstance(problem, TomoTutorError) else f"{type(problem).__name__}: {problem}"
            )
            self._start_next()

    def _start_next(self) -> None:
        if not self._runs:
            self._start()

    def stop(self) -> None:
        """Run nothing more, and tell of nothing more."""
        self._is_open, self._waiting = False, None
