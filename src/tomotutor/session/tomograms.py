"""What the canvas shows beside the item in front: its tomogram, what is known of the picks there, disputed items."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from tomotutor.data.sources.parent import Tomogram, open_tomogram
from tomotutor.learn.results import Answers
from tomotutor.session.core import Core


def tomogram_of(core: Core, row: int, *, denoised: bool = False) -> Tomogram | None:
    """Return the tomogram of an item, its rows those of the pool; None where the item was cut from none."""
    number = int(np.searchsorted(core.state.start_N, row, side="right")) - 1
    particles, first = core.opened[number].particles, int(core.state.start_N[number])
    if particles is None:
        return None
    found = open_tomogram(particles, row - first, denoised=denoised)
    return dataclasses.replace(found, rows=found.rows + first)


def crowded(tomogram: Tomogram, radius: float) -> np.ndarray:
    """Return which picks lie at most `radius` voxels from another one, (N,) bool."""
    from tomotutor.data.overlaps import overlapping

    group_N = overlapping(tomogram.zyx_N3, np.zeros(len(tomogram.rows), np.int64), radius)
    return np.bincount(group_N, minlength=len(group_N))[group_N] > 1


def shown_classes(core: Core, answers: Answers | None) -> tuple[np.ndarray, np.ndarray]:
    """Return what may be shown of every item: its class number, −1 where there is none or it must not be told yet,
    (N,), and whether a person said so, (N,) bool.
    """
    with core.guard:
        state = core.state
        class_N, labeled_N = np.full(len(state.ids), -1), np.zeros(len(state.ids), bool)
        if answers is not None and len(answers.class_N) == len(class_N):
            class_N = np.where(answers.labeled_N, -1, answers.class_N)  # labels may be newer
        elif state.scores is not None:
            class_N[state.scores.rows] = state.scores.teacher_probs_NC.argmax(1)
        class_N[sorted(state.hidden())] = -1
        given = state.given()
        class_N[list(given)] = [state.classes.number(name) for name in given.values()]
        labeled_N[list(given)] = True
        return class_N[state.twin_N], labeled_N[state.twin_N]


def disputed(core: Core, answers: Answers | None, most: int) -> np.ndarray:
    """Return rows without an answer, those first that teacher and student differ on most; none of which nothing may be
    told.
    """
    with core.guard:
        state = core.state
        if answers is not None and len(answers.class_N) == len(state.ids):
            rows = np.argsort(-answers.disagreement_N, kind="stable")
        elif state.scores is not None:
            rows = state.scores.rows[np.argsort(-state.scores.disagreement_N, kind="stable")]
        else:
            return np.zeros(0, np.int64)
        hidden, eligible = state.hidden(), set(state.eligible().tolist())
        found = (row for row in rows.tolist() if row in eligible and row not in hidden and state.is_open(row))
        return np.array(list(itertools.islice(found, most)), np.int64)
