"""Labeling: what a person says, and in which order it is asked. Committed first, then in memory, then told."""

from __future__ import annotations

import dataclasses
import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Opened
from tomotutor.learn.results import Answers
from tomotutor.session import bulk, many, report, rounds, tomograms
from tomotutor.session.answering import Answering, Fitted
from tomotutor.session.label_log import NO_ITEM, Entry
from tomotutor.session.looking import Looking
from tomotutor.session.report import ModelReport
from tomotutor.session.status import ItemView, Status

if TYPE_CHECKING:
    from tomotutor.learn.estimate import Purity

log = logging.getLogger(__name__)


class Labeling(Looking):
    """What a person does with an open session; `Session` says what its signals mean.

    A step that is undone, bulk labels and changes of the classes are entries of the label log as any label.
    """

    labeled = Signal(object)
    queue_changed = Signal()
    status_changed = Signal(object)
    answers_changed = Signal(object)

    def __init__(self, folder: Path | str, *, write: bool, keep_core: bool, live: bool, opened: Opened | None) -> None:
        super().__init__(folder, write=write, keep_core=keep_core, opened=opened)
        self._live = live and write
        self.annotator = ""  # who labels, where a call does not say
        self._answering = Answering(self._core, self._training, self._answered, is_busy=self._is_busy)

    @abstractmethod
    def _is_busy(self) -> bool:
        """Whether a round runs."""

    @abstractmethod
    def _start_if_due(self) -> None:
        """Start a round where it is time for one."""

    @property
    @abstractmethod
    def status(self) -> Status:
        """Where the session stands."""

    # ---- the queue -------------------------------------------------------------------------------------------------

    def back(self) -> None:
        """Show the item before the current one again, to look or to answer anew."""
        with self._core.guard:
            self._queue.back()
        self._tell_queue()

    def show(self, item_id: str) -> None:
        """Show an item out of turn; the current one comes after it."""
        with self._core.guard:
            self._queue.show(self.state.root(item_id))
        self._tell_queue()

    def put_back(self) -> None:
        """Put the item in front back among those that wait: nobody looks at it, and the next round ranks it anew."""
        with self._core.guard:
            self._queue.clear()

    def _tell_queue(self) -> None:
        self._core.emit(self.queue_changed)

    # ---- labels: committed first -----------------------------------------------------------------------------------

    def label(self, item_id: str, value: str | np.ndarray, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Give an item its label: a class or, in segmentation, a mask. When this returns, the label is on disk.

        A mask is (y, x) class numbers from 0, with 255 for void.
        """
        with self._core.guard:
            self._core.check_writable()
            label = self.state.labels.encode(self.state.root(item_id), value, f"item {item_id}")
        return self._answer(item_id, "label", label, annotator, origin)

    def unsure(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Say that an item cannot be told; it is not asked again and not trained on."""
        return self._answer(item_id, "unsure", None, annotator, origin)

    def skip(self, item_id: str, *, annotator: str = "", origin: str = "screen") -> ItemView:
        """Go on to the next item; one without an answer comes again at the end of the queue, an answer stays."""
        with self._core.guard:
            row = self.state.root(item_id)
            if self.state.is_open(row):
                return self._answer(item_id, "skip", None, annotator, origin)
            if self._queue.current == row:
                self._queue.advance()
        self._tell_queue()
        return self.view(row)

    def _answer(self, item_id: str, action: str, label: str | None, annotator: str, origin: str) -> ItemView:
        with self._core.guard:
            self._core.check_writable()
            row = self.state.root(item_id)
            self._core.commit([self.state.entry(rounds.now(), row, action, label, annotator or self.annotator, origin)])
            if action == "skip":
                self._queue.postpone(row)
            elif self._queue.current == row:
                self._queue.advance()
            view = self.view(row)
        self._tell(view)
        self._start_if_due()
        return view

    def _tell(self, *views: ItemView) -> None:
        if self._live:
            self._answering.ask()
        for view in views:
            self._core.emit(self.labeled, view)
        self._tell_queue()
        self._core.emit(self.status_changed, self.status)

    def import_labels(self, labels: Iterable[tuple[str, Any, str]], *, origin: str = "import") -> int:
        """Write many labels, each (item id, class or mask, annotator), in one transaction: all of them or none."""
        with self._core.guard:
            self._core.check_writable()
            at, entries = rounds.now(), []
            for item_id, value, annotator in labels:
                row = self.state.root(item_id)
                label = self.state.labels.encode(row, value, f"item {item_id}")
                entries.append(self.state.entry(at, row, "label", label, annotator, origin))
            self._core.commit(entries)
            self._pass_answered()
        self._tell()
        return len(entries)

    def _pass_answered(self) -> None:
        if self._queue.current is not None and not self.state.is_open(self._queue.current):
            self._queue.advance()

    def undo(self) -> ItemView | None:
        """Take back the last step that stands and show its item again; None if there is none. Imports stay."""
        with self._core.guard:
            step = self.state.log.last_step()
        return self._turn("undo", step)

    def redo(self) -> ItemView | None:
        """Bring back the step that was undone last; None if there is none, or if something was answered since."""
        with self._core.guard:
            step = self.state.log.undone[-1] if self.state.log.undone else []
        return self._turn("redo", step)

    def _turn(self, action: str, step: Sequence[Entry]) -> ItemView | None:
        if not step:
            return None
        first, view = step[0], None
        with self._core.guard:
            self._core.check_writable()
            self._core.commit(
                [
                    Entry(
                        0,
                        rounds.now(),
                        first.item,
                        action,
                        origin=first.origin,
                        round=self.state.number,
                        undoes=first.of_step,
                    )
                ]
            )
            if first.item == NO_ITEM:
                self._classes_changed()
            else:
                if action == "undo":
                    self._queue.show(first.item)
                else:
                    self._pass_answered()
                view = self.view(first.item)
        self._tell(*([view] if view else []))
        return view

    def change_classes(self, change: str, *, annotator: str = "") -> None:
        """Change the classes, see `tomotutor.session.classes` for the changes there are; it is undone as any answer."""
        with self._core.guard:
            self._core.check_writable()
            if not self.one_class:
                raise TomoTutorError(f"{self.folder}: the classes of a session of masks stay as they are")
            entry = Entry(
                0, rounds.now(), NO_ITEM, "class", change, annotator or self.annotator, round=self.state.number
            )
            self._core.commit([entry])
            self._classes_changed()
        self._tell()

    def _classes_changed(self) -> None:
        self.state.next = None  # it speaks of the classes of before
        self._core.lost(rounds.take_scores(self.state, self.folder))
        self._compose_queue()

    # ---- many at once ----------------------------------------------------------------------------------------------

    def label_many(
        self, rows: Iterable[int], class_name: str, *, origin: str = "selection", annotator: str = ""
    ) -> int:
        """Give many items a class, in one transaction and one step of undo; return how many.

        Items of which nothing may be told (check particles, items that are asked again) are passed over. One in twenty
        of a step, one at least, is asked again singly and blind, and that single label stands.

        Parameters
        ----------
        rows : iterable of int
            Pool rows.
        class_name : str
            The class.
        origin : {"selection", "group", "page", "similar", "accept"}
            Through what they were chosen.
        annotator : str
            Who said so.
        """
        return self._label_each(((row, class_name) for row in rows), origin, annotator)

    def accept(self, rows: Iterable[int], *, annotator: str = "", min_confidence: float = 0.0) -> int:
        """Take the predictions of items without a label for their labels; return how many. As `label_many`."""
        chosen = many.predicted(self._core, self.answers, rows, min_confidence)
        return self._label_each(chosen, "accept", annotator)

    def _label_each(self, labels: Iterable[tuple[int, str]], origin: str, annotator: str) -> int:
        with self._core.guard:
            count = many.label_each(self._core, labels, origin, annotator or self.annotator)
            if count:
                self._pass_answered()
                self._compose_queue()
        if count:
            self._tell()
            self._start_if_due()
        return count

    def bulk_figures(self) -> list[bulk.StepFigure]:
        """Return how each bulk step stood up to being asked again."""
        with self._core.guard:
            return bulk.figures(self.state.log, self.state.rechecks, self.state.name_of)

    def check_class(self, name: str, threshold: float = 0.0, n: int = 20) -> int:
        """Ask n random predicted members of a class, at least so confident, singly and blind; return how many.

        What their answers say of the class is `class_purity`.
        """
        with self._core.guard:
            drawn = many.draw_check(self._core, self.answers, name, threshold, n)
            self._compose_queue()
        self._tell_queue()
        return drawn

    def class_purity(self, name: str) -> Purity:
        """Return the precision of the predictions of a class, from its members that were asked blind."""
        with self._core.guard:
            return many.class_purity(self.state, name)

    # ---- answers between rounds ------------------------------------------------------------------------------------

    @property
    def answers(self) -> Answers | None:
        """The newest answer for every item; None before there is a head. Hidden items have class −1."""
        fitted = self._answering.fitted
        return fitted.answers if fitted else None

    @override
    def view(self, row: int) -> ItemView:
        """Return an item as the screen shows it, with its newest prediction."""
        found, fitted = super().view(row), self._answering.fitted
        hidden = found.is_audit and found.label is None
        if fitted is None or hidden or fitted.asked.classes != self.classes or row >= len(fitted.answers.class_N):
            return found
        place = np.array([row])
        return dataclasses.replace(
            found,
            teacher_probs=tuple(fitted.teacher.probs(fitted.embedding.teacher_ND, place)[0].tolist()),
            student_probs=tuple(fitted.student.probs(fitted.embedding.student_ND, place)[0].tolist()),
            disagreement=_known(fitted.answers.disagreement_N[row]),
        )

    def shown_classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the class number of every item, −1 where none may be shown, and whether a person said so."""
        return tomograms.shown_classes(self._core, self.answers)

    def disputed(self, n: int) -> list[ItemView]:
        """Return the n open items that teacher and student differ on most; none before anything is predicted."""
        with self._core.guard:
            return [self.view(int(row)) for row in tomograms.disputed(self._core, self.answers, n)]

    def model_report(self) -> ModelReport:
        """Return how good the model is, by class, label and round; takes a moment, and no lock while it computes."""
        return report.make(self._core, self._answering)

    @property
    def answering(self) -> Answering:
        """What keeps the answers: groups, neighbours, doubts, estimate, advice."""
        return self._answering

    def refresh_answers(self) -> Answers | None:
        """Renew answers and order of asking now; None without an embedding, or labels in two classes."""
        fitted = self._answering.refresh()
        return fitted.answers if fitted else None

    def _answered(self, fitted: Fitted, rows: np.ndarray) -> None:
        with self._core.guard:
            if fitted.next is not None:
                self.state.next = fitted.next
                self._compose_queue()
        self._core.emit(self.answers_changed, rows)
        if fitted.next is not None:
            self._tell_queue()


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
