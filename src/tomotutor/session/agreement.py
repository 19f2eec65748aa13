"""How far two persons agree: labels of another beside those of a session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.session.session import Session


@dataclass(frozen=True)
class Agreement:
    """Labels of another person beside those of a session.

    Attributes
    ----------
    labels : int
        Labels of the other.
    both : int
        Items that both have labeled.
    same : int
        Those of them that have the same class.
    kappa : float
        Cohen's κ of these, nan where it is undefined: agreement beyond chance, 1 for all.
    rows : ndarray
        Pool rows on which they differ.
    new : tuple
        Labels of items that have none in the session, as `Session.import_labels` takes them.
    """

    labels: int
    both: int
    same: int
    kappa: float
    rows: np.ndarray
    new: tuple[tuple[str, Any, str], ...]

    def describe(self) -> str:
        """Return it in a sentence."""
        if not self.both:
            return f"{self.labels:,} labels, none of them of a particle that has a label here"
        kappa = "" if np.isnan(self.kappa) else f", Cohen's κ {self.kappa:.2f}"
        share = f"{self.same:,} of {self.both:,} ({100 * self.same / self.both:.0f} %) agree{kappa}"
        return f"{self.labels:,} labels; of particles that have a label here, too, {share}; {len(self.new):,} are new"


def compare(session: Session, labels: Iterable[tuple[str, Any, str]]) -> Agreement:
    """Hold labels of another person against those of a session of classes; nothing is changed.

    Parameters
    ----------
    session : Session
        The session.
    labels : iterable of tuple
        Item id, class and annotator, as `tomotutor.export.lists.read_answers` gives them; of several of an item the
        last counts.

    Raises
    ------
    TomoTutorError
        An item or a class is unknown, or the session is one of masks.
    """
    from sklearn.metrics import cohen_kappa_score

    if not session.one_class:
        raise TomoTutorError(f"{session.folder}: its labels are masks, which are not compared")
    state, own, theirs = session.state, session.labels(), dict[int, tuple[str, Any, str]]()
    for one in labels:
        row = state.root(one[0])
        state.labels.encode(row, one[1], f"item {one[0]}")
        theirs[row] = one
    rows = [row for row in theirs if row in own]
    mine, yours = [own[row] for row in rows], [str(theirs[row][1]) for row in rows]
    same = sum(a == b for a, b in zip(mine, yours, strict=True))
    known = len({*mine, *yours}) > 1
    kappa = float(cohen_kappa_score(mine, yours)) if rows and known else float("nan")
    differ = np.array([row for row, a, b in zip(rows, mine, yours, strict=True) if a != b], np.int64)
    return Agreement(
        len(theirs), len(rows), same, kappa, differ, tuple(one for row, one in theirs.items() if row not in own)
    )
