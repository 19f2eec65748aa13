"""Tables of the Model tab: classes, labels that look wrong, rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from tomotutor.gui.keys import quiet_button
from tomotutor.session.report import ClassFigures, ModelReport, RoundFigures

_MOST_DOUBTS = 200


class _Table(QTableWidget):
    """Cells to read, a button at the end of a row where there is something to do. It never takes the focus."""

    def __init__(self, headers: Sequence[tuple[str, str]]) -> None:
        super().__init__(0, len(headers))
        self.setHorizontalHeaderLabels([name for name, _ in headers])
        for column, (_, tip) in enumerate(headers):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def _fill(self, rows: Sequence[Sequence[str]]) -> None:
        self.setRowCount(0)  # takes the buttons of before along
        self.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                cell = QTableWidgetItem(text)
                if column:
                    cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                cell.setToolTip(text)
                self.setItem(row, column, cell)


class ClassTable(_Table):
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
                ("", ""),
            ]
        )
        self._names: list[str] = []
        self.buttons: dict[str, QTableWidgetItem] = {}
        self.cellClicked.connect(lambda row, column: self.chosen.emit(self._names[row]))

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
                    f"{one.right}/{one.checked} ({100 * one.low:.0f}–{100 * one.high:.0f} %)" if one.checked else "–",
                )
                for one in figures
            ]
        )
        self.buttons = {}
        for row, one in enumerate(figures):
            button = quiet_button(
                "Check", f"ask 20 random predictions of {one.name} singly and blind: how many of them are right?"
            )
            button.setEnabled(one.predictions > 0)
            button.clicked.connect(lambda _=False, name=one.name: self.check_wanted.emit(name))
            self.buttons[one.name] = button
            self.setCellWidget(row, 6, button)


class DoubtTable(_Table):
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
        at = [] if doubts is None else np.flatnonzero(doubts.doubt_L > 0)[:_MOST_DOUBTS].tolist()
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


class RoundTable(_Table):
    """Rounds side by side, the newest in front."""

    use_wanted = Signal(int)

    def __init__(self) -> None:
        super().__init__(
            [
                ("round", ""),
                ("labels", "when it began"),
                ("accuracy", "on audit items, 95 % interval, by all labels known today"),
                ("changed", "answers of the pool that are other ones than in the round before"),
                ("", ""),
            ]
        )

    def set_rounds(self, rounds: Sequence[RoundFigures]) -> None:
        """Show the rounds."""
        newest = list(reversed(rounds))
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
                )
                for one in newest
            ]
        )
        self.buttons = {}
        for row, one in enumerate(newest):
            button = quiet_button("Use this one", "answer with the model of this round, until the next training")
            button.setEnabled(not one.in_use)
            button.clicked.connect(lambda _=False, number=one.number: self.use_wanted.emit(number))
            self.buttons[one.number] = button
            self.setCellWidget(row, 4, button)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"
