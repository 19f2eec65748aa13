"""The confusion matrix: labels against what models say that have not seen them."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHeaderView, QTableWidgetItem
from typing_extensions import override

from tomotutor.gui.model.tables import Table
from tomotutor.gui.theme import STUDENT, TEACHER, Colours, mixed
from tomotutor.session.report import Judged

_MANY, _LONG = 6, 20  # classes whose columns have numbers, and characters of a name
_NARROW = 18  # pixels of a column
_LOW, _HIGH = 22, 30  # of a line, with many classes and with few
_SMALL, _USUAL = 9, 12  # of a number, likewise: two digits in a narrow column


def _numbered(classes: tuple[str, ...]) -> list[tuple[int, str]]:
    return list(enumerate(classes, start=1))


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f"{name[: _LONG // 2]}…{name[1 - _LONG // 2 :]}"


class ConfusionTable(Table):
    """Rows are labels, columns predictions, cells numbers of particles; `clicked_cell` carries label and prediction."""

    clicked_cell = Signal(int, int)
    empty_text = "nothing to compare yet: label a few particles of two classes"

    def __init__(self, colours: Colours) -> None:
        super().__init__([])
        self._colours, self._judged, self._names = colours, Judged.none(), tuple[str, ...]()
        self.verticalHeader().show()
        self.setTextElideMode(Qt.TextElideMode.ElideNone)  # a number says more than dots, even where it is cramped
        self.horizontalHeader().setMinimumSectionSize(_NARROW)
        self.cellClicked.connect(self.clicked_cell)

    def set_judged(self, judged: Judged, classes: tuple[str, ...]) -> None:
        """Show labels and predictions."""
        self._judged, self._names = judged, classes
        counts = self.counts
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        self.setRowCount(len(classes))
        self.setColumnCount(len(classes))
        many = len(classes) > _MANY
        self.verticalHeader().setDefaultSectionSize(_LOW if many else _HIGH)
        font = self.font()
        font.setPixelSize(_SMALL if many else _USUAL)
        self.setVerticalHeaderLabels([f"{k} {_short(n)}" if many else _short(n) for k, n in _numbered(classes)])
        self.setHorizontalHeaderLabels([str(k) if many else _short(name) for k, name in _numbered(classes)])
        for k, name in _numbered(classes):
            for header in (self.verticalHeaderItem(k - 1), self.horizontalHeaderItem(k - 1)):
                assert header is not None
                header.setToolTip(name)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for (i, j), count in np.ndenumerate(counts):
            cell = QTableWidgetItem(str(count) if count else "")
            cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            cell.setFont(font)
            cell.setToolTip(f"{count} labeled {classes[i]}, predicted {classes[j]}; click to see them")
            if count:
                cell.setBackground(
                    mixed(self._colours.ground, TEACHER if i == j else STUDENT, 0.15 + 0.5 * share[i, j])
                )
            self.setItem(i, j, cell)

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self._colours = colours
        self.set_judged(self._judged, self._names)

    @property
    @override
    def is_empty(self) -> bool:
        return not len(self._judged.rows)

    @property
    def counts(self) -> np.ndarray:
        """What stands in the cells, (label, prediction)."""
        n = len(self._names)
        counts = np.zeros((n, n), np.int64)
        np.add.at(counts, (self._judged.label_M, self._judged.predicted_M), 1)
        return counts
