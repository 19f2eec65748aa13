"""Worker: the one thread that trains.

States::

    IDLE --run() or start()--> TRAINING --ends, fails--> IDLE
                                  '--cancel()--> CANCELLING --next mini-batch--> IDLE
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.session.status import Phase

if TYPE_CHECKING:
    from tomotutor.base.progress import Progress, Report

log = logging.getLogger(__name__)


class Worker:
    """Runs `work`, here or in a thread, one at a time.

    Parameters
    ----------
    work : callable
        Does a round; is given a report that raises CancelledError once `cancel` was called.
    phase_changed : callable
        Told after each change of `phase`.
    finished : callable
        Told after a round in the background ended well.
    failed : callable
        Told one sentence when a round in the background fails.
    """

    def __init__(
        self,
        work: Callable[[Report], None],
        *,
        phase_changed: Callable[[], None],
        finished: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._work = work
        self._finished = finished
        self._phase_changed = phase_changed
        self._failed = failed
        self._guard = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.phase = Phase.IDLE

    def run(self, report: Report | None = None) -> None:
        """Work in this thread.

        Raises
        ------
        TomoTutorError
            Another round runs, or this one failed.
        CancelledError
            `cancel()` was called.
        """
        if not self._begin():
            raise TomoTutorError("a round is running already; wait for it or cancel it")
        self._do(report)

    def start(self) -> bool:
        """Work in the background; False if a round runs already."""
        if not self._begin():
            return False
        self._thread = threading.Thread(target=self._do_and_tell, name="tomotutor-trainer", daemon=True)
        self._thread.start()
        return True

    def cancel(self) -> None:
        """Stop at the next mini-batch; returns at once."""
        with self._guard:
            if self.phase is not Phase.TRAINING:
                return
            self.phase = Phase.CANCELLING
            self._cancel.set()
        self._phase_changed()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the background thread; False if it still runs after `timeout_s`."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def refuse(self) -> None:
        """Cancel, and start nothing any more; returns at once."""
        with self._guard:
            self._stopped = True
        self.cancel()

    def _begin(self) -> bool:
        with self._guard:
            if self.phase is not Phase.IDLE or self._stopped:
                return False
            self.phase = Phase.TRAINING
            self._cancel.clear()
        self._phase_changed()
        return True

    def _do(self, report: Report | None) -> None:
        def check(progress: Progress) -> None:
            if self._cancel.is_set():
                raise CancelledError
            if report:
                report(progress)

        try:
            self._work(check)
        finally:
            self.phase = Phase.IDLE
            self._phase_changed()

    def _do_and_tell(self) -> None:
        try:
            self._do(None)
        except CancelledError:
            log.info("round cancelled")
        except TomoTutorError as problem:
            self._failed(str(problem))
        except Exception as problem:  # a bug of ours must not take the screen down with it
            log.exception("the round failed")
            self._failed(
                f"the round failed unexpectedly ({type(problem).__name__}: {problem}); the previous model stays"
            )
        else:
            self._finished()
