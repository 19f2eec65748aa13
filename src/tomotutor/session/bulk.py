"""Many labels at once, honestly: some of each step are asked again, singly and blind, and that single label stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tomotutor.base.wilson import wilson
from tomotutor.session.label_log import Entry, LabelState

ORIGINS = ("selection", "group", "page", "similar", "accept")  # of labels that a person gave without seeing each item
ONE_IN = 20  # of a step, one item in so many is asked again, and one at least
CLASS_CHECKS = "class checks"  # where the database keeps what was drawn of classes
REVIEW = 0.05  # share of contradictions above which a step is offered for review


@dataclass(frozen=True)
class Recheck:
    """An item of a bulk step that is asked again.

    Attributes
    ----------
    step : int
        The step.
    row : int
        Pool row.
    bulk : Entry
        The label that the step gave it.
    single : Entry or None
        What was said of it afterwards, singly; None while it waits.
    """

    step: int
    row: int
    bulk: Entry
    single: Entry | None


def is_bulk(entry: Entry) -> bool:
    """Whether a label was given together with others."""
    return entry.action == "label" and entry.origin in ORIGINS


def rechecks(log: LabelState, seed: int) -> list[Recheck]:
    """Return the items of all bulk steps that are asked again, in the order of the steps.

    Which they are is drawn from the seed and the step, so that the log alone tells it.
    """
    steps: dict[int, list[Entry]] = {}
    for entry in log.active:
        if is_bulk(entry):
            steps.setdefault(entry.of_step, []).append(entry)
    found = []
    for step, entries in steps.items():
        rng = np.random.default_rng([seed, 0xB17C, step])
        for k in rng.permutation(len(entries))[: max(1, round(len(entries) / ONE_IN))].tolist():
            bulk = entries[k]
            later = [e for e in log.standing[bulk.item] if e.seq > bulk.seq]
            if later and is_bulk(later[-1]):
                continue  # another step said something else of it since
            single = next((e for e in later if e.action != "skip"), None)
            found.append(Recheck(step, bulk.item, bulk, single))
    return found


@dataclass(frozen=True)
class StepFigure:
    """How a bulk step stood up to being asked again.

    Attributes
    ----------
    step : int
        The step.
    labels : int
        Labels that it gave and that still stand.
    against, n : int
        Contradictions, of so many that were asked again.
    low, high : float
        Wilson's 95 % interval of the share of wrong labels.
    """

    step: int
    labels: int
    against: int
    n: int
    low: float
    high: float

    @property
    def needs_review(self) -> bool:
        """Whether so many were contradicted that the step should be looked at."""
        return self.n > 0 and self.against > REVIEW * self.n


def figures(log: LabelState, found: Iterable[Recheck], name_of: Callable[[Entry], str | None]) -> list[StepFigure]:
    """Return the figure of each bulk step of which something was asked again."""
    labels: dict[int, int] = {}
    for entry in log.active:
        if is_bulk(entry):
            labels[entry.of_step] = labels.get(entry.of_step, 0) + 1
    told: dict[int, list[bool]] = {}
    for one in found:
        if one.single is not None:
            told.setdefault(one.step, []).append(name_of(one.single) != name_of(one.bulk))
    figures = []
    for step, wrong in told.items():
        figures.append(StepFigure(step, labels[step], sum(wrong), len(wrong), *wilson(sum(wrong), len(wrong))))
    return figures


@dataclass(frozen=True)
class ClassCheck:
    """Predicted members of a class, drawn at random, that are asked singly and blind.

    Attributes
    ----------
    name : str
        The class, as it was called then.
    threshold : float
        Least confidence of those that were drawn from.
    rows : tuple of int
        Whom to ask.
    seq : int
        Last entry of the log when they were drawn.
    """

    name: str
    threshold: float
    rows: tuple[int, ...]
    seq: int

    def to_dict(self) -> dict[str, object]:
        """Return plain values, for the database."""
        return {"name": self.name, "threshold": self.threshold, "rows": list(self.rows), "seq": self.seq}

    @staticmethod
    def from_dict(values: object, items: int) -> ClassCheck:
        """Read plain values back, of a session with so many items; ValueError where they are something else."""
        match values:
            case {"name": str(name), "threshold": float() | int() as threshold, "rows": list(rows), "seq": int(seq)}:
                if all(type(row) is int and 0 <= row < items for row in rows):
                    return ClassCheck(name, float(threshold), tuple(rows), seq)
        raise ValueError("what was drawn of a class is not whole")

    def answers(self, log: LabelState) -> dict[int, Entry]:
        """Return what was said of its members since."""
        said = {row: [e for e in log.standing.get(row, ()) if e.seq > self.seq] for row in self.rows}
        return {row: entries[-1] for row, entries in said.items() if entries and entries[-1].action != "skip"}


def read_checks(text: str, items: int) -> list[ClassCheck]:
    """Read what was drawn of classes as the database keeps it; ValueError where it is damaged."""
    try:
        found = json.loads(text)
    except RecursionError as problem:
        raise ValueError(problem) from None
    if not isinstance(found, list):
        raise ValueError("what was drawn of classes is no list")
    return [ClassCheck.from_dict(values, items) for values in found]
