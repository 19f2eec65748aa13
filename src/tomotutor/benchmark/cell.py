"""One cell of a grid: an experiment's method with one seed, run round by round into a file of JSON lines."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report
from tomotutor.benchmark import measure
from tomotutor.benchmark.data import Data, open_data
from tomotutor.benchmark.experiment import REFERENCE, Experiment, Plan
from tomotutor.benchmark.machine.hardware import machine
from tomotutor.data.pool import Pool
from tomotutor.data.sources import open_pool
from tomotutor.oracle import classes as oracle
from tomotutor.oracle import masks as mask_oracle
from tomotutor.oracle.play import play
from tomotutor.session import Session
from tomotutor.session.classes import JUNK
from tomotutor.session.create import create_session

Line = dict[str, Any]
Annotator = tuple[
    Callable[[int], None], Callable[[int], Line]
]  # answers up to so many labels; measures the model of round so-and-so


@dataclass(frozen=True)
class Cell:
    """A method and a seed of an experiment at one scale, with changes to the recipe of every method."""

    name: str
    scale: str
    experiment: Experiment
    method: str
    seed: int
    changes: dict[str, str]

    @property
    def plan(self) -> Plan:
        """Size of the experiment."""
        return self.experiment.plans[self.scale]

    @property
    def trainings(self) -> int:
        """Number of trainings, and of lines when finished."""
        return 1 if self.method == REFERENCE else len(self.plan.budgets)

    @property
    def queries(self) -> list[int]:
        """Labels asked for after each training; after the last one as many as before it."""
        budgets = self.plan.budgets
        asked = [b - a for a, b in itertools.pairwise(budgets)]
        return [*asked, asked[-1] if asked else budgets[0]]

    @property
    def settings(self) -> dict[str, str]:
        """What the recipe differs in from its preset."""
        own = self.experiment.reference if self.method == REFERENCE else self.experiment.methods[self.method]
        sizes = {"initial_size": str(self.plan.budgets[0]), "query_size": str(self.queries[0]), "seed": str(self.seed)}
        # rules of a round are compared: nothing else may order the queue meanwhile
        return {"between": "round", **self.plan.settings, **(own or {}), **sizes, **self.changes}

    @property
    def asked(self) -> Line:
        """What defines the cell, as its lines keep it: a finished cell is only taken for this one where
        it is the same.
        """
        plan = dataclasses.asdict(self.plan)
        kept = {key: plan[key] for key in ("recipe", "per_class", "imbalance")}
        return {
            **kept,
            "budgets": list(self.plan.budgets),
            "classes": list(self.plan.classes),
            "settings": self.settings,
            "deeper": self.experiment.deeper,
        }

    def lines(self, folder: Path) -> list[Line]:
        """Return the lines on disk; an error where they were made with other settings."""
        path = self.file(folder)
        found = read_lines(path)
        if any(line.get("asked") != self.asked for line in found):
            raise TomoTutorError(f"{path}: made with other settings than these; choose another --out, or move it away")
        return found

    def file(self, folder: Path) -> Path:
        """Return the file of its lines in the folder of a grid."""
        return folder / "cells" / f"{self.method}-{self.seed}.jsonl"

    def work(self, folder: Path) -> Path:
        """Return the folder of its session, which goes when the cell is finished."""
        return folder / "work" / f"{self.method}-{self.seed}"


def read_lines(path: Path) -> list[Line]:
    """Return the whole lines of a file; what a killed writer left of a last one is passed over.

    Raises
    ------
    TomoTutorError
        A line is no JSON object.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise TomoTutorError(f"{path}: cannot be read ({problem.strerror})") from None
    lines = []
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            lines.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise TomoTutorError(
                f"{path}: line {number} is damaged; delete the file, its cell is then run again"
            ) from None
    return lines


def append_line(path: Path, line: Line) -> None:
    """Add a line and wait until the disk has it; half a line at the end goes first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as handle:
            handle.seek(0)
            handle.truncate(handle.read().rfind(b"\n") + 1)
            handle.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as problem:
        raise TomoTutorError(
            f"{path}: cannot be written ({problem.strerror}); run the same command again when it can"
        ) from None


@cache
def commit() -> str:
    """Return the commit of this source, with + where files differ from it; "" outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", str(here)) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def run_cell(
    cell: Cell, folder: Path, data_folder: Path, told: Callable[[Line], None], report: Report | None = None
) -> None:
    """Run a cell to its end; one that was interrupted goes on with the round it was in.

    Parameters
    ----------
    cell : Cell
        What to run.
    folder : Path
        Folder of the grid; the cell's lines go to `cells`, its session to `work`.
    data_folder : Path
        Where the experiment's data is.
    told : callable
        Called with each new line when it is on disk.
    report : callable, optional
        Progress of a training or scoring.

    Raises
    ------
    TomoTutorError
        The data does not fit, or the lines on disk were made with other settings or data.
    """
    commit()  # as it is now: files may change while a cell runs
    path, work = cell.file(folder), cell.work(folder)
    work.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(
        work.with_suffix(".lock")
    ):  # another process that runs this cell: wait, and find it finished
        done = cell.lines(folder)
        if len(done) == cell.trainings:
            return
        data = open_data(cell.experiment, cell.plan, data_folder)
        session = _open_session(cell, work / "session", data, len(done))
        if session is None:  # the session of the lines, or the lines of the session, are gone: begin again
            path.unlink(missing_ok=True)
            shutil.rmtree(work, ignore_errors=True)
            done = []
            session = _open_session(cell, work / "session", data, 0)
            assert session is not None
        try:
            _run(cell, session, data, done, path, told, report)
        finally:
            session.close()
        shutil.rmtree(work)


