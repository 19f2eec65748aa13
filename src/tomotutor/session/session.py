"""Session: what the screen and the command line both drive. Labels are on disk before anything else happens."""

from __future__ import annotations

import datetime
import logging
import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal, SignalInstance

import tomotutor
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Pool, find_twins
from tomotutor.data.sources import Source, open_denoised, open_pool
from tomotutor.learn import start
from tomotutor.learn.recipe import LEAST_TO_TRAIN, Recipe
from tomotutor.learn.results import PoolScores, Predictions
from tomotutor.session import audit
from tomotutor.session.database import RoundRecord, SessionStore
from tomotutor.session.inputs import ADDED, copy_part, join, new_part, parts_of, to_json
from tomotutor.session.label_log import Entry, replay
from tomotutor.session.masks import Masks
from tomotutor.session.queue import Queue
from tomotutor.session.round_folder import (
    RoundScores,
    read_look,
    read_pool_scores,
    read_scores,
    round_folder,
    write_look,
    write_pool_scores,
    write_round,
)
from tomotutor.session.session_file import SessionFile
from tomotutor.session.status import CurvePoint, ItemView, Phase, Status
from tomotutor.session.worker import Trainer

if TYPE_CHECKING:  # torch takes seconds to import, and a person should see the screen first
    from tomotutor.base.progress import Progress, Report
    from tomotutor.learn.compute import Compute
    from tomotutor.learn.round import RoundResult, RoundView

