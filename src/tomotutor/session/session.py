"""Session: what the screen and the command line both drive. Labels are on disk before anything else happens."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal, SignalInstance

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Progress, Report, ignore
from tomotutor.data.pool import Pool, concat, find_twins
from tomotutor.data.sources import Opened, Source
from tomotutor.learn import start
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.results import PoolScores, Predictions, predictions_from
from tomotutor.session import inputs, rounds
from tomotutor.session.asking import compose
from tomotutor.session.classes import Classes
from tomotutor.session.database import Database, RoundRecord
from tomotutor.session.label_log import NO_ITEM, Entry, replay
from tomotutor.session.labels import labels_of
from tomotutor.session.model import GiveMask, TrainedModel
from tomotutor.session.queue import Queue
from tomotutor.session.relocate import gather_inputs
from tomotutor.session.round_folder import read_pool_map, read_pool_scores, write_pool_map, write_pool_scores
from tomotutor.session.session_file import SessionFile
from tomotutor.session.state import State
from tomotutor.session.status import CurvePoint, ItemView, Phase, Status
from tomotutor.session.worker import Worker

if TYPE_CHECKING:  # torch takes seconds to import, and a person should see the screen first
    from tomotutor.learn.compute import Compute

log = logging.getLogger(__name__)


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
    opened : Opened or None
        The input of a session that was just made, as `create_session` opened it.

    Notes
    -----
    Signals come from the thread in which the thing happened: `labeled(ItemView)`, `queue_changed()`,
    `status_changed(Status)`, `progressed(Progress)`, `round_finished(CurvePoint)`, `failed(str)`, `notice(str)`,
    `closed()`.
    Receivers that raise are logged, and change nothing. `notices` are the sentences about what was lost on opening.
    """

    labeled = Signal(object)
    queue_changed = Signal()
    status_changed = Signal(object)
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
        opened: Opened | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.automatic = automatic
        self.write = write
        self.notices: list[str] = []
        self._keep_core = keep_core
        self._closed = False
        self._guard = threading.RLock()
        self._file = SessionFile.read(self.folder)
        self._database = Database(self.folder, write=write)
        try:
            self._inputs = inputs.read_inputs(self._database, self._file.source)
            inputs.check_lists(self._inputs, self.folder)
            if write:
                self._file = gather_inputs(self.folder, self._file, self._database)
            if opened:
                self.__dict__["_opened"] = [opened]
            self._state = self._read_state()
            if write:
                _ = self.pool
            answered = [entry.item for entry in self._state.log.active if entry.item != NO_ITEM]
            self._queue = Queue(self._state.is_open, answered)
            self.pool_map = self._read_pool_map()
            self._take_scores()
        except BaseException:
            self._database.close()
            raise
        self._worker = Worker(
            self._round,
            phase_changed=lambda: self._emit(self.status_changed, self.status),
            finished=self._start_if_due,  # labels came while it trained
            failed=lambda text: self._emit(self.failed, text),
        )

    def _read_state(self) -> State:
        ids, twin_N, held_out_N = self._database.items()
        records = self._database.rounds()
        log = replay(self._database.entries())
        shape = self.pool.shape if self._file.recipe.task == "segmentation" else ()
        return State(
            ids,
            twin_N,
            held_out_N,
            inputs.starts(ids, self._inputs),
            self._file.recipe,
            self._file.classes,
            labels_of(self._file.recipe.task, self.folder, shape, Classes(self._file.classes)),
            log,
            records,
            self._database.audits(),
            rounds.in_use(self._database, records),
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- what it is ------------------------------------------------------------------------------------------------

    @cached_property
    def _opened(self) -> list[Opened]:
        return inputs.open_all(self._inputs, self.folder)

    @cached_property
    def pool(self) -> Pool:
        """The items of all inputs."""
        pool = inputs.pool_of(self._opened, self._database.items()[0])
        database = self._database if self.write else None
        self._inputs = inputs.recognised(self._inputs, self._opened, self.folder, database)
        return pool

    @cached_property
    def denoised(self) -> Pool | None:
        """The same items from denoised tomograms, to look at; None where there are none."""
        return inputs.denoised_of(self._opened)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; class n of an export is the n-th, from 1."""
        return self._state.classes.names

    @property
    def class_table(self) -> Classes:
        """The classes with their colours and keys."""
        return self._state.classes

    @property
    def recipe(self) -> Recipe:
        """Settings in force."""
        return self._file.recipe

    @property
    def ids(self) -> tuple[str, ...]:
        """Item ids, in pool order."""
        return self._state.ids

    @property
    def source(self) -> Source:
        """Where the items come from that the session was made with; of a list the session's own copy."""
        return self._inputs[0].source_in(self.folder)

    @property
    def inputs(self) -> list[tuple[str, Source, slice]]:
        """All inputs: the prefix of their ids ("" for the first), the source, and which rows of the pool they hold."""
        bounds = zip(self._inputs, itertools.pairwise(self._state.start_N.tolist()), strict=True)
        return [(one.prefix, one.source_in(self.folder), slice(*rows)) for one, rows in bounds]

    @property
    def array_file(self) -> Path | None:
        """The NumPy file the items come from, None for other input."""
        first = self._inputs[0].source
        return first.file if first.kind == "array" else None

    @property
    def is_segmentation(self) -> bool:
        """Whether a label is a mask."""
        return self._state.labels.task == "segmentation"

    @property
    def needed(self) -> str:
        """What a training needs at least, in words."""
        return self._state.labels.needed

    @property
    def phase(self) -> Phase:
        """What the worker does."""
        return self._worker.phase

    @property
    def status(self) -> Status:
        """Where the session stands."""
        with self._guard:
            return self._state.status(self._worker.phase)

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """The learning curve so far; the audit figures use all answers known today."""
        with self._guard:
            return tuple(self._state.point(record) for record in self._state.rounds)

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """All finished rounds with what traces them."""
        return tuple(self._state.rounds)

    @property
    def held_out(self) -> np.ndarray:
        """Rows set apart as a test set."""
        return np.flatnonzero(self._state.held_out_N)

    @property
    def audit_kind(self) -> dict[int, str]:
        """Row and kind ("check" or "train") of each audit item."""
        return self._state.audit_kind

    def row(self, item_id: str) -> int:
        """Return the pool row of an item id."""
        return self._state.row(item_id)

    def labels(self) -> dict[int, str]:
        """Return the labels given: row to class name, in segmentation to the mask's file; duplicates not repeated."""
        with self._guard:
            return self._state.given()

    def mask(self, row: int) -> np.ndarray | None:
        """Return the mask given to an item, (y, x) uint8 with 255 for void; None if it has none."""
        with self._guard:
            name = self._state.given().get(int(self._state.twin_N[row])) if self.is_segmentation else None
            return None if name is None else self._state.labels.targets([name])[0]

    def view(self, row: int) -> ItemView:
        """Return an item as the screen shows it."""
        with self._guard:
            return self._state.view(row, padded=self.write and bool(self.pool.padded_N[row]))

    # ---- the queue -------------------------------------------------------------------------------------------------

    @property
    def current(self) -> ItemView | None:
        """The item in front of the annotator; None when nothing is left to ask."""
        with self._guard:
            return None if self._queue.current is None else self.view(self._queue.current)

    def upcoming(self, n: int) -> list[ItemView]:
        """Return the next n items of the queue after the current one."""
        with self._guard:
            return [self.view(row) for row in self._queue.upcoming(n)]

    def back(self) -> None:
        """Show the item before the current one again, to look or to answer anew."""
        with self._guard:
            self._queue.back()
        self._emit(self.queue_changed)

    def show(self, item_id: str) -> None:
        """Show an item out of turn; the current one comes after it."""
        with self._guard:
            self._queue.show(self._state.root(item_id))
        self._emit(self.queue_changed)

    def put_back(self) -> None:
        """Put the item in front back among those that wait: nobody looks at it, and the next round ranks it anew."""
        with self._guard:
            self._queue.clear()

    def _compose_queue(self) -> None:
        """Put the queue in the order of the model in use or, before there is one, of the groups of look-alikes."""
        ranked: Sequence[int] = ()
        if self._state.scores is not None:
            ranked = self._state.scores.queue_rows.tolist()
        elif not self._state.number and self.pool_map and self.recipe.query.cold_start == "typical":
            ranked = self.pool_map.order.tolist()
        self._queue.refill(compose(self._state, ranked, self._queue.current))

    def _take_scores(self) -> None:
        lost = rounds.take_scores(self._state, self.folder)
        if lost:
            log.warning(lost)
            self.notices.append(lost)
        self._compose_queue()

    # ---- labels: committed first -----------------------------------------------------------------------------------

    def label(self, item_id: str, value: str | np.ndarray, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Give an item its label: a class or, in segmentation, a mask. When this returns, the label is on disk.

        A mask is (y, x) class numbers from 0, with 255 for void.
        """
        with self._guard:
            self._check_writable()
            label = self._state.labels.encode(self._state.root(item_id), value, f"item {item_id}")
        return self._answer(item_id, "label", label, annotator, origin)

    def unsure(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Say that an item cannot be told; it is not asked again and not trained on."""
        return self._answer(item_id, "unsure", None, annotator, origin)

    def skip(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Go on to the next item; one without an answer comes again at the end of the queue, an answer stays."""
        row = self._state.root(item_id)
        with self._guard:
            is_open = self._state.is_open(row)
            if not is_open and self._queue.current == row:
                self._queue.advance()
        if is_open:
            return self._answer(item_id, "skip", None, annotator, origin)
        self._emit(self.queue_changed)
        return self.view(row)

    def _answer(self, item_id: str, action: str, label: str | None, annotator: str, origin: str) -> ItemView:
        with self._guard:
            self._check_writable()
            row = self._state.root(item_id)
            self._commit([self._state.entry(rounds.now(), row, action, label, annotator, origin)])
            if action == "skip":
                self._queue.postpone(row)
            elif self._queue.current == row:
                self._queue.advance()
            view = self.view(row)
        self._tell(view)
        self._start_if_due()
        return view

    def _commit(self, entries: Sequence[Entry], *, together: bool = False) -> list[Entry]:
        """Put entries on disk, then into the state; return those whose items they change."""
        return self._state.apply(self._database.append(entries, together=together))

    def _tell(self, *views: ItemView) -> None:
        for view in views:
            self._emit(self.labeled, view)
        self._emit(self.queue_changed)
        self._emit(self.status_changed, self.status)

    def _start_if_due(self) -> None:
        if self.automatic and self.is_due():
            self.start_round()

    def import_labels(self, labels: Iterable[tuple[str, Any, str]], *, origin: str = "import") -> int:
        """Write many labels, each (item id, class or mask, annotator), in one transaction: all of them or none."""
        with self._guard:
            self._check_writable()
            at, entries = rounds.now(), []
            for item_id, value, annotator in labels:
                row = self._state.root(item_id)
                label = self._state.labels.encode(row, value, f"item {item_id}")
                entries.append(self._state.entry(at, row, "label", label, annotator, origin))
            self._commit(entries)
            if self._queue.current is not None and not self._state.is_open(self._queue.current):
                self._queue.advance()
        self._tell()
        return len(entries)

    def undo(self) -> ItemView | None:
        """Take back the last step that stands and show its item again; None if there is none. Imports stay."""
        with self._guard:
            step = self._state.log.last_step()
        return self._turn("undo", step)

    def redo(self) -> ItemView | None:
        """Bring back the step that was undone last; None if there is none, or if something was answered since."""
        with self._guard:
            step = self._state.log.undone[-1] if self._state.log.undone else []
        return self._turn("redo", step)

    def _turn(self, action: str, step: Sequence[Entry]) -> ItemView | None:
        if not step:
            return None
        first = step[0]
        with self._guard:
            self._check_writable()
            entry = Entry(
                0, rounds.now(), first.item, action, origin=first.origin, round=self._state.number, undoes=first.of_step
            )
            self._commit([entry])
            if first.item == NO_ITEM:
                self._take_scores()
                view = None
            else:
                if action == "undo":
                    self._queue.show(first.item)
                elif self._queue.current == first.item:
                    self._queue.advance()
                view = self.view(first.item)
        self._tell(*([view] if view else []))
        return view

    def change_classes(self, change: str, *, annotator: str = "") -> None:
        """Change the classes, see `tomotutor.session.classes` for the changes there are; it is undone as any answer."""
        with self._guard:
            self._check_writable()
            if self.is_segmentation:
                raise TomoTutorError(f"{self.folder}: the classes of a session of masks stay as they are")
            self._commit([Entry(0, rounds.now(), NO_ITEM, "class", change, annotator, round=self._state.number)])
            self._take_scores()
        self._tell()

    # ---- settings --------------------------------------------------------------------------------------------------

    def set_recipe(self, recipe: Recipe) -> None:
        """Change settings; seed and share of audit items may only change before the first answer."""
        with self._guard:
            if recipe == self.recipe:
                return
            self._check_writable()
            self._check_recipe(recipe)
            changed = self._file.with_recipe(recipe)
            changed.write(self.folder)
            self._file, self._state.recipe = changed, recipe
            self._state.items_changed()
            if not self._state.log.active:
                self._queue.clear()
            self._compose_queue()
        self._emit(self.queue_changed)

    def _check_recipe(self, recipe: Recipe) -> None:
        for name, text in (("seed", "seed"), ("audit_share", "share of audit items")):
            before = self.recipe.flat()[name]
            if recipe.flat()[name] != before and self._state.log.active:
                raise TomoTutorError(
                    f"{self.folder}: the {text} ({before}) cannot change after the first label; make a new session"
                )
        if recipe.network.start == "pretrained" and not (self.folder / start.FOLDER).is_dir():
            raise TomoTutorError(
                f"{self.folder}: made to start from scratch; make a new session with --start pretrained"
            )
        if recipe.task != self.recipe.task:
            raise TomoTutorError(f"{self.folder}: made for {self.recipe.task}; make a new session for {recipe.task}")

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
        self._check_writable()
        if self.is_segmentation:
            raise TomoTutorError(f"{self.folder}: items cannot be added to a session of masks; make a new one")
        new, opened = inputs.open_new(source, self._inputs[0].source, [one.prefix for one in self._inputs])
        joined = concat([self.pool, opened.pool])  # it must fit before anything is copied
        inputs.copy_input(new, self.folder)
        new = new.recognised(opened, self.folder)
        twin_N = find_twins(joined, report)
        with self._guard:
            every = [*self._inputs, new]
            self._database.add_items(joined.ids[len(self.pool) :], twin_N, inputs.INPUTS, inputs.to_json(every))
            added = len(joined) - len(self.pool)
            self._inputs, self._opened = every, [*self._opened, opened]
            for name in ("pool", "denoised"):
                self.__dict__.pop(name, None)
            state = self._state
            state.ids, state.twin_N, state.held_out_N = self._database.items()
            state.start_N = inputs.starts(state.ids, every)
            state.items_changed()
            self._take_scores()
        self._tell()
        return added, int((twin_N != np.arange(len(twin_N)))[-added:].sum())

    def hold_out(self, rows: np.ndarray) -> None:
        """Set items apart as a test set, with their exact duplicates, before the first label."""
        with self._guard:
            self._check_writable()
            state = self._state
            if state.log.active:
                raise TomoTutorError(
                    f"{self.folder}: a test set can only be set apart before the first label; make a new session"
                )
            self._database.hold_out(np.flatnonzero(np.isin(state.twin_N, state.twin_N[rows])))
            state.held_out_N = self._database.items()[2]
            state.items_changed()
            self._queue.clear()
            self._compose_queue()
        self._emit(self.queue_changed)

    # ---- before the first label ------------------------------------------------------------------------------------

    def map_pool(self, report: Report = ignore) -> None:
        """Map the pool with the pretrained networks: groups of look-alikes, and the queue in the order of what is
        typical of them.

        It is done once, and kept; a session that starts from scratch has nothing to look with, and is left as it is.
        """
        state = self._state
        if self.recipe.network.start != "pretrained" or self.pool_map or state.rounds or not len(state.eligible()):
            return
        self._check_writable()
        from tomotutor.learn.pool_map import map_pool
        from tomotutor.learn.round import new_pair

        compute, recipe = self._compute(), self.recipe
        folder = rounds.start_folder(recipe, self.folder)
        net = new_pair(self.pool.shape, len(self.classes), recipe, folder).teacher
        look = map_pool(
            net,
            self.pool,
            state.eligible(),
            compute,
            groups=recipe.query.initial_size,
            seed=recipe.seed,
            report=report,
        )
        write_pool_map(self.folder, look)
        with self._guard:
            self.pool_map = look
            if not state.log.active:
                self._queue.clear()
            self._compose_queue()
        self._emit(self.queue_changed)

    def _read_pool_map(self) -> Any:
        try:
            return read_pool_map(self.folder, len(self._state.ids))
        except TomoTutorError as problem:
            log.warning("%s", problem)
            self.notices.append(f"{problem}; without it the items come in random order until the first training")
            return None

    # ---- rounds ----------------------------------------------------------------------------------------------------

    def is_trainable(self) -> bool:
        """Whether the labels are enough for a training (without check items, which are never trained on)."""
        with self._guard:
            return self._state.can_train()

    def is_due(self) -> bool:
        """Whether enough labels have come since the last training, and one is possible now."""
        with self._guard:
            return self._state.is_due(self._worker.phase)

    def run_round(self, report: Report | None = None) -> CurvePoint:
        """Train, score and rank now, in this thread.

        Raises
        ------
        TomoTutorError
            The round failed; the previous model stays.
        CancelledError
            `cancel()` was called.
        """
        self._check_writable()
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
        self._closed = True
        self._database.close()
        self._emit(self.closed)

    def _check_writable(self) -> None:
        if self._closed:
            raise TomoTutorError(f"{self.folder}: the session was closed; open it again")
        if not self.write:
            raise TomoTutorError(f"{self.folder}: the session was opened to look only; open it for writing")

    def _round(self, report: Report) -> None:
        from tomotutor.learn.round import run_round

        def tell(progress: Progress) -> None:
            report(progress)
            self._emit(self.progressed, progress)

        compute = self._compute()
        with self._guard:
            frozen = rounds.freeze(self._state, self.pool, self.folder)
        result = run_round(frozen.view, frozen.recipe, compute, tell)
        check, better = rounds.compare_start(self._state, frozen, result, compute, tell)
        with self._guard:
            record, predicted = rounds.write(self._state, self._database, self.folder, frozen, result, compute, check)
            self._state.rounds.append(record)
            self._state.audits[record.number] = predicted
            self._state.number = record.number
            self._take_scores()
            point = self._state.point(record)
        if better:
            self.set_recipe(frozen.recipe.from_scratch())
            scratch, pretrained = (f"{check[who]} of {check['n']}" for who in ("scratch", "pretrained"))
            right = f"networks from scratch have {scratch} check items right, the pretrained ones {pretrained}"
            text = f"round {point.round}: {right}; from the next training on, this session starts from scratch"
            log.warning(text)
            self._emit(self.notice, text)
        self._emit(self.queue_changed)
        self._emit(self.round_finished, point)

    def use_round(self, number: int) -> None:
        """Go back to the model of an earlier round, until the next training."""
        with self._guard:
            self._check_writable()
            if number not in [r.number for r in self._state.rounds]:
                raise TomoTutorError(f"{self.folder}: no round {number}; expected 1 to {len(self._state.rounds)}")
            self._database.set_meta(rounds.IN_USE, str(number))
            self._state.number = number
            self._take_scores()
        self._tell()

    def _compute(self) -> Compute:
        """Choose how to compute, once a machine; the first choice of a session also settles the width."""
        from tomotutor.learn import compute as computing
        from tomotutor.learn.round import compute_for

        if not self.recipe.network.width:
            self.set_recipe(self.recipe.replace(width=computing.default_width(computing.best_device())))
        threads = computing.available_threads(keep_one=self._keep_core)
        return compute_for(self.pool.shape, len(self.classes), self.recipe, threads, self.folder / "compute.json")

    def add_metrics(self, number: int, metrics: dict[str, Any]) -> None:
        """Keep further measurements of a round (accuracy on a test set, say) in its record."""
        self._check_writable()
        self._database.update_metrics(number, metrics)
        self._state.rounds = self._database.rounds()

    # ---- the answer ------------------------------------------------------------------------------------------------

    @property
    def model(self) -> TrainedModel:
        """The model in use.

        Raises
        ------
        TomoTutorError
            No round has been trained yet.
        """
        record = self._state.record
        if record is None:
            raise TomoTutorError(
                f"{self.folder}: no model yet; label some items and train first "
                "('tomotutor round', or Train now on the screen)"
            )
        names = tuple(record.record.get("classes", self._file.classes))
        shape = tuple(record.record.get("shape", ())) or self.pool.shape
        number_C = self._state.classes.today(names, record.record.get("log", 0))
        return TrainedModel(self.folder, record, names, shape, self.classes, tuple(number_C))

    def predictions(self, report: Report | None = None) -> Predictions:
        """Return the answer for every item: labels as given, the rest as the model in use predicts; computed once a
        round where the session is open for writing.
        """
        model = self.model
        scores = read_pool_scores(self.folder, model.record.number, len(self.ids))
        if scores is None:
            scores = model.score(self.pool, report, **self._how())
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
        scores = model.score_masks(self.pool, tell, report, **self._how())
        if self.write:
            write_pool_scores(self.folder, model.record.number, scores)
        return self._with_labels(model, scores)

    def _how(self) -> dict[str, Any]:
        return {"memory": self.folder / "compute.json" if self.write else None}

    def _with_labels(self, model: TrainedModel, scores: PoolScores) -> Predictions:
        with self._guard:
            state, today = self._state, model.today(scores)
            return predictions_from(today, state.labels.numbers(state.given(), state.twin_N, today))

    def _emit(self, signal: SignalInstance, *payload: object) -> None:
        """Emit; a receiver that raises is logged and changes nothing here."""
        try:
            signal.emit(*payload)
        except Exception:
            log.exception("a receiver of %s raised", signal.name)
