"""Work off the main thread, whose result is brought back to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superqt.utils import create_worker


class Background:
    """Runs one function at a time; where it is asked again meanwhile, it runs once more when the first has ended.

    Parameters
    ----------
    function : callable
        Called in a thread.
    returned : callable
        Called in the main thread with its result.
    failed : callable
        Called in the main thread with what it raised.
    """

    def __init__(
        self, function: Callable[[], Any], returned: Callable[[Any], object], failed: Callable[[Exception], object]
    ) -> None:
        self._function, self._returned, self._failed = function, returned, failed
        self._runs, self._again, self._ended = False, False, False

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self._runs

    def ask(self) -> None:
        """Run it soon."""
        if self._ended:
            return
        if self._runs:
            self._again = True
            return
        self._runs, self._again = True, False
        worker = create_worker(self._function, _ignore_errors=True)
        worker.returned.connect(lambda result: self._end(self._returned, result))
        worker.errored.connect(lambda problem: self._end(self._failed, problem))
        worker.start()

    def stop(self) -> None:
        """Tell nobody from here on."""
        self._ended = True

    def _end(self, told: Callable[[Any], object], result: Any) -> None:
        self._runs = False
        if self._ended:
            return
        told(result)
        if self._again:
            self.ask()