def _open_session(cell: Cell, folder: Path, data: Data, lines: int) -> Session | None:
    """Open the cell's session, or make it; None where it does not fit the lines on disk."""
    if not folder.exists():
        if lines:
            return None
        junk = JUNK in data.classes
        create_session(folder, data.source, data.classes, junk=junk, recipe=cell.plan.recipe, settings=cell.settings)
    session = Session(folder)
    if not lines <= len(session.rounds) <= lines + 1:
        session.close()
        return None
    if not session.labels() and not len(session.held_out):
        used = {row.item for row in data.labels}
        rest = [row for row, item in enumerate(session.pool.ids) if item not in used]
        if rest:
            session.hold_out(np.array(rest))
    return session


def _run(
    cell: Cell,
    session: Session,
    data: Data,
    done: list[Line],
    path: Path,
    told: Callable[[Line], None],
    report: Report | None,
) -> None:
    if any(line["data"] != data.fingerprint for line in done):
        raise TomoTutorError(f"{path}: made with other data than this; choose another --out, or move it away")
    budgets = [len(data.labels)] if cell.method == REFERENCE else cell.plan.budgets
    test = open_pool(data.test_source.replace(mean=tuple(session.pool.mean_C), std=tuple(session.pool.std_C)))
    answers, measure_model = (
        _mask_truth(session, test, report) if data.masks else _class_truth(cell, session, test, data, report)
    )
    before = {row for line in done for row in line["picked"]}

    def answer(labels: int) -> None:
        answers(labels)
        # a round ranks for the query that follows it, and these may differ in size
        session.set_recipe(session.recipe.replace(query_size=cell.queries[budgets.index(labels)]))

    for number in play(session, budgets, answer, report):
        if number <= len(done):
            continue
        clock = time.perf_counter()
        found = measure_model(number)
        measured = time.perf_counter() - clock - found.get("deeper", {}).get("seconds", 0.0)
        seconds = {**session.rounds[-1].record["metrics"]["seconds"], "measure": measured}
        labels = session.labels()
        picked = [row for row in labels if row not in before]
        before.update(picked)
        line = {
            **_trace(cell, session, data),
            "round": number,
            "labels": len(labels),
            **found,
            "seconds": seconds,
            "picked": picked,
        }
        if not data.masks:
            line["labels_per_class"] = [Counter(labels.values())[name] for name in session.classes]
        append_line(path, line)
        told(line)


def _class_truth(cell: Cell, session: Session, test: Pool, data: Data, report: Report | None) -> Annotator:
    truth_N = oracle.truth_of(session.pool.ids, data.labels, session.classes, data.source.path)
    test_truth_N = oracle.truth_of(test.ids, data.test_labels, session.classes, data.test_source.path)

    def measure_model(number: int) -> Line:
        left = cell.trainings - number
        found = measure.measure_round(session, truth_N, test, test_truth_N, report)
        for name in cell.experiment.probes:
            found |= measure.PROBES[name](session, truth_N, left, report)
        if not left and cell.experiment.deeper:
            found |= measure.train_deeper(session, truth_N, test, test_truth_N, cell.experiment.deeper, report)
        return found

    return lambda labels: oracle.answer(session, truth_N, labels), measure_model


def _mask_truth(session: Session, test: Pool, report: Report | None) -> Annotator:
    truth = mask_oracle.read_truth(session, session.pool, "y")
    test_truth = mask_oracle.read_truth(session, test, "y")
    return (
        lambda labels: mask_oracle.answer(session, truth, labels),
        lambda number: measure.measure_masks(session, truth, test, test_truth, report),
    )


def _trace(cell: Cell, session: Session, data: Data) -> Line:
    """Return what every line tells of where it comes from."""
    record, here = session.rounds[-1].record, machine()
    return {
        "experiment": cell.name,
        "scale": cell.scale,
        "method": cell.method,
        "seed": cell.seed,
        "rounds": cell.trainings,
        "named": list(cell.experiment.named),
        "asked": cell.asked,
        "recipe": record["recipe"],
        "data": data.fingerprint,
        "pool": len(data.labels),
        "test": len(data.test_labels),
        "classes": list(session.classes),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {**record["versions"], "numpy": np.__version__},
        "commit": commit(),
        "compute": record["compute"],
        "machine": {key: here[key] for key in ("processor", "cpu_capability", "gpu")},
    }
