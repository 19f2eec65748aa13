"""One line under the item: why it is asked, and what is known of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy

from tomotutor.gui.notice import Notice
from tomotutor.session import Session
from tomotutor.session.status import ItemView

BLIND = "what the program says is hidden until you answer"
_SURE = 0.9  # confidence from which a label that contradicts the prediction is remarked on


class Opinion:
    """Two lines of a session's item: what it is called, and why it is asked.

    Parameters
    ----------
    session : Session
        The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.title, self.reason = QLabel(), Notice()
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.title.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # a long id pushes nothing

    def show(self, item: ItemView | None, early: Any) -> None:
        """Show an item; `early` is the map of the pool before the first round, else None."""
        session, answers = self._session, self._session.answers
        is_blind = item is not None and item.reason == BLIND
        share = None if item is None or answers is None or is_blind else less_disputed(answers.disagreement_N, item.row)
        self.title.setText(describe(item))
        self.title.setToolTip(describe(item))
        has_model = bool(session.rounds) or answers is not None
        self.reason.say(reason(item, has_model=has_model, pool_map=early, less_disputed=share))
        self.reason.setToolTip(measured(item, masks=not session.one_class))


def describe(item: ItemView | None) -> str:
    """Return the title of an item, as rich text without the fold that its id may need."""
    if item is None:
        return "every item has an answer"
    notes = []
    if item.label:
        notes.append("has a mask" if item.label.endswith(".png") else f"labeled {item.label}")
    elif item.action:
        notes.append("unsure" if item.action == "unsure" else "skipped before")
    if item.is_audit:
        notes.append("check particle")
    if item.padded:
        notes.append("box leaves the tomogram")
    return " · ".join([item.id, *notes])


def reason(item: ItemView | None, *, has_model: bool, pool_map: Any = None, less_disputed: float | None = None) -> str:
    """Return what the networks say of an item in a line; where there is no model yet, its group on the pool map.
    `less_disputed` is the share of the pool on which the networks differ less.
    """
    if item is None:
        return "nothing left to label"
    hidden = item.is_audit and item.label is None
    if has_model:
        if hidden:
            return "check particle: the prediction is hidden until you answer"
        share = "" if item.disagreement is None else f"disagreement {item.disagreement:.3f}"
        if less_disputed is not None:
            share = f"more disputed than {100 * less_disputed:.0f}\N{NO-BREAK SPACE}% of all"
        return " · ".join(part for part in (item.reason, share) if part) or "not scored in this round"
    if item.reason and not hidden:
        return item.reason
    group = None if pool_map is None else pool_map.group(item.row)
    if group is None:
        return "no model yet: it comes after the first training"
    if hidden:
        return "no model yet · check particle: its look-alikes are hidden until you answer"
    return f"no model yet · look-alikes: group {group + 1} of {pool_map.group_N.max() + 1}"


def blind(item: ItemView) -> ItemView:
    """Return an item of which nothing is told until it is answered, as of a check particle."""
    return dataclasses.replace(item, teacher_probs=(), student_probs=(), disagreement=None, reason=BLIND)


def less_disputed(disagreement_N: np.ndarray, row: int) -> float | None:
    """Return the share of all known items on which the networks differ less than on this one; None where unknown."""
    if row >= len(disagreement_N) or np.isnan(disagreement_N[row]):
        return None
    known = disagreement_N[np.isfinite(disagreement_N)]
    return float((known < disagreement_N[row]).mean())


def contradiction(session: Session, item: ItemView, class_name: str) -> str:
    """Return what to say of a label that contradicts a prediction that is sure; "" where it does not."""
    answers = session.answers
    if answers is None or answers.labeled_N[item.row] or answers.confidence_N[item.row] < _SURE:
        return ""
    predicted = int(answers.class_N[item.row])
    if not 0 <= predicted < len(session.classes) or session.classes[predicted] == class_name:
        return ""
    sure = f"{100 * answers.confidence_N[item.row]:.0f} % sure of {session.classes[predicted]}"
    return f"{item.id} is labeled {class_name}; the model is {sure}"


def measured(item: ItemView | None, *, masks: bool) -> str:
    """Return the disagreement itself, with its unit; "" where it is unknown or hidden."""
    if item is None or item.disagreement is None:
        return ""
    return f"disagreement {item.disagreement:.3f} {'(mean squared)' if masks else 'nats'}"
