"""`bench between`: what answers best between rounds and right after them, in real sessions with real rounds.

A session on a set is played by a person who does not err: typical items, a round, items that the head asks for, a
round, and so on. At each number of labels the answers of three are held against the truth: the last round's model
(half turns, labels kept), the head on that round's embedding with all labels, and the mean of both's probabilities.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.files import new_file
from tomotutor.base.progress import Report, ignore
from tomotutor.benchmark.data import find_set
from tomotutor.oracle import classes as oracle
from tomotutor.session import Session
from tomotutor.session.create import create_session

SETS = ("tomograms", "heldout/train", "simulated/train")
ROUNDS = (20, 40)  # labels at which a round is trained
BETWEEN = (30, 40, 50, 60)  # labels at which the three are compared besides
ANSWERERS = ("model", "head", "mean")
Line = dict[str, Any]


def measure(session: Session, truth_N: np.ndarray, deep_NC: np.ndarray) -> Line:
    """Return the accuracy of the whole pool by each of the three, labels kept; `deep_NC` are the model's answers."""
    session.refresh_answers()
    fitted = session.answering.fitted
    assert fitted is not None
    head_NC = fitted.teacher.probs(fitted.embedding.teacher_ND)
    known = truth_N != oracle.UNKNOWN
    given = session.labels()
    found = {}
    for name, probs_NC in zip(ANSWERERS, (deep_NC, head_NC, (deep_NC + head_NC) / 2), strict=True):
        class_N = probs_NC.argmax(1)
        class_N[list(given)] = [session.classes.index(label) for label in given.values()]
        found[name] = round(float((class_N[known] == truth_N[known]).mean()), 4)
    return {"labels": len(given), **found}


def play(
    data: Path,
    name: str,
    seed: int,
    folder: Path,
    told: Callable[[Line], None],
    *,
    settings: Mapping[str, str] | None = None,
    report: Report = ignore,
) -> None:
    """Play one session and tell a line at each number of labels; `settings` are changed in the app's recipe."""
    source, labels = find_set(data, name)
    shutil.rmtree(folder, ignore_errors=True)
    names = sorted({row.label for row in labels} - {"junk"})
    own = {"seed": str(seed), "audit_share": "0", "initial_size": "20", "query_size": "20", **(settings or {})}
    made = create_session(folder, source, names, settings=own, report=report)
    with Session(folder, opened=made.opened) as session:
        session.map_pool(report)
        deep_NC = np.zeros((0, 0))
        truth_N = oracle.truth_of(session.ids, labels, session.classes, name)
        for labels_wanted in sorted({*ROUNDS, *BETWEEN}):
            oracle.answer(session, truth_N, labels_wanted)
            line = {"set": name, "seed": seed, "round": session.status.round}
            if session.rounds:
                told({**line, **measure(session, truth_N, deep_NC)})
            if labels_wanted in ROUNDS:
                session.run_round(report)
                deep_NC = session.model.today(session.model.score(session.pool, report)).teacher_probs_NC
                line["round"] = session.status.round
                told({**line, **measure(session, truth_N, deep_NC)})


def run(data: Path, out: Path, seeds: Sequence[int], told: Callable[[Line], None], sets: Sequence[str] = SETS) -> None:
    """Play each set and seed that has no lines yet; write the lines and a table."""
    path = out / "between.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.is_file() else []
    for seed in seeds:
        for name in sets:
            if not any((line["set"], line["seed"]) == (name, seed) for line in lines):
                new: list[Line] = []
                play(data, name, seed, out / f"session-{name.replace('/', '-')}-{seed}", new.append)
                lines += new
                with new_file(path) as partial:
                    partial.write_text("".join(json.dumps(line) + "\n" for line in lines))
                for line in new:
                    told(line)
                shutil.rmtree(out / f"session-{name.replace('/', '-')}-{seed}", ignore_errors=True)
    with new_file(out / "between.md") as partial:
        partial.write_text(table(lines))


def table(lines: Sequence[Line]) -> str:
    """Return the mean accuracy of each, and of how many seeds the head was ahead of the model, as Markdown."""
    rows = [
        "| set | after round | labels | model | head | mean | seeds | head ahead |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = sorted({(line["set"], line["round"], line["labels"]) for line in lines})
    for key in keys:
        some = [line for line in lines if (line["set"], line["round"], line["labels"]) == key]
        means = " | ".join(f"{np.mean([line[name] for line in some]):.3f}" for name in ANSWERERS)
        ahead = sum(line["head"] > line["model"] for line in some)
        behind = sum(line["head"] < line["model"] for line in some)
        rows.append(f"| {key[0]} | {key[1]} | {key[2]} | {means} | {len(some)} | {ahead} (behind {behind}) |")
    return "\n".join(rows) + "\n"
