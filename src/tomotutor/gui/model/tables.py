"""Tables of the Model tab: classes, labels that look wrong, rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem
from typing_extensions import override

from tomotutor.gui.bulk_steps import BulkStep, wrong_share
from tomotutor.gui.particles.listing import DOUBTED
from tomotutor.session.bulk import REVIEW
from tomotutor.session.report import ClassFigures, ModelReport, RoundFigures

_MOST_DOUBTS = 200
_CHECK, _USE = 6, 4  # columns that do something


class Table(QTableWidget):
    """Cells to read and to click. It never takes the focus. Where it has nothing to show it says `empty_text`."""

    empty_text = ""

    def __init__(self, headers: Sequence[tuple[str, str]]) -> None:
        super().__init__(0, len(headers))
        self.setHorizontalHeaderLabels([name for name, _ in headers])
        for column, (_, tip) in enumerate(headers):
            header_item = self.horizontalHeaderItem(column)
            assert header_item is not None
            header_item.setToolTip(tip)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        if headers:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def say(self, text: str) -> None:
        """Say something where there is nothing to show."""
        self.empty_text = text
        self.viewport().update()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self.rowCount() == 0

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.is_empty and self.empty_text:
            with QPainter(self.viewport()) as painter:
                room = self.viewport().rect().adjusted(20, 0, -20, 0)
                painter.drawText(
                    room, int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap), self.empty_text
                )

    def _fill(self, rows: Sequence[Sequence[str]]) -> None:
        self.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                cell = QTableWidgetItem(text)
                if column:
                    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                cell.setToolTip(text)
                self.setItem(row, column, cell)


class ClassTable(Table):
    """Labels, predictions and their quality, by class; `chosen` carries the class of a row that is clicked."""

    check_wanted = Signal(str)
    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__(
            [
                ("class", ""),
                ("labels", "what persons said"),
                ("pred.", "predictions: unlabeled particles of this class, as the model says"),
                ("sure", "mean confidence of the predictions"),
                ("found", "expected share of this class's particles that are answered so (recall)"),
                ("right", "share of right ones among predictions that were checked blind (precision), 95 % interval"),
                ("check", "asks 20 random predictions of the class singly and blind: how many of them are right?"),
            ]
        )
        self._names: list[str] = []
        self.cellClicked.connect(self._clicked)

    def set_figures(self, figures: Sequence[ClassFigures]) -> None:
        """Show the classes."""
        self._names = [one.name for one in figures]
        self._fill(
            [
                (
                    one.name,
                    str(one.labels),
                    str(one.predictions),
                    _percent(one.confidence),
                    _percent(one.recall),
                    checked_share(one.right, one.checked, one.low, one.high),
                    "Check ▸" if one.predictions else "",
                )
                for one in figures
            ]
        )

    def _clicked(self, row: int, column: int) -> None:
        (self.check_wanted if column == _CHECK else self.chosen).emit(self._names[row])


class DoubtTable(Table):
    """Labels that look wrong, the most doubted in front; `chosen` carries the pool row of one that is clicked."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__(
            [
                ("particle", ""),
                ("label", "what a person said"),
                ("prediction", "what a model says that has not seen this label"),
                ("likelier", "how many times likelier the prediction is than the label, to that model"),
            ]
        )
        self._rows: list[int] = []
        self.cellClicked.connect(lambda row, column: self.chosen.emit(self._rows[row]))

    def set_report(self, report: ModelReport, ids: Sequence[str]) -> None:
        """Show the labels of a report that look wrong."""
        doubts = report.doubts
        at = [] if doubts is None else np.flatnonzero(doubts.doubt_L > DOUBTED)[:_MOST_DOUBTS].tolist()
        self.empty_text = (
            "no label can be doubted yet: label a few particles of two classes"
            if doubts is None
            else f"no label looks wrong: of {len(doubts.rows)} none is contradicted by a model that has not seen it"
        )
        self._rows = [] if doubts is None else doubts.rows[at].tolist()
        names = report.classes
        self._fill(
            []
            if doubts is None
            else [
                (
                    ids[int(doubts.rows[k])],
                    names[int(doubts.label_L[k])],
                    names[int(doubts.predicted_L[k])],
                    f"{min(math.exp(min(float(doubts.doubt_L[k]), 7.0)), 999):.0f} ×",
                )
                for k in at
            ]
        )


class BulkTable(Table):
    """Labels that were given many at once, the newest in front, and what single, blind answers say of them; `chosen`
    carries the step of a row that is clicked.
    """

    chosen = Signal(object)
    empty_text = "no labels were given many at a time yet: select particles in the grid and press the key of a class"

    def __init__(self) -> None:
        super().__init__(
            [
                ("labeled at once", "click to see them"),
                ("asked again", "singly and blind, one in twenty and one a step at least; that single answer stands"),
                ("against", "single answers that contradict the step"),
                ("wrong", "share of wrong labels in the step, 95 % interval"),
                ("", ""),
            ]
        )
        self._steps: Sequence[BulkStep] = ()
        self.cellClicked.connect(lambda row, column: self.chosen.emit(self._steps[row]))

    def set_steps(self, steps: Sequence[BulkStep]) -> None:
        """Show the steps."""
        self._steps = steps
        self._fill(
            [
                (
                    one.what,
                    f"{one.answered} of {one.asked}",
                    str(one.against),
                    wrong_share(one.answered, one.against),
                    "Look again ▸" if one.against > REVIEW * one.answered else "",
                )
                for one in steps
            ]
        )


class RoundTable(Table):
    """Rounds side by side, the newest in front."""

    empty_text = "no training yet: the first comes by itself after a few labels, R starts one"
    use_wanted = Signal(int)

    def __init__(self) -> None:
        super().__init__(
            [
                ("round", ""),
                ("labels", "when it began"),
                ("accuracy", "on check particles, 95 % interval, by all labels known today"),
                ("changed", "answers of the pool that are other ones than in the round before"),
                ("", "answer with the model of this round, until the next training"),
            ]
        )
        self._numbers: list[int] = []
        self._unused: list[bool] = []
        self.cellClicked.connect(self._clicked)

    def set_rounds(self, rounds: Sequence[RoundFigures]) -> None:
        """Show the rounds."""
        newest = list(reversed(rounds))
        self._numbers, self._unused = [one.number for one in newest], [not one.in_use for one in newest]
        self._fill(
            [
                (
                    f"{one.number}{' · in use' if one.in_use else ''}",
                    str(one.labels),
                    "–"
                    if one.audit.accuracy is None or one.audit.interval is None
                    else f"{100 * one.audit.accuracy:.0f} % "
                    f"({100 * one.audit.interval[0]:.0f}–{100 * one.audit.interval[1]:.0f}, n = {one.audit.n})",
                    "–" if one.changed is None else str(one.changed),
                    "" if one.in_use else "Use this one ▸",
                )
                for one in newest
            ]
        )

    def _clicked(self, row: int, column: int) -> None:
        if column == _USE and self._unused[row]:
            self.use_wanted.emit(self._numbers[row])


def checked_share(right: int, n: int, low: float, high: float) -> str:
    """Return how many of the checked members of a class are right, with the interval of their share."""
    return f"{right}/{n} ({100 * low:.0f}–{100 * high:.0f} %)" if n else "–"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"
