"""State: what a session knows, as plain data. No thread, no disk, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.recipe import Recipe
from tomotutor.session import audit, bulk
from tomotutor.session.bulk import ClassCheck
from tomotutor.session.classes import Classes, fold
from tomotutor.session.database import RoundRecord
from tomotutor.session.label_log import Entry, LabelState
from tomotutor.session.labels import Labels
from tomotutor.session.round_folder import RoundScores
from tomotutor.session.status import CurvePoint, ItemView, Phase, Status

if TYPE_CHECKING:
    from tomotutor.learn.next_items import Next


@dataclass
class State:
    """Everything that a session's answers depend on.

    Attributes
    ----------
    ids : tuple of str
        Item ids, in pool order.
    twin_N, held_out_N : ndarray
        Row of the first exact duplicate of each item; whether it is set apart as a test item.
    start_N : ndarray
        First row of each input, and the number of rows at the end.
    recipe : Recipe
        Settings in force.
    first_classes : tuple of str
        The classes that the session was made with; `classes` are those of today.
    labels : Labels
        What kind of label it takes.
    log : LabelState
        What the log says.
    rounds : list of RoundRecord
        Finished rounds.
    audits : dict
        Stored predictions of audit items: round to row to class name, as classes were called then.
    number : int
        Round whose model is in use, 0 where there is none.
    scores : RoundScores or None
        What that model said of what it scored, in the classes of today.
    class_checks : list of ClassCheck
        Members of classes that were drawn to be asked blind.
    next : Next or None
        Order of asking that the fast head gives, and why; None where the round's order holds.
    """

    ids: tuple[str, ...]
    twin_N: np.ndarray
    held_out_N: np.ndarray
    start_N: np.ndarray
    recipe: Recipe
    first_classes: tuple[str, ...]
    labels: Labels
    log: LabelState
    rounds: list[RoundRecord] = field(default_factory=list)
    audits: dict[int, dict[int, str]] = field(default_factory=dict)
    number: int = 0
    scores: RoundScores | None = None
    class_checks: list[ClassCheck] = field(default_factory=list)
    next: Next | None = None

    def __post_init__(self) -> None:
        self.labels = self.labels.of(self.classes)

    def apply(self, entries: Sequence[Entry]) -> list[Entry]:
        """Take up entries that are on disk; return the entries whose items they change."""
        changed = [e for entry in entries for e in self.log.apply(entry)]
        self.__dict__.pop("rechecks", None)
        if any(e.action == "class" for e in changed):
            self.__dict__.pop("classes", None)
            self.labels = self.labels.of(self.classes)
        return changed

    def unnamed(self) -> list[str]:
        """Return the classes of labels that are none of the session's: somebody changed session.toml by hand."""
        if not self.labels.one_class:
            return []
        return sorted({str(self.name_of(e)) for e in self.log.labels().values()} - set(self.classes.names))

    # ---- classes and labels --------------------------------------------------------------------------------------

    @cached_property
    def classes(self) -> Classes:
        """The classes in force."""
        return fold(self.first_classes, self.log.active)

    def name_of(self, entry: Entry | None) -> str | None:
        """Return the label of an entry as its class is called today, in segmentation its mask; None if it has none."""
        if entry is None or entry.label is None or entry.action != "label":
            return None
        return self.classes.current(entry.label, entry.seq)

    def given(self) -> dict[int, str]:
        """Return the labels given: row to class name, in segmentation to the mask's file; duplicates not repeated."""
        return {row: str(self.name_of(entry)) for row, entry in self.log.labels().items()}

    def trainable(self) -> dict[int, str]:
        """Return the labels to train on: all but those of check items."""
        return {row: name for row, name in self.given().items() if self.audit_kind.get(row) != "check"}

    # ---- items ---------------------------------------------------------------------------------------------------

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each item id."""
        return {item_id: row for row, item_id in enumerate(self.ids)}

    def row(self, item_id: str) -> int:
        """Return the row of an item id."""
        try:
            return self.row_of[item_id]
        except KeyError:
            raise TomoTutorError(
                f"item {item_id!r} is not in this session; its items are called like {self.ids[0]!r}"
            ) from None

    def root(self, item_id: str) -> int:
        """Return the row that holds what is said of an item: that of its first exact duplicate."""
        return int(self.twin_N[self.row(item_id)])

    def eligible(self) -> np.ndarray:
        """Return the rows that may be asked at all: no test items, and one of each set of exact duplicates."""
        return np.flatnonzero((self.twin_N == np.arange(len(self.ids))) & ~self.held_out_N)

    @cached_property
    def audit_kind(self) -> dict[int, str]:
        """Kind of each audit item, in the order in which they are asked; each input draws its own."""
        rows, share, seed = self.eligible(), self.recipe.audit.share, self.recipe.seed
        bounds = zip(self.start_N[:-1], self.start_N[1:], strict=True)
        drawn = [audit.draw(rows[(rows >= a) & (rows < b)], share, seed, k) for k, (a, b) in enumerate(bounds)]
        return audit.kinds(np.concatenate(drawn))

    def items_changed(self) -> None:
        """Forget what was derived from the items, the test set and the recipe."""
        for name in ("audit_kind", "row_of"):
            self.__dict__.pop(name, None)

    def is_open(self, row: int) -> bool:
        """Whether an item still wants an answer: it has none, or it is asked again."""
        last = self.log.last(row)
        return last is None or last.action == "skip" or row in self.asked_again()

    @cached_property
    def rechecks(self) -> list[bulk.Recheck]:
        """Items of bulk steps that are asked again, or were."""
        return bulk.rechecks(self.log, self.recipe.seed)

    def asked_again(self) -> dict[int, str]:
        """Return the items that wait to be asked singly and blind, with why."""
        waiting = {row: "checks a class" for check in self.class_checks for row in check.rows}
        for check in self.class_checks:
            for row in check.answers(self.log):
                waiting.pop(row, None)
        return waiting | {one.row: "asked again" for one in self.rechecks if one.single is None}

    def hidden(self) -> set[int]:
        """Return the rows of which nothing may be told: unanswered audit items, items that are asked again, and the
        duplicates of both.
        """
        roots = {row for row in self.audit_kind if (e := self.log.last(row)) is None or e.action != "label"}
        roots |= set(self.asked_again())
        return set(np.flatnonzero(np.isin(self.twin_N, list(roots))).tolist())

    def open_rows(self, number: int) -> np.ndarray:
        """Return the rows without an answer that are no audit items, in the random order of a round, the same for
        every strategy.
        """
        order = np.random.default_rng([self.recipe.seed, number]).permutation(len(self.ids))
        open_N = np.zeros(len(self.ids), bool)
        open_N[self.eligible()] = True
        open_N[list(self.audit_kind)] = False
        open_N[list(self.log.standing)] = False
        return order[open_N[order]]

    # ---- rounds --------------------------------------------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """Number of the next round."""
        return self.rounds[-1].number + 1 if self.rounds else 1

    @property
    def record(self) -> RoundRecord | None:
        """The round whose model is in use."""
        return next((r for r in self.rounds if r.number == self.number), None)

    def can_train(self) -> bool:
        """Whether the labels are enough for a training."""
        return self.labels.can_train(list(self.trainable().values()))

    def audit_of(self, number: int) -> audit.AuditFigure:
        """Return the accuracy of a round's model on audit items, by all answers known today."""
        seq_of = {r.number: r.record.get("log", 0) for r in self.rounds}
        today = {
            n: {row: self.classes.current(name, seq_of.get(n, 0)) for row, name in found.items()}
            for n, found in self.audits.items()
        }
        return audit.figure(number, today, self.audit_kind, self.log, self.name_of)

    def point(self, record: RoundRecord) -> CurvePoint:
        """Return a round as a point of the learning curve."""
        return CurvePoint(record.number, record.labels, self.audit_of(record.number), record.record["metrics"])

    # ---- what the fronts see -------------------------------------------------------------------------------------

    def status(self, phase: Phase) -> Status:
        """Return where the session stands."""
        given = self.given()
        counts = self.labels.count(given)
        return Status(
            items=len(self.ids),
            labeled=len(given),
            unsure=len(self.log.items("unsure")),
            skipped=len(self.log.items("skip")),
            counts={name: counts.get(name, 0) for name in self.classes.names},
            round=self.number,
            phase=phase,
            since_round=len(given) - (self.rounds[-1].labels if self.rounds else 0),
            due_at=self.recipe.query.query_size if self.rounds else self.recipe.query.initial_size,
            audit=self.audit_of(self.number),
        )

    def is_due(self, phase: Phase) -> bool:
        """Whether enough labels have come since the last training, and one is possible now."""
        status = self.status(phase)
        return phase is Phase.IDLE and status.since_round >= status.due_at and self.can_train()

    def view(self, row: int, *, padded: bool = False, overlaps: int = 0) -> ItemView:
        """Return an item as the screen shows it; what the model says of an audit item stays hidden until its answer."""
        root = int(self.twin_N[row])
        last = self.log.last(root)
        is_audit = root in self.audit_kind
        again = self.asked_again().get(root, "")
        hidden = bool(again) or (is_audit and (last is None or last.action != "label"))
        found = None if hidden or self.scores is None else self.scores.of(root)
        teacher, student, disagreement = found or ((), (), None)
        return ItemView(
            row,
            self.ids[row],
            None if again else self.name_of(last),
            None if again or last is None else last.action,
            is_audit or bool(again),
            tuple(np.asarray(teacher).tolist()),
            tuple(np.asarray(student).tolist()),
            disagreement,
            padded,
            *self._why(root, hidden, again, is_audit),
            overlaps=overlaps,
        )

    def _why(self, row: int, hidden: bool, again: str, is_audit: bool) -> tuple[int | None, float | None, str, str]:
        """Return the rank of an item, the number it is ordered by, what that is, and why it is asked."""
        if hidden:
            return None, None, "", again or "check particle" if is_audit or again else ""
        if self.next is not None:
            place = np.flatnonzero(self.next.rows == row)
            if len(place):
                k = int(place[0])
                return k, float(self.next.number_N[k]), self.next.measure, self.next.reasons[k]
        elif self.scores is not None:
            place, found = np.flatnonzero(self.scores.queue_rows == row), self.scores.of(row)
            if len(place) and found is not None:
                differ = np.argmax(found[0]) != np.argmax(found[1])
                reason = "disputed: the two networks differ" if differ else f"ranked by {self.recipe.query.strategy}"
                return int(place[0]), found[2], "KL(teacher ‖ student)", reason
        return None, None, "", ""

    def entry(self, at: str, row: int, action: str, label: str | None, annotator: str, origin: str) -> Entry:
        """Return a log entry of an item, with what the model in use says of it."""
        found = self.scores.of(row) if self.scores else None
        predicted, confidence = self.labels.predicted(found[0]) if found else (None, None)
        kind, values = self.audit_kind.get(row, ""), dict[str, Any](predicted=predicted, confidence=confidence)
        if found:
            values["disagreement"] = found[2]
        return Entry(0, at, row, action, label, annotator, origin, self.number, kind, **values)
