"""Session: what the screen and the command line both drive. Labels are on disk before anything else happens."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from typing_extensions import override

from tomotutor.base.errors import CancelledError
from tomotutor.base.progress import Progress, Report, ignore
from tomotutor.data.sources import Opened, Source
from tomotutor.learn.recipe import Recipe
from tomotutor.session import rounds
from tomotutor.session.labeling import Labeling
from tomotutor.session.status import CurvePoint, Phase, Status
from tomotutor.session.training import telling
from tomotutor.session.worker import Worker

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

_SOON_S = 0.1  # a person does not wait longer for the answers' threads to end
MOST_EMBEDDED = 20_000  # items that a session looks at when it is made; a larger pool is embedded in idle time


class Session(Labeling):
    """A pool, its labels, its models and its queue; a context manager that closes itself.

    Parameters
    ----------
    folder : Path
        A folder that `create_session` made.
    write : bool
        False only looks: no lock is taken, nothing on disk is changed, and the input is opened on first use.
    keep_core : bool
        Leave one CPU core to the screen while training.
    automatic : bool
        Start a round by itself whenever one is due.
    live : bool
        Renew the answers, and the order of asking, in the background after each label.
    opened : Opened or None
        The input of a session that was just made, as `create_session` opened it.

    Notes
    -----
    Signals come from the thread in which the thing happened: `labeled(ItemView)`, `queue_changed()`,
    `status_changed(Status)`, `progressed(Progress)`, `round_finished(CurvePoint)`, `failed(str)`, `notice(str)`,
    `answers_changed(rows)`, `closed()`. Receivers that raise are logged, and change nothing. `notices` are the
    sentences about what was lost.
    """

    progressed = Signal(object)
    round_finished = Signal(object)
    failed = Signal(str)
    notice = Signal(str)
    closed = Signal()

    def __init__(
        self,
        folder: Path | str,
        *,
        write: bool = True,
        keep_core: bool = False,
        automatic: bool = False,
        live: bool = False,
        opened: Opened | None = None,
    ) -> None:
        super().__init__(folder, write=write, keep_core=keep_core, live=live, opened=opened)
        self.automatic = automatic
        self._worker = Worker(
            self._round,
            phase_changed=lambda: self._core.emit(self.status_changed, self.status),
            finished=self._start_if_due,  # labels came while it trained
            failed=lambda text: self._core.emit(self.failed, text),
        )
        if self._live:
            self._answering.start()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- what it is ------------------------------------------------------------------------------------------------

    @override
    def _is_busy(self) -> bool:
        return self.phase is not Phase.IDLE

    @override
    def _start_if_due(self) -> None:
        if self.automatic and self.is_due():
            self.start_round()

    @property
    def phase(self) -> Phase:
        """What the worker does."""
        return self._worker.phase

    @property
    @override
    def status(self) -> Status:
        """Where the session stands."""
        with self._core.guard:
            return self.state.status(self._worker.phase)

    # ---- settings and items ----------------------------------------------------------------------------------------

    def set_recipe(self, recipe: Recipe) -> None:
        """Change settings; seed and share of audit items may only change before the first answer."""
        with self._core.guard:
            if recipe == self.recipe:
                return
            self._core.set_recipe(recipe)
            if not self.state.log.active:
                self._queue.clear()
            self._compose_queue()
        self._tell_queue()

    def add_items(self, source: Source, report: Report = ignore) -> tuple[int, int]:
        """Add the items of another input, in the midst of labeling; they are prepared as the first ones, and every new
        one is read once.

        Parameters
        ----------
        source : Source
            A particle list with its tomograms, a stack, folder or array. Its items are called `<file>/<id>`.
        report : callable
            Progress of reading the items.

        Returns
        -------
        tuple of int
            Items added, and how many of them are exact duplicates, which share their labels with those that were there.

        Raises
        ------
        TomoTutorError
            The input is broken, or its items are of another shape, voxel size or contrast; the session stays as it was.
        """
        added = self._core.add_items(source, report)
        with self._core.guard:
            self._answering.pool_embedding.forget()
            self.state.next = None
            self._core.lost(rounds.take_scores(self.state, self.folder))
            self._compose_queue()
        self._tell()
        return added

    def hold_out(self, rows: np.ndarray) -> None:
        """Set items apart as a test set, with their exact duplicates, before the first label."""
        with self._core.guard:
            self._core.hold_out(rows)
            self._queue.clear()
            self._compose_queue()
        self._tell_queue()

    def map_pool(self, report: Report = ignore) -> None:
        """Map the pool with the pretrained networks: groups of look-alikes, and the queue in the order of what is
        typical of them.

        It is done once, and kept; a session that starts from scratch has nothing to look with, and is left as it is.
        """
        pretrained = self.recipe.network.start == "pretrained"
        if not pretrained or self.pool_map or self.state.rounds or not len(self.state.eligible()):
            return
        self._core.check_writable()
        embedding = None
        if self.recipe.query.between != "round" and len(self.ids) <= MOST_EMBEDDED:
            embedding = self._answering.pool_embedding.embed(report, half_turns=False)
        found = self._training.map_pool(report, embedding.teacher_ND if embedding else None)
        with self._core.guard:
            self.pool_map = found
            if not self.state.log.active:
                self._queue.clear()
            self._compose_queue()
        self._tell_queue()

    # ---- rounds ----------------------------------------------------------------------------------------------------

    def is_trainable(self) -> bool:
        """Whether the labels are enough for a training (without check items, which are never trained on)."""
        with self._core.guard:
            return self.state.can_train()

    def is_due(self) -> bool:
        """Whether enough labels have come since the last training, and one is possible now."""
        with self._core.guard:
            return self.state.is_due(self._worker.phase)

    def run_round(self, report: Report | None = None) -> CurvePoint:
        """Train, score and rank now, in this thread.

        Raises
        ------
        TomoTutorError
            The round failed; the previous model stays.
        CancelledError
            `cancel()` was called.
        """
        self._core.check_writable()
        self._worker.run(report)
        return self.curve[-1]

    def start_round(self) -> bool:
        """Train, score and rank in the background; False if a round runs already or is not possible yet."""
        return self.write and self.is_trainable() and self._worker.start()

    def cancel(self) -> None:
        """Stop the running round at its next mini-batch; returns at once."""
        self._worker.cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the background round; False if it still runs after `timeout_s`."""
        return self._worker.wait(timeout_s)

    def _round(self, report: Report) -> None:
        def progressed(progress: Progress) -> None:
            self._core.emit(self.progressed, progress)

        def adopted() -> None:
            self.state.next = None
            self._compose_queue()

        tell = telling(report, progressed)
        point, notice = self._training.round(tell, adopted)
        if self.recipe.query.between != "round":
            try:  # the round is in use already; the old embedding and its head stay until the new one is complete
                self._answering.pool_embedding.after_round(tell)
                self._answering.refresh()
            except CancelledError:
                log.info("the pool was not embedded anew: cancelled")
        if notice:
            log.warning(notice)
            self._core.emit(self.notice, notice)
        self._tell_queue()
        self._core.emit(self.round_finished, point)

    def use_round(self, number: int) -> None:
        """Go back to the model of an earlier round, until the next training."""
        with self._core.guard:
            self._training.use_round(number)
            self._answering.pool_embedding.forget()
            self.state.next = None
            self._compose_queue()
        self._tell()

    def add_metrics(self, number: int, metrics: dict[str, Any]) -> None:
        """Keep further measurements of a round (accuracy on a test set, say) in its record."""
        self._core.check_writable()
        self._core.database.update_metrics(number, metrics)
        self.state.rounds = self._core.database.rounds()

    def close(self, *, wait: bool = True) -> None:
        """Stop a running round, wait for it, and give the session free.

        With `wait=False` it returns at once: the round is told to stop, and the session is free when it has; `closed`
        tells when. The process lives until then.
        """
        self._worker.refuse()
        if not wait and (self.phase is not Phase.IDLE or not self._answering.stop(_SOON_S)):
            threading.Thread(target=self.close, name="tomotutor-closing").start()
            return
        self._worker.wait()
        self._answering.stop()
        self._core.is_closed = True
        self._core.database.close()
        self._core.emit(self.closed)
