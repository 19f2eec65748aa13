"""Many items at once: what a bulk step labels, what it passes over, and whom a check of a class asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.results import Answers
from tomotutor.session import bulk, rounds
from tomotutor.session.core import Core
from tomotutor.session.state import State

if TYPE_CHECKING:
    from tomotutor.learn.estimate import Purity


def label_each(core: Core, labels: Iterable[tuple[int, str]], origin: str, annotator: str) -> int:
    """Give many items a class each, in one transaction and one step of undo; return how many. The guard is held.

    Items of which nothing may be told, test items, and items whose single answer stands against an earlier step are
    passed over.
    """
    core.check_writable()
    state, at = core.state, rounds.now()
    if not state.labels.one_class or origin not in bulk.ORIGINS:
        origins = ", ".join(bulk.ORIGINS)
        raise TomoTutorError(f"{core.folder}: many items at once take a class, and come from {origins}")
    passed = state.hidden() | set(np.flatnonzero(state.held_out_N).tolist()) | {one.row for one in state.rechecks}
    wanted = {int(state.twin_N[row]): name for row, name in labels if row not in passed}
    entries = [
        state.entry(at, row, "label", state.labels.encode(row, name, state.ids[row]), annotator, origin)
        for row, name in wanted.items()
    ]
    if entries:
        core.commit(entries, together=True)
    return len(entries)


def _known(core: Core, answers: Answers | None) -> Answers:
    if answers is None:
        raise TomoTutorError(
            f"{core.folder}: nothing is predicted yet; label items of two classes, and train where the session starts "
            "from scratch"
        )
    return answers


def predicted(core: Core, answers: Answers | None, rows: Iterable[int], min_confidence: float) -> list[tuple[int, str]]:
    """Return the rows without a label that have a prediction so confident, and its class."""
    found, names = _known(core, answers), core.state.classes.names
    return [
        (row, names[found.class_N[row]])
        for row in rows
        if found.class_N[row] >= 0 and not found.labeled_N[row] and found.confidence_N[row] >= min_confidence
    ]


def draw_check(core: Core, answers: Answers | None, name: str, threshold: float, n: int) -> int:
    """Draw n random predicted members of a class, at least so confident, to be asked blind; return how many."""
    core.check_writable()
    found, state = _known(core, answers), core.state
    seq = state.log.active[-1].seq if state.log.active else 0
    members = (found.class_N == state.classes.number(name)) & ~found.labeled_N & (found.confidence_N >= threshold)
    rows = np.intersect1d(np.flatnonzero(members), state.eligible())
    drawn = np.random.default_rng([core.recipe.seed, 0xC1A5, seq]).permutation(rows)[:n]
    check = bulk.ClassCheck(name, threshold, tuple(drawn.tolist()), seq)
    core.keep_class_checks([*state.class_checks, check])
    return len(drawn)


def class_purity(state: State, name: str) -> Purity:
    """Return the precision of the predictions of a class, from its members that were asked blind."""
    from tomotutor.learn.estimate import purity

    said = list[bool]()
    for check in state.class_checks:
        if state.classes.current(check.name, check.seq) == name:
            said += [state.name_of(entry) == name for entry in check.answers(state.log).values()]
    return purity(sum(said), len(said))
