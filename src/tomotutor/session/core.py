"""Core: what the parts of an open session share. One guard, one order of commit: disk, then memory, then signals."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from psygnal import SignalInstance

from tomotutor.base.errors import TomoTutorError, command
from tomotutor.base.progress import Report
from tomotutor.data.pool import Pool, concat, find_twins
from tomotutor.data.sources import Opened, Source
from tomotutor.learn import start
from tomotutor.learn.recipe import Recipe
from tomotutor.session import inputs, rounds
from tomotutor.session.bulk import CLASS_CHECKS, ClassCheck, read_checks
from tomotutor.session.classes import Classes
from tomotutor.session.database import Database
from tomotutor.session.label_log import Entry, replay
from tomotutor.session.labels import labels_of
from tomotutor.session.relocate import gather_inputs
from tomotutor.session.session_file import SessionFile
from tomotutor.session.state import State

log = logging.getLogger(__name__)


@dataclass
class Core:
    """An open session folder.

    Attributes
    ----------
    folder : Path
        The session.
    write : bool
        Whether it may be changed; one that only looks takes no lock, and opens its input on first use.
    database : Database
        Its labels.
    file : SessionFile
        Its settings.
    inputs : list of Input
        Where its items come from.
    state : State
        What it knows.
    guard : RLock
        Held by whoever reads or changes `state`.
    notices : list of str
        What was lost, a sentence each.
    """

    folder: Path
    write: bool
    database: Database
    file: SessionFile
    inputs: list[inputs.Input]
    state: State = field(init=False)
    guard: threading.RLock = field(default_factory=threading.RLock)
    notices: list[str] = field(default_factory=list)
    is_closed: bool = False

    @staticmethod
    def open(folder: Path, *, write: bool, opened: Opened | None = None) -> Core:
        """Open a session folder; see `tomotutor.session.Session`."""
        file = SessionFile.read(folder)
        database = Database(folder, write=write)
        try:
            found = inputs.read_inputs(database, file.source)
            inputs.check_lists(found, folder)
            core = Core(folder, write, database, gather_inputs(folder, file, database) if write else file, found)
            if opened:
                core.opened = [opened]
            core.state = core._read_state()
            if write:
                _ = core.pool
        except BaseException:
            database.close()
            raise
        return core

    def _read_state(self) -> State:
        ids, twin_N, held_out_N = self.database.items()
        records = self.database.rounds()
        try:
            checks = read_checks(self.database.meta(CLASS_CHECKS, "[]"), len(ids))
        except ValueError as problem:
            raise self.database.damaged(problem) from None
        recipe, classes = self.file.recipe, self.file.classes
        state = State(
            ids,
            twin_N,
            held_out_N,
            inputs.starts(ids, self.inputs),
            recipe,
            classes,
            labels_of(recipe.task, self.folder, Classes(classes), lambda: self.pool.shape[1:]),
            replay(self.database.entries()),
            records,
            self.database.audits(),
            rounds.in_use(self.database, records),
            class_checks=checks,
        )
        if unnamed := state.unnamed():
            rename = command("classes", self.folder, "--rename", unnamed[0], "NEW")
            merge = command("classes", self.folder, "--merge", unnamed[0], "INTO")
            raise TomoTutorError(
                f"{self.folder / 'session.toml'}: does not name the class {unnamed[0]!r}, of which the log has labels; "
                f"say what it is called now with '{rename}', or '{merge}'"
            )
        return state

    def keep_class_checks(self, checks: Sequence[ClassCheck]) -> None:
        """Put draws of members of classes on disk, then in use."""
        self.check_writable()
        self.database.set_meta(CLASS_CHECKS, json.dumps([check.to_dict() for check in checks]))
        self.state.class_checks = list(checks)

    @cached_property
    def opened(self) -> list[Opened]:
        """All inputs, open."""
        return inputs.open_all(self.inputs, self.folder)

    @cached_property
    def pool(self) -> Pool:
        """The items of all inputs, which are held against what they were when they came."""
        pool = inputs.pool_of(self.opened, self.database.items()[0])
        self.inputs = inputs.recognised(self.inputs, self.opened, self.folder, self.database if self.write else None)
        return pool

    @cached_property
    def denoised(self) -> Pool | None:
        """The same items from denoised tomograms, to look at; None where there are none."""
        return inputs.denoised_of(self.opened)

    @cached_property
    def overlap_N(self) -> np.ndarray:
        """A number for each item, which exact duplicates and picks nearer than a quarter of the box share."""
        number_N = self.state.twin_N.copy()
        bounds = zip(self.opened, itertools.pairwise(self.state.start_N.tolist()), strict=True)
        for one, (first, last) in bounds:
            number_N[first:last] = first + inputs.overlaps(one)
        return number_N

    @cached_property
    def overlaps_N(self) -> np.ndarray:
        """How many other picks overlap each, directly or in a chain; opens the input."""
        return np.bincount(self.overlap_N, minlength=len(self.overlap_N))[self.overlap_N] - 1

    @property
    def recipe(self) -> Recipe:
        """Settings in force."""
        return self.file.recipe

    def check_writable(self) -> None:
        """Refuse a change where the session was closed, or opened to look only."""
        if self.is_closed:
            raise TomoTutorError(f"{self.folder}: the session was closed; open it again")
        if not self.write:
            raise TomoTutorError(f"{self.folder}: the session was opened to look only; open it for writing")

    def commit(self, entries: Sequence[Entry], *, together: bool = False) -> list[Entry]:
        """Put entries on disk, then into the state; return those whose items they change."""
        return self.state.apply(self.database.append(entries, together=together))

    def emit(self, signal: SignalInstance, *payload: object) -> None:
        """Emit; a receiver that raises is logged and changes nothing here."""
        try:
            signal.emit(*payload)
        except Exception:
            log.exception("a receiver of %s raised", signal.name)

    def lost(self, sentence: str) -> None:
        """Keep a sentence about what was lost; "" is none."""
        if sentence:
            log.warning(sentence)
            self.notices.append(sentence)

    def set_recipe(self, recipe: Recipe) -> None:
        """Change settings; seed and share of audit items may only change before the first answer."""
        self.check_writable()
        for name, text in (("seed", "seed"), ("audit_share", "share of audit items")):
            before = self.recipe.flat()[name]
            if recipe.flat()[name] != before and self.state.log.active:
                raise TomoTutorError(
                    f"{self.folder}: the {text} ({before}) cannot change after the first label; make a new session"
                )
        if recipe.network.start == "pretrained" and not (self.folder / start.FOLDER).is_dir():
            raise TomoTutorError(
                f"{self.folder}: made to start from scratch; make a new session with --start pretrained"
            )
        if recipe.task != self.recipe.task:
            raise TomoTutorError(f"{self.folder}: made for {self.recipe.task}; make a new session for {recipe.task}")
        changed = self.file.with_recipe(recipe)
        changed.write(self.folder)
        self.file, self.state.recipe = changed, recipe
        self.state.items_changed()

    def add_items(self, source: Source, report: Report) -> tuple[int, int]:
        """Add the items of another input; see `Session.add_items`."""
        self.check_writable()
        if not self.state.labels.one_class:
            raise TomoTutorError(f"{self.folder}: items cannot be added to a session of masks; make a new one")
        new, opened = inputs.open_new(source, self.inputs[0].source, [one.prefix for one in self.inputs])
        joined = concat([self.pool, opened.pool])  # it must fit before anything is copied
        inputs.copy_input(new, self.folder)
        new = new.recognised(opened, self.folder)
        twin_N = find_twins(joined, report)
        with self.guard:
            every, added = [*self.inputs, new], len(joined) - len(self.pool)
            self.database.add_items(joined.ids[len(self.pool) :], twin_N, inputs.INPUTS, inputs.to_json(every))
            self.inputs, self.opened = every, [*self.opened, opened]
            for name in ("pool", "denoised", "overlap_N", "overlaps_N"):
                self.__dict__.pop(name, None)
            self.read_items()
            self.state.start_N = inputs.starts(self.state.ids, every)
        return added, int((twin_N != np.arange(len(twin_N)))[-added:].sum())

    def hold_out(self, rows: np.ndarray) -> None:
        """Set items apart as a test set, with their exact duplicates, before the first label."""
        self.check_writable()
        twin_N = self.state.twin_N
        if self.state.log.active:
            raise TomoTutorError(
                f"{self.folder}: a test set can only be set apart before the first label; make a new session"
            )
        self.database.hold_out(np.flatnonzero(np.isin(twin_N, twin_N[rows])))
        self.read_items()

    def read_items(self) -> None:
        """Take up what the database knows of the items."""
        self.state.ids, self.state.twin_N, self.state.held_out_N = self.database.items()
        self.state.items_changed()
