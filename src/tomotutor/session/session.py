"""Session: what the screen and the command line both drive. Labels are on disk before anything else happens."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.base.progress import Progress, Report, ignore
from tomotutor.data.pool import Pool
from tomotutor.data.sources import Opened, Source
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.results import Answers, PoolMap, PoolScores, Predictions, predictions_from
from tomotutor.session import bulk, rounds
from tomotutor.session.answering import Answering, Fitted
from tomotutor.session.asking import compose, first_order
from tomotutor.session.classes import Classes
from tomotutor.session.core import Core
from tomotutor.session.database import RoundRecord
from tomotutor.session.label_log import NO_ITEM, Entry
from tomotutor.session.model import GiveMask, TrainedModel
from tomotutor.session.queue import Queue
from tomotutor.session.round_folder import read_pool_map, read_pool_scores, write_pool_scores
from tomotutor.session.state import State
from tomotutor.session.status import CurvePoint, ItemView, Phase, Status
from tomotutor.session.training import Training, telling
from tomotutor.session.worker import Worker

if TYPE_CHECKING:
    from tomotutor.learn.estimate import Purity

log = logging.getLogger(__name__)

MOST_EMBEDDED = 20_000  # items that a session looks at when it is made; a larger pool is embedded in idle time


class Session:
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

    labeled = Signal(object)
    queue_changed = Signal()
    status_changed = Signal(object)
    progressed = Signal(object)
    round_finished = Signal(object)
    failed = Signal(str)
    notice = Signal(str)
    answers_changed = Signal(object)
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
        self.folder = Path(folder)
        self.automatic = automatic
        self._core = Core.open(self.folder, write=write, opened=opened)
        try:
            self._queue = Queue(self.state.is_open, [e.item for e in self.state.log.active if e.item != NO_ITEM])
            self.pool_map = self._read_pool_map()
            self._core.lost(rounds.take_scores(self.state, self.folder))
            self._compose_queue()
        except BaseException:
            self._core.database.close()
            raise
        self._training = Training(self._core, keep_core=keep_core)
        self._live = live and write
        self._worker = Worker(
            self._round,
            phase_changed=lambda: self._core.emit(self.status_changed, self.status),
            finished=self._start_if_due,  # labels came while it trained
            failed=lambda text: self._core.emit(self.failed, text),
        )
        self._answering = Answering(
            self._core, self._training, self._answered, is_busy=lambda: self.phase is not Phase.IDLE
        )
        if self._live:
            self._answering.start()

    def _read_pool_map(self) -> PoolMap | None:
        try:
            return read_pool_map(self.folder, len(self.state.ids))
        except TomoTutorError as problem:
            self._core.lost(f"{problem}; without it the items come in random order until the first training")
            return None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- what it is ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What it knows; to look at."""
        return self._core.state

    @property
    def write(self) -> bool:
        """Whether it may be changed."""
        return self._core.write

    @property
    def notices(self) -> list[str]:
        """What was lost, a sentence each."""
        return self._core.notices

    @property
    def pool(self) -> Pool:
        """The items of all inputs."""
        return self._core.pool

    @property
    def denoised(self) -> Pool | None:
        """The same items from denoised tomograms, to look at; None where there are none."""
        return self._core.denoised

    @property
    def ids(self) -> tuple[str, ...]:
        """Item ids, in pool order."""
        return self.state.ids

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; class n of an export is the n-th, from 1."""
        return self.state.classes.names

    @property
    def class_table(self) -> Classes:
        """The classes with their colours and keys."""
        return self.state.classes

    @property
    def recipe(self) -> Recipe:
        """Settings in force."""
        return self._core.recipe

    @property
    def source(self) -> Source:
        """Where the items come from that the session was made with; of a list the session's own copy."""
        return self._core.inputs[0].source_in(self.folder)

    @property
    def inputs(self) -> list[tuple[str, Source, slice]]:
        """All inputs: the prefix of their ids ("" for the first), the source, and which rows of the pool they hold."""
        bounds = zip(self._core.inputs, itertools.pairwise(self.state.start_N.tolist()), strict=True)
        return [(one.prefix, one.source_in(self.folder), slice(*rows)) for one, rows in bounds]

    @property
    def array_file(self) -> Path | None:
        """The NumPy file the items come from, None for other input."""
        first = self._core.inputs[0].source
        return first.file if first.kind == "array" else None

    @property
    def is_segmentation(self) -> bool:
        """Whether a label is a mask."""
        return self.state.labels.task == "segmentation"

    @property
    def phase(self) -> Phase:
        """What the worker does."""
        return self._worker.phase

    @property
    def status(self) -> Status:
        """Where the session stands."""
        with self._core.guard:
            return self.state.status(self._worker.phase)

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """The learning curve so far; the audit figures use all answers known today."""
        with self._core.guard:
            return tuple(self.state.point(record) for record in self.state.rounds)

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """All finished rounds with what traces them."""
        return tuple(self.state.rounds)

    @property
    def held_out(self) -> np.ndarray:
        """Rows set apart as a test set."""
        return np.flatnonzero(self.state.held_out_N)

    def row(self, item_id: str) -> int:
        """Return the pool row of an item id."""
        return self.state.row(item_id)

    def labels(self) -> dict[int, str]:
        """Return the labels given: row to class name, in segmentation to the mask's file; duplicates not repeated."""
        with self._core.guard:
            return self.state.given()

    def mask(self, row: int) -> np.ndarray | None:
        """Return the mask given to an item, (y, x) uint8 with 255 for void; None if it has none."""
        with self._core.guard:
            name = self.state.given().get(int(self.state.twin_N[row])) if self.is_segmentation else None
            return None if name is None else self.state.labels.targets([name])[0]

    def view(self, row: int) -> ItemView:
        """Return an item as the screen shows it."""
        with self._core.guard:
            return self.state.view(row, padded=self.write and bool(self.pool.padded_N[row]))

    # ---- the queue -------------------------------------------------------------------------------------------------

    @property
    def current(self) -> ItemView | None:
        """The item in front of the annotator; None when nothing is left to ask."""
        with self._core.guard:
            return None if self._queue.current is None else self.view(self._queue.current)

    def upcoming(self, n: int) -> list[ItemView]:
        """Return the next n items of the queue after the current one."""
        with self._core.guard:
            return [self.view(row) for row in self._queue.upcoming(n)]

    def back(self) -> None:
        """Show the item before the current one again, to look or to answer anew."""
        with self._core.guard:
            self._queue.back()
        self._tell_queue()

    def show(self, item_id: str) -> None:
        """Show an item out of turn; the current one comes after it."""
        with self._core.guard:
            self._queue.show(self.state.root(item_id))
        self._tell_queue()

    def put_back(self) -> None:
        """Put the item in front back among those that wait: nobody looks at it, and the next round ranks it anew."""
        with self._core.guard:
            self._queue.clear()

    def _compose_queue(self) -> None:
        self._queue.refill(compose(self.state, first_order(self.state, self.pool_map), self._queue.current))

    def _tell_queue(self) -> None:
        self._core.emit(self.queue_changed)

    # ---- labels: committed first -----------------------------------------------------------------------------------

    def label(self, item_id: str, value: str | np.ndarray, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Give an item its label: a class or, in segmentation, a mask. When this returns, the label is on disk.

        A mask is (y, x) class numbers from 0, with 255 for void.
        """
        with self._core.guard:
            self._core.check_writable()
            label = self.state.labels.encode(self.state.root(item_id), value, f"item {item_id}")
        return self._answer(item_id, "label", label, annotator, origin)

    def unsure(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Say that an item cannot be told; it is not asked again and not trained on."""
        return self._answer(item_id, "unsure", None, annotator, origin)

    def skip(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Go on to the next item; one without an answer comes again at the end of the queue, an answer stays."""
        with self._core.guard:
            row = self.state.root(item_id)
            if self.state.is_open(row):
                return self._answer(item_id, "skip", None, annotator, origin)
            if self._queue.current == row:
                self._queue.advance()
        self._tell_queue()
        return self.view(row)

    def _answer(self, item_id: str, action: str, label: str | None, annotator: str, origin: str) -> ItemView:
        with self._core.guard:
            self._core.check_writable()
            row = self.state.root(item_id)
            self._core.commit([self.state.entry(rounds.now(), row, action, label, annotator, origin)])
            if action == "skip":
                self._queue.postpone(row)
            elif self._queue.current == row:
                self._queue.advance()
            view = self.view(row)
        self._tell(view)
        self._start_if_due()
        return view

    def _tell(self, *views: ItemView) -> None:
        if self._live:
            self._answering.ask()
        for view in views:
            self._core.emit(self.labeled, view)
        self._tell_queue()
        self._core.emit(self.status_changed, self.status)

    def _start_if_due(self) -> None:
        if self.automatic and self.is_due():
            self.start_round()

    def import_labels(self, labels: Iterable[tuple[str, Any, str]], *, origin: str = "import") -> int:
        """Write many labels, each (item id, class or mask, annotator), in one transaction: all of them or none."""
        with self._core.guard:
            self._core.check_writable()
            at, entries = rounds.now(), []
            for item_id, value, annotator in labels:
                row = self.state.root(item_id)
                label = self.state.labels.encode(row, value, f"item {item_id}")
                entries.append(self.state.entry(at, row, "label", label, annotator, origin))
            self._core.commit(entries)
            self._pass_answered()
        self._tell()
        return len(entries)

    def _pass_answered(self) -> None:
        if self._queue.current is not None and not self.state.is_open(self._queue.current):
            self._queue.advance()

    def undo(self) -> ItemView | None:
        """Take back the last step that stands and show its item again; None if there is none. Imports stay."""
        with self._core.guard:
            step = self.state.log.last_step()
        return self._turn("undo", step)

    def redo(self) -> ItemView | None:
        """Bring back the step that was undone last; None if there is none, or if something was answered since."""
        with self._core.guard:
            step = self.state.log.undone[-1] if self.state.log.undone else []
        return self._turn("redo", step)

    def _turn(self, action: str, step: Sequence[Entry]) -> ItemView | None:
        if not step:
            return None
        first, view = step[0], None
        with self._core.guard:
            self._core.check_writable()
            self._core.commit(
                [
                    Entry(
                        0,
                        rounds.now(),
                        first.item,
                        action,
                        origin=first.origin,
                        round=self.state.number,
                        undoes=first.of_step,
                    )
                ]
            )
            if first.item == NO_ITEM:
                self._classes_changed()
            else:
                if action == "undo":
                    self._queue.show(first.item)
                else:
                    self._pass_answered()
                view = self.view(first.item)
        self._tell(*([view] if view else []))
        return view

    def change_classes(self, change: str, *, annotator: str = "") -> None:
        """Change the classes, see `tomotutor.session.classes` for the changes there are; it is undone as any answer."""
        with self._core.guard:
            self._core.check_writable()
            if self.is_segmentation:
                raise TomoTutorError(f"{self.folder}: the classes of a session of masks stay as they are")
            entry = Entry(0, rounds.now(), NO_ITEM, "class", change, annotator, round=self.state.number)
            self._core.commit([entry])
            self._classes_changed()
        self._tell()

    def _classes_changed(self) -> None:
        self.state.next = None  # it speaks of the classes of before
        self._core.lost(rounds.take_scores(self.state, self.folder))
        self._compose_queue()

    # ---- many at once ----------------------------------------------------------------------------------------------

    def label_many(
        self, rows: Iterable[int], class_name: str, *, origin: str = "selection", annotator: str = ""
    ) -> int:
        """Give many items a class, in one transaction and one step of undo; return how many.

        Items of which nothing may be told (check particles, items that are asked again) are passed over. One in twenty
        of a step, one at least, is asked again singly and blind, and that single label stands.

        Parameters
        ----------
        rows : iterable of int
            Pool rows.
        class_name : str
            The class.
        origin : {"selection", "group", "page", "similar", "accept"}
            Through what they were chosen.
        annotator : str
            Who said so.
        """
        return self._label_each(((row, class_name) for row in rows), origin, annotator)

    def accept(self, rows: Iterable[int], *, annotator: str = "", min_confidence: float = 0.0) -> int:
        """Take the predictions of items without a label for their labels; return how many. As `label_many`."""
        answers = self.answers
        if answers is None:
            raise TomoTutorError(f"{self.folder}: nothing is predicted yet; label items of two classes first")
        chosen = [
            (row, self.classes[answers.class_N[row]])
            for row in rows
            if answers.class_N[row] >= 0 and not answers.labeled_N[row] and answers.confidence_N[row] >= min_confidence
        ]
        return self._label_each(chosen, "accept", annotator)

    def _label_each(self, labels: Iterable[tuple[int, str]], origin: str, annotator: str) -> int:
        with self._core.guard:
            self._core.check_writable()
            if self.is_segmentation or origin not in bulk.ORIGINS:
                raise TomoTutorError(
                    f"{self.folder}: many items at once take a class, and come from {', '.join(bulk.ORIGINS)}"
                )
            state, at = self.state, rounds.now()
            passed = state.hidden() | set(self.held_out.tolist()) | {one.row for one in state.rechecks}
            wanted = {int(state.twin_N[row]): name for row, name in labels if row not in passed}
            entries = [
                state.entry(at, row, "label", state.labels.encode(row, name, state.ids[row]), annotator, origin)
                for row, name in wanted.items()
            ]
            if entries:
                self._core.commit(entries, together=True)
                self._pass_answered()
                self._compose_queue()
        if entries:
            self._tell()
            self._start_if_due()
        return len(entries)

    def bulk_figures(self) -> list[bulk.StepFigure]:
        """Return how each bulk step stood up to being asked again."""
        with self._core.guard:
            return bulk.figures(self.state.log, self.state.rechecks, self.state.name_of)

    def check_class(self, name: str, threshold: float = 0.0, n: int = 20) -> int:
        """Ask n random predicted members of a class, at least so confident, singly and blind; return how many.

        What the answers say of the class is `class_purity`.
        """
        answers, number = self.answers, self.state.classes.number(name)
        if answers is None:
            raise TomoTutorError(f"{self.folder}: nothing is predicted yet; label items of two classes first")
        with self._core.guard:
            self._core.check_writable()
            state = self.state
            seq = state.log.active[-1].seq if state.log.active else 0
            members = (answers.class_N == number) & ~answers.labeled_N & (answers.confidence_N >= threshold)
            rows = np.intersect1d(np.flatnonzero(members), state.eligible())
            rng = np.random.default_rng([self.recipe.seed, 0xC1A5, seq])
            drawn = rng.permutation(rows)[:n]
            check = bulk.ClassCheck(name, threshold, tuple(drawn.tolist()), seq)
            self._core.keep_class_checks([*state.class_checks, check])
            self._compose_queue()
        self._tell_queue()
        return len(drawn)

    def class_purity(self, name: str) -> Purity:
        """Return the precision of the predictions of a class, from its members that were asked blind."""
        from tomotutor.learn.estimate import purity

        with self._core.guard:
            state, said = self.state, list[bool]()
            for check in state.class_checks:
                if state.classes.current(check.name, check.seq) == name:
                    said += [state.name_of(entry) == name for entry in check.answers(state.log).values()]
        return purity(sum(said), len(said))

    # ---- answers between rounds ------------------------------------------------------------------------------------

    @property
    def answers(self) -> Answers | None:
        """The newest answer for every item; None before there is a head. Hidden items have class −1."""
        fitted = self._answering.fitted
        return fitted.answers if fitted else None

    @property
    def answering(self) -> Answering:
        """What keeps the answers: groups, neighbours, doubts, estimate, advice."""
        return self._answering

    def refresh_answers(self) -> Answers | None:
        """Renew answers and order of asking now; None without an embedding, or labels in two classes."""
        fitted = self._answering.refresh()
        return fitted.answers if fitted else None

    def _answered(self, fitted: Fitted, rows: np.ndarray) -> None:
        with self._core.guard:
            if fitted.next is not None:
                self.state.next = fitted.next
                self._compose_queue()
        self._core.emit(self.answers_changed, rows)
        if fitted.next is not None:
            self._tell_queue()

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
            self._answering.forget_embedding()
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
            embedding = self._answering.embed(report, half_turns=False)
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
                self._answering.after_round(tell)
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
            self._answering.forget_embedding()
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
        if not wait and self.phase is not Phase.IDLE:
            threading.Thread(target=self.close, name="tomotutor-closing").start()
            return
        self._worker.wait()
        self._answering.stop()
        self._core.is_closed = True
        self._core.database.close()
        self._core.emit(self.closed)

    # ---- the answer ------------------------------------------------------------------------------------------------

    @property
    def model(self) -> TrainedModel:
        """The model in use."""
        return self._training.model()

    def predictions(self, report: Report | None = None) -> Predictions:
        """Return the answer for every item: labels as given, the rest as the model in use predicts; computed once a
        round where the session is open for writing.
        """
        model = self.model
        scores = read_pool_scores(self.folder, model.record.number, len(self.ids))
        if scores is None:
            scores = model.score(self.pool, report, **self._training.how())
            if self.write:
                write_pool_scores(self.folder, model.record.number, scores)
        return self._with_labels(model, scores)

    def predict_masks(self, each: GiveMask, report: Report | None = None) -> Predictions:
        """Give the final mask of every item to `each` (row, (y, x) class numbers): as labeled, or as the model in use
        predicts.

        The maps of a whole pool are too large to keep, so they are predicted anew by each call.
        """

        def tell(row: int, mask: np.ndarray) -> None:
            given = self.mask(row)
            each(row, mask if given is None else given)

        model = self.model
        scores = model.score_masks(self.pool, tell, report, **self._training.how())
        if self.write:
            write_pool_scores(self.folder, model.record.number, scores)
        return self._with_labels(model, scores)

    def _with_labels(self, model: TrainedModel, scores: PoolScores) -> Predictions:
        with self._core.guard:
            today = model.today(scores)
            return predictions_from(today, self.state.labels.numbers(self.state.given(), self.state.twin_N, today))
