"""Rounds of a session: what a training is given, what it is held against, and how its result is taken into use."""

from __future__ import annotations

import datetime
import logging
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tomotutor
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Pool
from tomotutor.learn import start
from tomotutor.learn.recipe import Recipe
from tomotutor.session import audit
from tomotutor.session.database import Database, RoundRecord
from tomotutor.session.labels import Labels
from tomotutor.session.round_folder import RoundScores, has_weights, read_scores, round_folder, write_round
from tomotutor.session.state import State

if TYPE_CHECKING:  # torch takes seconds to import, and a person should see the screen first
    from tomotutor.base.progress import Report
    from tomotutor.learn.compute import Compute
    from tomotutor.learn.round import RoundResult, RoundView

log = logging.getLogger(__name__)

IN_USE = "round in use"  # where the database keeps the round that a person went back to


@dataclass(frozen=True)
class Frozen:
    """What a round was given, and what the session was then.

    Attributes
    ----------
    view : RoundView
        All that the round sees.
    recipe : Recipe
        In force when it began.
    labels : Labels
        The kind of label, with the classes of then.
    log : int
        Last entry of the label log.
    """

    view: RoundView
    recipe: Recipe
    labels: Labels
    log: int


def now() -> str:
    """Return UTC time, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def start_folder(recipe: Recipe, folder: Path) -> Path | None:
    """Return the folder of a session's start, None where it starts from scratch."""
    return folder / start.FOLDER if recipe.network.start == "pretrained" else None


def in_use(database: Database, records: list[RoundRecord]) -> int:
    """Return the number of the round whose model is in use: the last one, unless a person went back to another."""
    last = records[-1].number if records else 0
    text = database.meta(IN_USE, "")
    chosen = int(text) if text.isdecimal() and len(text) < 10 else 0
    return chosen if any(r.number == chosen for r in records) else last


def take_scores(state: State, folder: Path) -> str:
    """Read the scores of the round in use into the state; return a sentence where they are lost, else ""."""
    state.scores = None
    record = state.record
    if record is None:
        return ""
    try:
        scores = read_scores(folder, record.number, len(state.ids))
    except TomoTutorError as problem:
        return f"{problem}; until then nothing is known of the model of round {record.number}"
    names = record.record.get("classes", state.first_classes)
    if scores.teacher_probs_NC.shape[1] != len(names):
        return f"{round_folder(folder, record.number)}: made for other classes; the labels are safe: train anew"
    number_C = state.classes.today(names, record.record.get("log", 0))
    state.scores = scores.renumbered(number_C, len(state.classes.names))
    return ""


def freeze(state: State, pool: Pool, folder: Path) -> Frozen:
    """Return all that the next round sees."""
    from tomotutor.learn.round import RoundView

    recipe, labels = state.recipe, state.trainable()
    rows = np.array(sorted(labels), dtype=np.int64)
    open_rows = state.open_rows(state.next_number)
    candidates = open_rows[: recipe.query.candidate_factor * recipe.query.query_size]
    # audit items that may be asked before the next round, and the check items answered so far
    coming = [row for row in state.audit_kind if row not in state.log.standing][: len(candidates)]
    checked = [row for row, kind in state.audit_kind.items() if kind == "check" and row in state.log.standing]
    view = RoundView(
        number=state.next_number,
        pool=pool,
        classes=len(state.classes.names),
        train_rows=rows,
        train_labels=state.labels.targets([labels[int(row)] for row in rows]),
        labels=len(state.log.labels()),
        candidate_rows=candidates,
        other_rows=np.array([*coming, *checked], dtype=np.int64),
        weights=_weights(state, folder),
        open_rows=open_rows,
        folder=folder,
        start=start_folder(recipe, folder),
    )
    return Frozen(view, recipe, state.labels, state.log.active[-1].seq if state.log.active else 0)


def _weights(state: State, folder: Path) -> Path | None:
    """Return the folder of weights that the next round may go on from: of networks that began as its own will, for the
    same classes; None where there are none that can be read.
    """
    record = state.record
    if record is None or record.record["recipe"].get("start", "scratch") != state.recipe.network.start:
        return None
    names = record.record.get("classes", state.first_classes)
    if state.classes.today(names, record.record.get("log", 0)) != list(range(len(state.classes.names))):
        return None
    found = round_folder(folder, record.number)
    if not has_weights(found):
        log.warning("%s: its weights cannot be read; the next training begins from the session's start", found)
        return None
    return found


def compare_start(
    state: State, frozen: Frozen, result: RoundResult, compute: Compute, report: Report
) -> tuple[dict[str, int], bool]:
    """Hold a pretrained start against scratch on the check items answered so far, whenever their number has doubled.

    Returns
    -------
    dict
        n, and how many each has right; empty where it was not time for it.
    bool
        Whether scratch is better.
    """
    recipe, names = frozen.recipe, frozen.labels.classes.names
    labels = {row: name for row, name in state.given().items() if name in names}
    checked = [row for row, kind in state.audit_kind.items() if kind == "check" and row in labels]
    rows = np.intersect1d(np.array(checked, np.int64), result.scored_rows)
    before = max((r.record["metrics"].get("start_check", {}).get("n", 0) for r in state.rounds), default=0)
    if recipe.network.start != "pretrained" or len(rows) < max(audit.LEAST_CHECKS, 2 * before):
        return {}, False
    from tomotutor.learn.round import predict_from_scratch

    truth_N = frozen.labels.targets([labels[int(row)] for row in rows])
    holder_N = result.teacher_probs_NC[np.searchsorted(result.scored_rows, rows)].argmax(1) == truth_N
    challenger_N = predict_from_scratch(frozen.view, recipe.from_scratch(), compute, rows, report) == truth_N
    found = {"n": len(rows), "pretrained": int(holder_N.sum()), "scratch": int(challenger_N.sum())}
    return found, audit.is_better(challenger_N, holder_N)


def write(
    state: State,
    database: Database,
    folder: Path,
    frozen: Frozen,
    result: RoundResult,
    compute: Compute,
    start_check: dict[str, int],
) -> tuple[RoundRecord, dict[int, str]]:
    """Put a round on disk, then in the database; return its record and what it predicts for audit items."""
    import torch

    view, names = frozen.view, frozen.labels.classes.names
    metrics: dict[str, Any] = {
        "seconds": result.seconds,
        "trained_on": len(view.train_rows),
        "candidates": len(view.candidate_rows),
        **result.metrics,
    }
    if start_check:
        metrics["start_check"] = start_check
    traces = {
        "recipe": frozen.recipe.flat(),
        "classes": list(names),
        "log": frozen.log,
        "shape": list(view.pool.shape),
        "voxel_size_angst": view.pool.voxel_size_angst,
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
    write_round(folder, view.number, result.pair.parts(), scores, traces)
    best = result.teacher_probs_NC.argmax(1)
    predicted = {int(r): names[b] for r, b in zip(result.scored_rows, best, strict=True) if int(r) in state.audit_kind}
    record = RoundRecord(view.number, now(), view.labels, traces)
    database.add_round(record, predicted)
    if database.meta(IN_USE, ""):
        database.set_meta(IN_USE, "")
    database.keep_copy(record.number)
    return record, predicted