log = logging.getLogger(__name__)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class Session:
    """A pool, its labels, its models and its queue.

    Parameters
    ----------
    folder : Path
        A folder that `create_session` made.
    write : bool
        False only looks: no lock is taken and nothing can be changed.
    keep_core : bool
        Leave one CPU core to the screen while training.
    automatic : bool
        Start a round by itself whenever one is due.

    Notes
    -----
    ----- Signals come from the thread in which the thing happened: `labeled(ItemView)`, `queue_changed()`,
    `status_changed(Status)`, `progressed(Progress)`, `round_finished(CurvePoint)`, `failed(str)`, `notice(str)`,
    `closed()`.
    Receivers that raise are logged, and change nothing.
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
        self, folder: Path | str, *, write: bool = True, keep_core: bool = False, automatic: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.automatic = automatic
        self._file = SessionFile.read(self.folder)
        self._store = SessionStore(self.folder, write=write)
        try:
            ids, self._twin_N, self._held_out_N = self._store.items()
            self._parts = parts_of(self._file, self._store)
            self._open_pools()
            if self.pool.ids != ids:
                raise TomoTutorError(
                    f"{self._file.source.path}: now has {len(self.pool)} items, other than the {len(ids)} this session "
                    "was made with; "
                    "bring the original files back, or make a new session"
                )
            self._masks = Masks(self.folder, self.pool.shape[1:], len(self.classes))
            self._row_of = {item_id: row for row, item_id in enumerate(ids)}
            self._state = replay(self._store.entries())
            self._rounds = self._store.rounds()
            self._audits = self._store.audits()
            self._audit_kind: dict[int, str] = {}
            self._scores: dict[int, _Score] = {}
            self._queue = Queue(self._is_open, [entry.item for entry in self._state.active])
            self.look = read_look(self.folder, len(self.pool))
            self._read_round()
        except BaseException:
            self._store.close()
            raise
        self._keep_core = keep_core
        self._guard = threading.RLock()
        self._trainer = Trainer(
            self._round,
            phase_changed=lambda: self._emit(self.status_changed, self.status),
            finished=self._start_if_due,  # labels came while it trained
            failed=lambda text: self._emit(self.failed, text),
        )

    def _open_pools(self) -> None:
        """Open the items of all parts, and those to look at."""
        try:
            pools = [part.open(self.folder) for part in self._parts]
        except TomoTutorError as problem:
            paths = [path for part in self._parts for path in part.source_in(self.folder).paths().values()]
            gone = next((path for path in paths if not Path(path).exists()), None)
            if gone is None:
                raise
            hint = f"tomotutor relocate {self.folder} --from {gone} --to THE_NEW_PLACE"
            raise TomoTutorError(f"{problem}; {gone} is not there any more: if it moved, run '{hint}'") from None
        self.pool = join(pools)
        self._start_N = np.cumsum([0, *(len(pool) for pool in pools)])
        self.denoised = self._open_denoised(pools)

    def _open_denoised(self, pools: list[Pool]) -> Pool | None:
        """The same items from denoised tomograms, to look at, None where there are none; labeling goes
        on without them.
        """
        try:
            found = [open_denoised(part.source_in(self.folder)) for part in self._parts]
            return join([d or pool for d, pool in zip(found, pools, strict=True)]) if any(found) else None
        except TomoTutorError as problem:
            log.warning("no denoised tomograms: %s", problem)
            return None

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; class n of an export is the n-th, from 1."""
        return self._file.classes

    @property
    def recipe(self) -> Recipe:
        """Settings in force."""
        return self._file.recipe

    @property
    def source(self) -> Source:
        """Where the items come from that the session was made with; of a particle list the session's own copy."""
        return self._parts[0].source_in(self.folder)

    @property
    def parts(self) -> list[tuple[str, Source, slice]]:
        """All inputs: the prefix of their ids ("" for the first), the source, and which rows of the pool they hold."""
        bounds = zip(self._start_N[:-1].tolist(), self._start_N[1:].tolist(), strict=True)
        return [
            (part.prefix, part.source_in(self.folder), slice(*b)) for part, b in zip(self._parts, bounds, strict=True)
        ]

    @property
    def array_file(self) -> Path | None:
        """The NumPy file the items come from, None for other input."""
        return self._file.source.file if self._file.source.kind == "array" else None

    @property
    def is_segmentation(self) -> bool:
        """Whether items are answered by masks; `label_mask` then takes the place of `label`."""
        return self.recipe.task == "segmentation"

    @property
    def phase(self) -> Phase:
        """What the trainer does."""
        return self._trainer.phase

    @property
    def status(self) -> Status:
        """Where the session stands."""
        with self._guard:
            labels = self._state.labels()
            counts = self._count(labels)
            return Status(
                items=len(self.pool),
                labeled=len(labels),
                unsure=len(self._state.items("unsure")),
                skipped=len(self._state.items("skip")),
                counts={name: counts.get(name, 0) for name in self.classes},
                round=self._number,
                phase=self._trainer.phase,
                since_round=len(labels) - (self._rounds[-1].labels if self._rounds else 0),
                due_at=self.recipe.query_size if self._rounds else self.recipe.initial_size,
                audit=audit.figure(self._number, self._audits, self._audit_kind, self._state),
            )

    def _count(self, labels: dict[int, str]) -> Counter[str]:
        """Count labels by class; in segmentation, masks by the classes in them."""
        if self.is_segmentation:
            return Counter(self.classes[c] for name in labels.values() for c in self._masks.present(name))
        return Counter(labels.values())

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """The learning curve so far; the audit figures use all answers known today."""
        with self._guard:
            return tuple(self._point(record) for record in self._rounds)

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """All finished rounds with what traces them."""
        return tuple(self._rounds)

    @property
    def held_out(self) -> np.ndarray:
        """Rows set apart as a test set."""
        return np.flatnonzero(self._held_out_N)

    def _point(self, record: RoundRecord) -> CurvePoint:
        found = audit.figure(record.number, self._audits, self._audit_kind, self._state)
        return CurvePoint(record.number, record.labels, found, record.record["metrics"])

    @property
    def _number(self) -> int:
        return self._rounds[-1].number if self._rounds else 0

    def row(self, item_id: str) -> int:
        """Return the pool row of an item id."""
        try:
            return self._row_of[item_id]
        except KeyError:
            raise TomoTutorError(
                f"item {item_id!r} is not in this session; its items are called like {self.pool.ids[0]!r}"
            ) from None

    def labels(self) -> dict[int, str]:
        """Return the labels given: pool row to class name, in segmentation to the mask's file; duplicates of an item
        are not repeated.
        """
        with self._guard:
            return self._state.labels()

    def mask(self, row: int) -> np.ndarray | None:
        """Return the mask given to an item of a segmentation session, (y, x) uint8 with 255 for void; None if it has
        none.
        """
        with self._guard:
            name = self._state.label(int(self._twin_N[row]))
        return None if name is None else self._masks.read(name)

    def view(self, row: int) -> ItemView:
        """Return an item as the screen shows it."""
        with self._guard:
            root = int(self._twin_N[row])
            last = self._state.last(root)
            is_audit = root in self._audit_kind
            hidden = is_audit and (last is None or last.action != "label")
            score = None if hidden else self._scores.get(root)
            return ItemView(
                row,
                self.pool.ids[row],
                self._state.label(root),
                last.action if last else None,
                is_audit,
                score.teacher_probs if score else (),
                score.student_probs if score else (),
                score.disagreement if score else None,
                bool(len(self.pool.padded_N) and self.pool.padded_N[row]),
            )

    # ---- the queue --------------------------------------------------------------------------------------------------

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
            self._queue.show(int(self._twin_N[self.row(item_id)]))
        self._emit(self.queue_changed)

    def put_back(self) -> None:
        """Put the item in front back among those that wait: nobody looks at it, and the next round ranks it with the
        others.
        """
        with self._guard:
            self._queue.clear()

    def _is_open(self, row: int) -> bool:
        last = self._state.last(row)
        return last is None or last.action == "skip"

    def _eligible(self) -> np.ndarray:
        """Rows that may be asked at all: no test items, and one of each set of exact duplicates."""
        return np.flatnonzero((self._twin_N == np.arange(len(self.pool))) & ~self._held_out_N)

    def _open_rows(self, number: int) -> np.ndarray:
        """Rows without an answer that are no audit items, in the random order of a round, the same for
        every strategy.
        """
        order = np.random.default_rng([self.recipe.seed, number]).permutation(len(self.pool))
        open_N = np.zeros(len(self.pool), bool)
        open_N[self._eligible()] = True
        open_N[list(self._audit_kind)] = False
        open_N[list(self._state.standing)] = False
        return order[open_N[order]]

    def _compose_queue(self, ranked: Sequence[int]) -> None:
        """Put the queue together: ranked candidates, then the rest at random, audit items mixed in,
        skipped items last.
        """
        rows, share, seed = self._eligible(), self.recipe.audit_share, self.recipe.seed
        bounds = zip(self._start_N[:-1], self._start_N[1:], strict=True)
        order = np.concatenate(
            [audit.draw(rows[(rows >= a) & (rows < b)], share, seed, k) for k, (a, b) in enumerate(bounds)]
        )
        self._audit_kind = audit.kinds(order)
        gone = set(self._state.standing)
        if self._queue.current is not None:
            gone.add(self._queue.current)  # it stays in front, and takes its place among the answers
        first = [int(row) for row in ranked if row not in gone and row not in self._audit_kind]
        rest = self._open_rows(self._number)
        queries = [*first, *rest[~np.isin(rest, [*first, *gone])].tolist()]
        audits = [row for row in self._audit_kind if row not in gone]
        mixed = audit.mix(queries, audits, self.recipe.audit_share, len(gone))
        self._queue.refill([*mixed, *self._state.items("skip")])

    # ---- answers: committed first ---------------------------------------------------------------------------------

    def label(self, item_id: str, class_name: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Give an item a class. When this returns, the label is on disk."""
        self._check_class(class_name)
        return self._answer(item_id, "label", class_name, annotator, origin)

    def label_mask(self, item_id: str, mask_YX: np.ndarray, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Give an item of a segmentation session its mask: class numbers from 0, 255 for void. When this returns, it is
        on disk.
        """
        if not self.is_segmentation:
            raise TomoTutorError(
                f"{self.folder}: this session takes a class for each item, not masks; make one with --task segmentation"
            )
        name = self._masks.write(
            int(self._twin_N[self.row(item_id)]), mask_YX, f"item {item_id}"
        )  # before the row that names it
        return self._answer(item_id, "label", name, annotator, origin)

    def unsure(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Say that an item cannot be told; it is not asked again and not trained on."""
        return self._answer(item_id, "unsure", None, annotator, origin)

    def skip(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Go on to the next item; one without an answer comes again at the end of the queue, an answer stays."""
        row = int(self._twin_N[self.row(item_id)])
        with self._guard:
            is_open = self._is_open(row)
            if not is_open and self._queue.current == row:
                self._queue.advance()
        if is_open:
            return self._answer(item_id, "skip", None, annotator, origin)
        self._emit(self.queue_changed)
        return self.view(row)

    def _check_class(self, name: str) -> None:
        if self.is_segmentation:
            raise TomoTutorError(f"{self.folder}: this session takes masks, not a class for each item")
        if name not in self.classes:
            raise TomoTutorError(f"class {name!r} is not one of {', '.join(self.classes)}")

    def _answer(self, item_id: str, action: str, class_name: str | None, annotator: str, origin: str) -> ItemView:
        with self._guard:
            row = int(self._twin_N[self.row(item_id)])
            (entry,) = self._store.append([self._entry(row, action, class_name, annotator, origin)])
            self._state.apply(entry)
            if action == "skip":
                self._queue.postpone(row)
            elif self._queue.current == row:
                self._queue.advance()
            view = self.view(row)
        self._emit(self.labeled, view)
        self._emit(self.queue_changed)
        self._emit(self.status_changed, self.status)
        self._start_if_due()
        return view

    def _start_if_due(self) -> None:
        if self.automatic and self.is_due():
            self.start_round()

    def _entry(self, row: int, action: str, class_name: str | None, annotator: str, origin: str) -> Entry:
        score = self._scores.get(row)
        known = score is not None and not self.is_segmentation  # a mask has no one class to predict
        best = int(np.argmax(score.teacher_probs)) if score else 0
        return Entry(
            0,
            _now(),
            row,
            action,
            class_name,
            annotator,
            origin,
            self._number,
            self._audit_kind.get(row, ""),
            self.classes[best] if known else None,
            score.teacher_probs[best] if score and known else None,
            score.disagreement if score else None,
        )

    def import_labels(self, labels: Sequence[tuple[str, str, str]], *, origin: str = "import") -> int:
        """Write many labels, each (item id, class name, annotator), in one transaction: all of them or none."""
        with self._guard:
            for _, name, _ in labels:
                self._check_class(name)
            return self._import(labels, origin)

    def import_masks(
        self, masks: Iterable[tuple[str, np.ndarray]], *, annotator: str = "", origin: str = "import"
    ) -> int:
        """Take over masks, each (item id, mask): all of them or none."""
        if not self.is_segmentation:
            raise TomoTutorError(f"{self.folder}: this session takes a class for each item, not masks")
        with self._guard:
            rows = [
                (i, self._masks.write(int(self._twin_N[self.row(i)]), mask, f"item {i}"), annotator)
                for i, mask in masks
            ]
            return self._import(rows, origin)

    def _import(self, labels: Sequence[tuple[str, str, str]], origin: str) -> int:
        with self._guard:
            entries = [
                self._entry(int(self._twin_N[self.row(item_id)]), "label", name, annotator, origin)
                for item_id, name, annotator in labels
            ]
            for entry in self._store.append(entries):
                self._state.apply(entry)
            if self._queue.current is not None and not self._is_open(self._queue.current):
                self._queue.advance()
        self._emit(self.queue_changed)
        self._emit(self.status_changed, self.status)
        return len(entries)

    def undo(self) -> ItemView | None:
        """Take back the last answer that stands and show its item again; None if there is none. Imports
        are not undone.
        """
        with self._guard:
            entry = next((e for e in reversed(self._state.active) if e.origin != "import"), None)
            if entry is None:
                return None
            undo = Entry(0, _now(), entry.item, "undo", origin=entry.origin, round=self._number, undoes=entry.seq)
            (written,) = self._store.append([undo])
            self._state.apply(written)
            self._queue.show(entry.item)
            view = self.view(entry.item)
        self._emit(self.labeled, view)
        self._emit(self.queue_changed)
        self._emit(self.status_changed, self.status)
        return view

    # ---- settings ---------------------------------------------------------------------------------------------------

    def set_recipe(self, recipe: Recipe) -> None:
        """Change settings; the seed may only change before the first answer."""
        if recipe == self.recipe:
            return
        if recipe.seed != self.recipe.seed and self._state.active:
            raise TomoTutorError(
                f"{self.folder}: the seed ({self.recipe.seed}) cannot change after the first label; make a new session"
            )
        if recipe.start == "pretrained" and not (self.folder / start.FOLDER).is_dir():
            raise TomoTutorError(
                f"{self.folder}: made to start from scratch; make a new session with --start pretrained"
            )
        if recipe.task != self.recipe.task:
            raise TomoTutorError(f"{self.folder}: made for {self.recipe.task}; make a new session for {recipe.task}")
        if self.is_segmentation:
            from tomotutor.learn.strategies import check_per_pixel

            check_per_pixel(recipe.strategy)
        with self._guard:
            changed = self._file.with_recipe(recipe)
            changed.write(self.folder)
            self._file = changed
            if not self._state.active:
                self._queue.clear()
            self._read_round()

    def add_items(self, source: Source, report: Callable[[int, int], None] | None = None) -> tuple[int, int]:
        """Add the items of another input, in the midst of labeling; they are prepared as the first ones, and every new
        one is read once.

        Parameters
        ----------
        source : Source
            A particle list with its tomograms, a stack, folder or array. Its items are called `<file>/<id>`.
        report : callable
            Called with items read and items in all.

        Returns
        -------
        tuple of int
            Items added, and how many of them are exact duplicates, which share their labels with those that were there.

        Raises
        ------
        TomoTutorError
            The input is broken, or its items are of another shape, voxel size or contrast; the session stays as it was.
        """
        if self.is_segmentation:
            raise TomoTutorError(f"{self.folder}: items cannot be added to a session of masks; make a new one")
        part = new_part(source, self._file.source, [p.prefix for p in self._parts])
        join([self.pool, open_pool(part.source)])  # it must fit before anything is copied
        copy_part(part, self.folder)
        joined = join([self.pool, part.open(self.folder)])
        twin_N = find_twins(joined, report)
        with self._guard:
            parts = [*self._parts, part]
            self._store.add_items(joined.ids[len(self.pool) :], twin_N, ADDED, to_json(parts[1:]))
            added = len(joined) - len(self.pool)
            ids, self._twin_N, self._held_out_N = self._store.items()
            self._row_of = {item_id: row for row, item_id in enumerate(ids)}
            self._parts = parts
            self._open_pools()
            self._read_round()
        self._emit(self.queue_changed)
        self._emit(self.status_changed, self.status)
        return added, int((twin_N != np.arange(len(twin_N)))[-added:].sum())

    def hold_out(self, rows: np.ndarray) -> None:
        """Set items apart as a test set, with their exact duplicates, before the first label."""
        if self._state.active:
            raise TomoTutorError(
                f"{self.folder}: a test set can only be set apart before the first label; make a new session"
            )
        with self._guard:
            self._store.hold_out(np.flatnonzero(np.isin(self._twin_N, self._twin_N[rows])))
            _, _, self._held_out_N = self._store.items()
            self._queue.clear()
            self._compose_queue(())

    # ---- before the first label -------------------------------------------------------------------------------------

    def look_around(self, report: Report | None = None) -> None:
        """Look at the pool with the pretrained networks: groups of look-alikes, and the queue in the order of what is
        typical of them.

        It is done once, and kept; a session that starts from scratch has nothing to look with, and is left as it is.
        """
        if self.recipe.start != "pretrained" or self.look or self._rounds or not len(self._eligible()):
            return
        from tomotutor.base.progress import ignore
        from tomotutor.learn.pool_map import look_around
        from tomotutor.learn.round import new_pair

        compute, recipe = self._compute(), self.recipe
        net = new_pair(self.pool, len(self.classes), recipe, self._start_folder).teacher
        look = look_around(
            net,
            self.pool,
            self._eligible(),
            compute,
            groups=recipe.initial_size,
            seed=recipe.seed,
            report=report or ignore,
        )
        write_look(self.folder, look)
        with self._guard:
            self.look = look
            if not self._state.active:
                self._queue.clear()
            self._read_round()
        self._emit(self.queue_changed)

    # ---- rounds -----------------------------------------------------------------------------------------------------

    def _trainable_labels(self) -> dict[int, str]:
        return {row: name for row, name in self._state.labels().items() if self._audit_kind.get(row) != "check"}

    def is_trainable(self) -> bool:
        """Whether there are four labels in two classes (without check items, which are never trained on), or two masks
        of two classes.
        """
        with self._guard:
            if self.is_segmentation:
                labels = self._state.labels()
                return len(labels) >= 2 and len(self._count(labels)) >= 2
            names = list(self._trainable_labels().values())
            return len(names) >= LEAST_TO_TRAIN and len(set(names)) >= 2

    def is_due(self) -> bool:
        """Whether enough labels have come since the last training, and one is possible now."""
        status = self.status
        return status.phase is Phase.IDLE and status.since_round >= status.due_at and self.is_trainable()

    def run_round(self, report: Report | None = None) -> CurvePoint:
        """Train, score and rank now, in this thread.

        Raises
        ------
        TomoTutorError
            The round failed; the previous model stays.
        CancelledError
            `cancel()` was called.
        """
        self._trainer.run(report)
        return self.curve[-1]

    def start_round(self) -> bool:
        """Train, score and rank in the background; False if a round runs already or is not possible yet."""
        return self.is_trainable() and self._trainer.start()

    def cancel(self) -> None:
        """Stop the running round at its next mini-batch; returns at once."""
        self._trainer.cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the background round; False if it still runs after `timeout_s`."""
        return self._trainer.wait(timeout_s)

    def close(self, *, wait: bool = True) -> None:
        """Stop a running round, wait for it, and give the session free.

        With `wait=False` it returns at once: the round is told to stop, and the session is free when it has; `closed`
        tells when. The process lives until then.
        """
        self._trainer.refuse()
        if not wait and self.phase is not Phase.IDLE:
            threading.Thread(target=self.close, name="tomotutor-closing").start()
            return
        self._trainer.wait()
        self._store.close()
        self._emit(self.closed)

    def _round(self, report: Report) -> None:
        from tomotutor.learn.round import run_round

        def tell(progress: Progress) -> None:
            report(progress)
            self._emit(self.progressed, progress)

        compute, recipe = self._compute(), self.recipe
        view = self._freeze()
        result = run_round(view, recipe, compute, tell)
        check, better = self._check_start(view, result, recipe, compute, tell)
        point = self._adopt(view, result, recipe, compute, check)
        if better:
            self.set_recipe(recipe.from_scratch())
            scratch, pretrained = (f"{check[who]} of {check['n']}" for who in ("scratch", "pretrained"))
            right = f"networks from scratch have {scratch} check items right, the pretrained ones {pretrained}"
            text = f"round {point.round}: {right}; from the next training on, this session starts from scratch"
            log.warning(text)
            self._emit(self.notice, text)
        self._emit(self.queue_changed)
        self._emit(self.round_finished, point)

    def _check_start(
        self, view: RoundView, result: RoundResult, recipe: Recipe, compute: Compute, report: Report
    ) -> tuple[dict[str, int], bool]:
        """Hold a pretrained start against scratch on the check items answered so far, whenever their number has
        doubled.

        Returns
        -------
        dict
            n, and how many each has right; empty where it was not time for it.
        bool
            Whether scratch is better.
        """
        with self._guard:
            labels = self._state.labels()
            checked = [row for row, kind in self._audit_kind.items() if kind == "check" and row in labels]
            rows = np.intersect1d(np.array(checked, np.int64), result.scored_rows)
            before = max((r.record["metrics"].get("start_check", {}).get("n", 0) for r in self._rounds), default=0)
            truth_N = np.array([self.classes.index(labels[int(row)]) for row in rows])
        if recipe.start != "pretrained" or len(rows) < max(audit.LEAST_CHECKS, 2 * before):
            return {}, False
        from tomotutor.learn.round import predict_from_scratch

        holder_N = result.teacher_probs_NC[np.searchsorted(result.scored_rows, rows)].argmax(1) == truth_N
        challenger_N = predict_from_scratch(view, recipe.from_scratch(), compute, rows, report) == truth_N
        found = {"n": len(rows), "pretrained": int(holder_N.sum()), "scratch": int(challenger_N.sum())}
        return found, audit.is_better(challenger_N, holder_N)

    def _compute(self) -> Compute:
        """Choose how to compute, once a machine; the first choice of a session also settles the width."""
        from tomotutor.learn import compute as computing
        from tomotutor.learn.round import compute_for

        if not self.recipe.width:
            self.set_recipe(self.recipe.replace(width=computing.default_width(computing.best_device())))
        threads = computing.available_threads(keep_one=self._keep_core)
        return compute_for(self.pool, len(self.classes), self.recipe, threads, self.folder / "compute.json")

    def _freeze(self) -> RoundView:
        from tomotutor.learn.round import RoundView

        with self._guard:
            labels = self._trainable_labels()
            rows = np.array(sorted(labels), dtype=np.int64)
            open_rows = self._open_rows(self._number + 1)
            candidates = open_rows[: self.recipe.candidate_factor * self.recipe.query_size]
            # audit items that may be asked before the next round, and the check items answered so far
            coming = [row for row in self._audit_kind if row not in self._state.standing][: len(candidates)]
            checked = [row for row, kind in self._audit_kind.items() if kind == "check" and row in self._state.standing]
            return RoundView(
                number=self._number + 1,
                pool=self.pool,
                classes=len(self.classes),
                train_rows=rows,
                train_labels=self._targets([labels[int(row)] for row in rows]),
                labels=len(self._state.labels()),
                candidate_rows=candidates,
                other_rows=np.array([*coming, *checked], dtype=np.int64),
                weights=round_folder(self.folder, self._number) if self._goes_on() else None,
                open_rows=open_rows,
                folder=self.folder,
                start=self._start_folder,
            )

    @property
    def _start_folder(self) -> Path | None:
        return self.folder / start.FOLDER if self.recipe.start == "pretrained" else None

    def _goes_on(self) -> bool:
        """Whether there is a last round, of networks that began as those of the next one will."""
        return bool(self._rounds) and self._rounds[-1].record["recipe"].get("start", "scratch") == self.recipe.start

    def _targets(self, labels: Sequence[str]) -> np.ndarray:
        """Return what to train on: class numbers, or masks (N, y, x)."""
        if self.is_segmentation:
            return np.array([self._masks.read(name) for name in labels], dtype=np.uint8)
        number_of = {name: i for i, name in enumerate(self.classes)}
        return np.array([number_of[name] for name in labels], dtype=np.int64)

    def _adopt(
        self, view: RoundView, result: RoundResult, recipe: Recipe, compute: Compute, start_check: dict[str, int]
    ) -> CurvePoint:
        """Put a round on disk, then in the database, then in use."""
        import torch

        metrics: dict[str, Any] = {
            "seconds": result.seconds,
            "trained_on": len(view.train_rows),
            "candidates": len(view.candidate_rows),
        }
        metrics |= result.metrics
        if start_check:
            metrics["start_check"] = start_check
        traces = {
            "recipe": recipe.to_dict(),
            "compute": compute.describe(),
            "metrics": metrics,
            "temperatures": result.temperatures,
            "versions": {
                "tomotutor": tomotutor.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        probs = (result.teacher_probs_NC.astype(np.float32), result.student_probs_NC.astype(np.float32))
        scores = RoundScores(result.queue_rows, result.scored_rows, *probs, result.disagreement_N)
        write_round(self.folder, view.number, result.pair.parts(), scores, traces)
        with self._guard:
            best = result.teacher_probs_NC.argmax(1)
            predicted = {
                int(r): self.classes[b]
                for r, b in zip(result.scored_rows, best, strict=True)
                if int(r) in self._audit_kind
            }
            record = RoundRecord(view.number, _now(), view.labels, traces)
            self._store.add_round(record, predicted)
            self._rounds.append(record)
            self._audits[view.number] = predicted
            self._read_round()
            return self._point(record)

    def _read_round(self) -> None:
        """Take the last round's scores into use and put the queue in its order."""
        ranked: Sequence[int] = self.look.order.tolist() if self.look and self.recipe.cold_start == "typical" else ()
        if self._number:
            found = read_scores(self.folder, self._number)
            ranked = found.queue_rows.tolist()
            columns = (found.rows, found.teacher_probs_NC, found.student_probs_NC, found.disagreement_N)
            self._scores = {
                r: _Score(tuple(t), tuple(s), d) for r, t, s, d in zip(*(c.tolist() for c in columns), strict=True)
            }
        self._compose_queue(ranked)

    def add_metrics(self, number: int, metrics: dict[str, Any]) -> None:
        """Keep further measurements of a round (accuracy on a test set, say) in its record."""
        self._store.update_metrics(number, metrics)
        self._rounds = self._store.rounds()

    # ---- the answer -------------------------------------------------------------------------------------------------

    def score_pool(
        self, pool: Pool, report: Report | None = None, *, each: Callable[[np.ndarray, np.ndarray], None] | None = None
    ) -> PoolScores:
        """Run the networks in use over every item of a pool, this session's or another.

        Parameters
        ----------
        pool : Pool
            Items of the shape that was trained on.
        report : callable
            Progress.
        each : callable
            In segmentation, called with the rows of each batch and the masks predicted for them, (N, y, x).

        Raises
        ------
        TomoTutorError
            No round has been trained yet, or the items have another shape.
        """
        self._need_round()
        from tomotutor.base.progress import ignore
        from tomotutor.learn.round import load_pair, score_pool

        recipe = Recipe.from_dict(self._rounds[-1].record["recipe"])
        pair = load_pair(self.pool, len(self.classes), recipe, round_folder(self.folder, self._number))
        temperatures = self._rounds[-1].record.get("temperatures")
        return score_pool(
            pair,
            self.pool.shape,
            pool,
            recipe,
            self._compute(),
            temperatures=temperatures,
            each=each,
            report=report or ignore,
        )

    def predictions(self, report: Report | None = None) -> Predictions:
        """Return the answer for every item: labels as given, the rest as the model in use predicts; computed once a
        round.
        """
        self._need_round()
        scores = read_pool_scores(self.folder, self._number)
        if scores is None or len(scores.disagreement_N) != len(self.pool):  # items may have been added since
            scores = self.score_pool(self.pool, report)
            write_pool_scores(self.folder, self._number, scores)
        return self._with_labels(scores)

    def predict_masks(self, each: Callable[[int, np.ndarray], None], report: Report | None = None) -> Predictions:
        """Give the final mask of every item to `each` (pool row, (y, x) class numbers): as labeled, or as the model in
        use predicts.

        The maps of a whole pool are too large to keep, so they are predicted anew by each call.
        """

        def tell(row: int, mask: np.ndarray) -> None:
            given = self.mask(row)
            each(row, mask if given is None else given)

        scores = self._score_masks(self.pool, tell, report)
        write_pool_scores(self.folder, self._number, scores)
        return self._with_labels(scores)

    def apply_masks(
        self, pool: Pool, each: Callable[[int, np.ndarray], None], report: Report | None = None
    ) -> Predictions:
        """Give the predicted mask of every item of another pool to `each`."""
        return predictions_from(self._score_masks(pool, each, report), np.full(len(pool), -1))

    def _score_masks(self, pool: Pool, each: Callable[[int, np.ndarray], None], report: Report | None) -> PoolScores:
        if not self.is_segmentation:
            raise TomoTutorError(f"{self.folder}: this session gives a class to each item, no masks")

        def tell(rows: np.ndarray, masks_NYX: np.ndarray) -> None:
            for row, mask in zip(rows.tolist(), masks_NYX.astype(np.uint8), strict=True):
                each(row, mask)

        return self.score_pool(pool, report, each=tell)

    def _with_labels(self, scores: PoolScores) -> Predictions:
        labels = self.labels()
        if self.is_segmentation:
            most_N = scores.teacher_probs_NC.argmax(1)
            label_N = np.array(
                [most_N[row] if root in labels else -1 for row, root in enumerate(self._twin_N.tolist())]
            )
        else:
            number_of = {name: i for i, name in enumerate(self.classes)}
            label_N = np.array([number_of[labels[root]] if root in labels else -1 for root in self._twin_N.tolist()])
        return predictions_from(scores, label_N)

    def _need_round(self) -> None:
        if not self._rounds:
            raise TomoTutorError(
                f"{self.folder}: no model yet; label some items and train first ('tomotutor round', or Retrain on the "
                "screen)"
            )

    def _emit(self, signal: SignalInstance, *payload: object) -> None:
        """Emit; a receiver that raises is logged and changes nothing here."""
        try:
            signal.emit(*payload)
        except Exception:
            log.exception("a receiver of %s raised", signal.name)


@dataclass(frozen=True)
class _Score:
    teacher_probs: tuple[float, ...]
    student_probs: tuple[float, ...]
    disagreement: float


def predictions_from(scores: PoolScores, label_N: np.ndarray) -> Predictions:
    """Combine a model's scores with the labels given (class numbers, -1 where there is none)."""
    labeled_N = label_N >= 0
    return Predictions(
        np.where(labeled_N, label_N, scores.teacher_probs_NC.argmax(1)),
        np.where(labeled_N, 1.0, scores.confidence_N),
        scores.disagreement_N,
        labeled_N,
    )


def look_around(folder: Path, report: Report | None = None) -> None:
    """Look around in a session that was just made, see `Session.look_around`."""
    session = Session(folder)
    try:
        session.look_around(report)
    finally:
        session.close()
