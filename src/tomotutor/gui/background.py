"""Work off the main thread, whose result is brought back to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

import psygnal
from qtpy.QtCore import QCoreApplication, QEventLoop, Qt, QTimer

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.garbage import collect_in_main_thread

T = TypeVar("T")

_EMIT_MS = 10  # how often signals of other threads are brought to the main one; 0, the default, takes a whole core


def hear_threads() -> None:
    """Bring signals of other threads to the main one, where they are connected with `thread="main"`; keep Qt's objects
    out of the hands of other threads.
    """
    if not _timer().isActive():
        _timer().start(_EMIT_MS)
    collect_in_main_thread()


@cache
def _timer() -> QTimer:
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(_deliver)
    return timer


def _deliver() -> None:
    """Bring what waits to its listeners; one that is gone with its page meanwhile is none."""
    while True:
        try:
            return psygnal.emit_queued()
        except psygnal.EmitLoopError as problem:
            if not isinstance(problem.__cause__, ReferenceError):
                raise


def told(problem: Exception) -> str:
    """Return what the person reads of a failure."""
    if isinstance(problem, TomoTutorError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def wait_for(function: Callable[[], T]) -> T:
    """Run a function in a thread, and return what it returns or raise what it raises. Until then the screen lives, but
    takes no keys and no clicks.
    """
    found: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            found.append(function())
        except BaseException as problem:
            raised.append(problem)

    hear_threads()
    thread = threading.Thread(target=work, name="tomotutor-background")
    loop, timer = QEventLoop(), QTimer()
    timer.timeout.connect(lambda: None if thread.is_alive() else loop.quit())
    thread.start()
    timer.start(_EMIT_MS)
    loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    timer.stop()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]


def breathe() -> None:
    """Let the screen live for a moment, in the middle of long work, without keys and clicks."""
    QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)


class Background:
    """Runs functions in a thread, one at a time. Of those that wait only the newest is run; what the others would have
    found nobody wants any more.

    Qt's own workers (QRunnable) are not used: PySide deletes them while they run, and their results are lost.

    Parameters
    ----------
    found : callable
        Called in the main thread with what a function returned.
    failed : callable
        Called in the main thread with the exception that it raised.
    """

    _ended = psygnal.Signal(object, object)  # what to call, and with what

    def __init__(self, found: Callable[[Any], object], failed: Callable[[Exception], object]) -> None:
        self._found, self._failed = found, failed
        self._waiting: Callable[[], object] | None = None
        self._runs, self._is_open = False, True
        self._ended.connect(self._end, thread="main")
        hear_threads()

    @property
    def runs(self) -> bool:
        """Whether something runs whose result somebody waits for."""
        return self._runs and self._is_open

    def ask(self, function: Callable[..., object], *args: object) -> None:
        """Run `function` as soon as what runs has ended, unless something newer is asked for until then."""
        self._waiting = partial(function, *args)
        if not self._runs:
            self._start()

    def _start(self) -> None:
        function, self._waiting = self._waiting, None
        if function is not None and self._is_open:
            self._runs = True
            threading.Thread(target=self._work, args=(function,), name="tomotutor-background").start()

    def _work(self, function: Callable[[], object]) -> None:
        try:
            result = function()
        except Exception as problem:
            self._ended.emit(self._failed, problem)
        else:
            self._ended.emit(self._found, result)

    def _end(self, tell: Callable[[Any], object], what: object) -> None:
        self._runs = False
        if self._is_open:
            tell(what)
        if not self._runs:  # what was told may have asked for more
            self._start()

    def stop(self) -> None:
        """Run nothing more, and tell of nothing more."""
        self._is_open, self._waiting = False, None
