"""`bench answers`: which rule asks best, whether doubts find wrong labels, and whether intervals hold the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.benchmark.answers import (
    COLD,
    GROUPS,
    Embedded,
    Session,
    by_page,
    decisions_to,
    embed_set,
    one_by_one,
    play,
    write,
)
from tomotutor.learn.doubts import find_doubts
from tomotutor.learn.estimate import FOLDS, estimate
from tomotutor.learn.groups import find_groups
from tomotutor.learn.head import Head, fit_head
from tomotutor.learn.results import Answers
from tomotutor.oracle.pages import TARGETS, look_alikes

SETS = ("tomograms", "heldout/train", "simulated/train", "noise/train")
RULES = (
    "page",  # what does not belong is named
    "page, strays left",
    "uherding",
    "margin",
    "tcm",
    "margin_cluster",
    "drop_query",
    "badge",
    "pair_badge",
    "max_herding+margin",
)
BUDGET = 90  # decisions
ERROR = 0.05
DOUBTED = 200  # labels of the doubts check, of which a share ERROR is wrong
SHARE = 8  # one label in so many is of a particle drawn at random, every other one of these a check particle
BUDGETS = (20, 40, 80)  # labels at which the estimate is held against the truth
STEP = 4  # labels of smallest margin between two fits there
Line = dict[str, Any]


def steps_of(rule: str) -> Callable[[Session], Iterator[None]]:
    """Return how a session goes: "page", "page, strays left", a rule, or COLD+RULE."""
    if rule.startswith("page"):
        return lambda session: by_page(session, BUDGET, strays_named=rule == "page")
    cold, _, then = rule.rpartition("+")
    return lambda session: one_by_one(session, then, BUDGET, cold or "typical")


def decisions(data: Embedded, rule: str, seed: int, error: float) -> Line:
    """Play one session."""
    curve = play(Session(data.part(seed), seed, error), steps_of(rule))
    reached = {f"to_{target}": decisions_to(curve, target) for target in TARGETS}
    return {"kind": "decisions", "set": data.name, "rule": rule, "seed": seed, "error": error, **reached}


def doubts(data: Embedded, seed: int, look_alike: bool) -> Line:
    """Flip some of many labels; return the share of them in the first tenth of the list."""
    rng = np.random.default_rng([seed, 0xA47])
    classes = len(data.classes)
    rows = rng.permutation(len(data.truth_N))[:DOUBTED]
    label_L = data.truth_N[rows].copy()
    wrong = rng.permutation(len(rows))[: round(ERROR * len(rows))]
    if look_alike:
        label_L[wrong] = look_alikes(data.teacher_ND, data.truth_N, len(data.classes))[rows[wrong]]
    else:
        label_L[wrong] = (label_L[wrong] + rng.integers(1, classes, len(wrong))) % classes
    found = find_doubts(*(fit_head(x, rows, label_L, classes) for x in (data.teacher_ND, data.student_ND)))
    share = float(np.isin(rows[wrong], found.rows[: len(rows) // 10]).mean())
    return {"kind": "doubts", "set": data.name, "look_alike": look_alike, "seed": seed, "found": share}


def estimates(whole: Embedded, seed: int) -> Iterator[Line]:
    """Play a session by margin with check particles; hold the estimate against the truth at some numbers of labels."""
    data = whole.part(seed)
    n, classes = len(data.truth_N), len(data.classes)
    audit = np.random.default_rng([seed, 0xA48]).permutation(n)[: n // SHARE]
    check, drawn = audit[::2], audit[1::2]
    open_N = ~np.isin(np.arange(n), audit)
    groups = find_groups(data.teacher_ND, np.arange(n), GROUPS, seed)  # of all rows, in their order
    rows = [int(row) for row in groups.typical() if open_N[row]][:COLD]
    open_N[rows] = False
    for budget in BUDGETS:
        audited = budget // SHARE
        checked, random = check[: (audited + 1) // 2], drawn[: audited // 2]
        while len(rows) < budget - audited:
            told = np.concatenate([rows, random]).astype(np.int64)
            head = fit_head(data.teacher_ND, told, data.truth_N[told], classes, temperature=1.0)
            top_N2 = np.sort(head.probs(data.teacher_ND), axis=1)[:, -2:]
            gap_N = np.where(open_N, top_N2[:, 1] - top_N2[:, 0], np.inf)
            rows += np.argsort(gap_N)[: min(STEP, budget - audited - len(rows))].tolist()
            open_N[rows] = False
        labeled = np.concatenate([rows, random]).astype(np.int64)
        head, student = _fit(data, labeled, classes)
        told = np.concatenate([labeled, checked])
        probs_NC = head.probs(data.teacher_ND)
        class_N, labeled_N = probs_NC.argmax(1), np.isin(np.arange(n), told)
        class_N[told] = data.truth_N[told]
        answers = Answers(class_N, probs_NC.max(1), np.zeros(n), labeled_N, "head", 1)
        found = estimate(
            head,
            student,
            data.teacher_ND,
            data.student_ND,
            answers,
            group_N=groups.group_N,
            check_rows=checked,
            check_label=data.truth_N[checked],
        )
        line = {"kind": "estimate", "set": data.name, "seed": seed, "labels": budget}
        yield {**line, "truth": float((class_N == data.truth_N).mean()), **_rounded(found.share, found.low, found.high)}


def _rounded(share: float, low: float, high: float) -> Line:
    return {"share": round(share, 4), "low": round(low, 4), "high": round(high, 4)}


def _fit(data: Embedded, rows: np.ndarray, classes: int) -> list[Head]:
    rows = rows.astype(np.int64)
    both = (data.teacher_ND, data.student_ND)
    return [fit_head(x_ND, rows, data.truth_N[rows], classes, folds=FOLDS) for x_ND in both]


def run(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[Line], None]) -> list[Line]:
    """Run everything on the sets of a data folder; write answers.jsonl and answers.md.

    Parameters
    ----------
    data : Path
        Folder with some of the sets tomograms, heldout/train, simulated/train, noise/train, as
        docs/benchmarks/start_data.sh makes the last three.
    out : Path
        Folder for the results and for the embeddings, which are made once.
    seeds : sequence of int
        Sessions; doubts and estimates are tried with four seeds for each of these.
    tell : callable
        Called with each result.
    """
    names = [name for name in SETS if (data / name).is_dir()]
    if not names:
        raise TomoTutorError(
            f"{data}: found none of the sets {', '.join(SETS)}; docs/benchmarks/start_data.sh makes them"
        )
    lines: list[Line] = []

    def keep(line: Line) -> None:
        lines.append(line)
        tell(line)

    many = [4 * seed + k for seed in seeds for k in range(4)]
    for whole in [embed_set(data, name, out) for name in names]:
        for seed in many:
            for look_alike in (False, True):
                keep(doubts(whole, seed, look_alike))
            for line in estimates(whole, seed):
                keep(line)
        for error in (0.0, ERROR):
            for rule in RULES if not error else RULES[:4]:
                for seed in seeds:
                    keep(decisions(whole, rule, seed, error))
        write(out, "answers", lines, report(lines))
    return lines


def report(lines: Sequence[Line]) -> str:
    """Return the tables as Markdown."""
    parts = ["# Answers of the fast head\n\nMade by `tomotutor bench answers` from [answers.jsonl](answers.jsonl).\n"]
    played = [line for line in lines if line["kind"] == "decisions"]
    for error in sorted({line["error"] for line in played}):
        who = f"a person who errs in {error:.0%}" if error else "a person without errors"
        parts.append(f"## Decisions of {who}\n\nMedian to 0.95 / to 0.99 of the answers right.\n")
        parts.append(_table(played, error))
    parts.append(f"## Wrong labels among the first tenth of the doubts\n\n{ERROR:.0%} of {DOUBTED} labels are wrong.\n")
    parts.append(_rows(("set", "taken for", "mean", "least", "n"), _doubts(lines)))
    parts.append("## 95 % intervals of the share of right answers\n")
    parts.append(_rows(("set", "labels", "truth", "hold it", "median width", "mean error", "n"), _estimates(lines)))
    return "\n".join(parts)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def _table(played: Sequence[Line], error: float) -> str:
    here = [line for line in played if line["error"] == error]
    sets, rules = (list(dict.fromkeys(line[key] for line in here)) for key in ("set", "rule"))

    def cell(name: str, rule: str) -> str:
        found = [line for line in here if (line["set"], line["rule"]) == (name, rule)]
        return " / ".join(_median([line[f"to_{target}"] for line in found]) for target in TARGETS)

    return _rows(("rule", *sets), [(rule, *(cell(name, rule) for name in sets)) for rule in rules])


def _median(found: Sequence[int | None]) -> str:
    """Return the median, sessions that do not get there counted as beyond the budget."""
    if not found:
        return ""
    middle = float(np.median([BUDGET + 1 if value is None else value for value in found]))
    return f"> {BUDGET}" if middle > BUDGET else f"{middle:g}"


def _doubts(lines: Sequence[Line]) -> list[list[str]]:
    groups: dict[tuple[str, bool], list[float]] = {}
    for line in lines:
        if line["kind"] == "doubts":
            groups.setdefault((line["set"], line["look_alike"]), []).append(line["found"])
    return [
        [name, "a look-alike" if alike else "any class", f"{np.mean(v):.2f}", f"{min(v):.2f}", str(len(v))]
        for (name, alike), v in groups.items()
    ]


def _estimates(lines: Sequence[Line]) -> list[list[str]]:
    groups: dict[tuple[str, int], list[Line]] = {}
    for line in lines:
        if line["kind"] == "estimate":
            groups.setdefault((line["set"], line["labels"]), []).append(line)
    rows = []
    for (name, labels), found in groups.items():
        hold = np.mean([line["low"] <= line["truth"] <= line["high"] for line in found])
        width = np.median([line["high"] - line["low"] for line in found])
        error = np.mean([line["share"] - line["truth"] for line in found])
        truth = np.mean([line["truth"] for line in found])
        rows.append(
            [name, str(labels), f"{truth:.3f}", f"{hold:.2f}", f"{width:.3f}", f"{error:+.3f}", str(len(found))]
        )
    return rows
