"""Labels that were given many at once: what the single, blind answers say of them. Plain values, no Qt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomotutor.session import Session
from tomotutor.session.audit import AuditFigure
from tomotutor.session.bulk import is_bulk


@dataclass(frozen=True)
class BulkStep:
    """Labels that were given together.

    Attributes
    ----------
    number : int
        The step.
    what : str
        Its labels, in words.
    rows : ndarray
        Pool rows of those that still stand.
    asked, answered, against : int
        How many are asked again, how many of these have their single answer, and how many answers contradict the step.
    """

    number: int
    what: str
    rows: np.ndarray
    asked: int
    answered: int
    against: int


def bulk_steps(session: Session) -> list[BulkStep]:
    """Return all steps that labeled many at once, the newest in front."""
    state = session.state
    rows, names = dict[int, list[int]](), dict[int, Counter[str]]()
    for entry in list(state.log.active):
        if is_bulk(entry):
            rows.setdefault(entry.of_step, []).append(entry.item)
            names.setdefault(entry.of_step, Counter())[str(state.name_of(entry))] += 1
    asked = Counter(one.step for one in state.rechecks)
    told = {one.step: one for one in session.bulk_figures()}
    return [
        BulkStep(
            number,
            ", ".join(f"{count} {name}" for name, count in names[number].most_common()),
            np.array(rows[number], np.int64),
            asked[number],
            told[number].n if number in told else 0,
            told[number].against if number in told else 0,
        )
        for number in sorted(rows, reverse=True)
    ]


def wrong_share(answered: int, against: int) -> str:
    """Return the 95 % interval (Wilson) of the share of wrong labels, "–" where nothing was answered."""
    interval = AuditFigure(answered - against, answered, 0).interval
    return "–" if interval is None else f"{100 * (1 - interval[1]):.0f}–{100 * (1 - interval[0]):.0f} %"


def contradicted(steps: Sequence[BulkStep]) -> str:
    """Return how many labels of all steps were contradicted by single, blind answers; "" before one was answered."""
    answered, against = sum(one.answered for one in steps), sum(one.against for one in steps)
    if not sum(one.asked for one in steps):
        return ""
    if not answered:
        return ""
    said = f"{against} of {answered} that were asked again singly {'says' if against == 1 else 'say'} otherwise"
    return f"labels given many at once: {said}, so {wrong_share(answered, against)} of them are wrong"
