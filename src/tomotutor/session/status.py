"""What a Session shows of itself: frozen results, free of torch and Qt."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from tomotutor.learn.results import PoolMap as PoolMap  # for the screen, which knows nothing of learn
from tomotutor.session.audit import AuditFigure


class Phase(enum.Enum):
    """What the trainer does."""

    IDLE = "idle"
    TRAINING = "training"
    CANCELLING = "cancelling"


@dataclass(frozen=True)
class ItemView:
    """One item as the screen shows it.

    Attributes
    ----------
    row : int
        Pool row.
    id : str
        Stable item id.
    label : str or None
        Its class, if it has one; in segmentation the file of its mask.
    action : str or None
        Last thing done with it: "label", "unsure", "skip" or None.
    is_audit : bool
        Whether its prediction stays hidden until it is answered.
    teacher_probs, student_probs : tuple of float
        By class, in segmentation its share of the image; empty where the model in use has not scored it, or must not
        tell yet.
    disagreement : float or None
        Disagreement of teacher and student, likewise.
    padded : bool
        Whether its box leaves the tomogram.
    rank : int or None
        Its place in the order of asking, from 0; None where it has none, or must not tell.
    number : float or None
        What that order is by.
    measure : str
        What the number is.
    reason : str
        Why it is asked, in words.
    overlaps : int
        How many other picks overlap it; as `padded`, 0 where the session was opened to look only.
    """

    row: int
    id: str
    label: str | None
    action: str | None
    is_audit: bool
    teacher_probs: tuple[float, ...]
    student_probs: tuple[float, ...]
    disagreement: float | None
    padded: bool
    rank: int | None = None
    number: float | None = None
    measure: str = ""
    reason: str = ""
    overlaps: int = 0


@dataclass(frozen=True)
class CurvePoint:
    """A round on the learning curve: labels given when it began, accuracy on audit items, and what else was measured of
    it.
    """

    round: int
    labels: int
    audit: AuditFigure
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Status:
    """Where a session stands; `since_round` of `due_at` labels were given since the last training."""

    items: int
    labeled: int
    unsure: int
    skipped: int
    counts: dict[str, int]
    round: int
    phase: Phase
    since_round: int
    due_at: int
    audit: AuditFigure
