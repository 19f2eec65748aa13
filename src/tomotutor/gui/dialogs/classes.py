"""Classes…: add, rename, merge, recolour, reorder and key. A change is on disk at once, and Z takes it back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QComboBox,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.label.answers import LETTERS, class_keys
from tomotutor.gui.notice import Notice
from tomotutor.gui.theme import class_colours
from tomotutor.session import Session
from tomotutor.session import classes as changes

_COLOUR, _NAME, _KEY, _LABELS = range(4)


class ClassesDialog(QDialog):
    """A table of the classes; what is typed into it is a change.

    Parameters
    ----------
    session : Session
        Whose classes they are.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setWindowTitle("Classes")
        self.table = QTableWidget(0, 4)
        self.table.setHorizontalHeaderLabels(["colour", "name", "key", "labels"])
        self.table.verticalHeader().setVisible(False)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in ((_COLOUR, 60), (_KEY, 50), (_LABELS, 70)):
            self.table.setColumnWidth(column, width)
        self.table.itemChanged.connect(self._typed)
        self.table.itemDoubleClicked.connect(self._choose_colour)
        self.table.itemSelectionChanged.connect(self._selected)
        self.name = QLineEdit()
        self.name.setPlaceholderText("name of a new class")
        self.name.returnPressed.connect(self.add)
        self.into = QComboBox()
        self.notice = Notice()
        self.buttons: dict[str, QPushButton] = {}
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, 1)
        first = self._row(("add", "Add", self.add))
        first.insertWidget(0, self.name, 1)
        second = self._row(("up", "Up", partial(self.shift, -1)), ("down", "Down", partial(self.shift, 1)))
        second.addStretch(1)
        self._button(second, "merge", "Make it part of", self.merge)
        second.addWidget(self.into)
        third = self._row(
            ("undo", "Undo", partial(self._try, session.undo)), ("redo", "Redo", partial(self._try, session.redo))
        )
        third.addStretch(1)
        self._button(third, "close", "Close", self.close)
        for row in (first, second, third):
            layout.addLayout(row)
        layout.addWidget(self.notice)
        self.resize(460, 420)
        self.refresh()

    def _row(self, *buttons: tuple[str, str, Callable[[], object]]) -> QHBoxLayout:
        row = QHBoxLayout()
        for name, text, function in buttons:
            self._button(row, name, text, function)
        return row

    def _button(self, row: QHBoxLayout, name: str, text: str, function: Callable[[], object]) -> None:
        button = self.buttons[name] = QPushButton(text)
        button.setAutoDefault(False)
        button.clicked.connect(lambda: function())
        row.addWidget(button)

    @property
    def selected(self) -> str | None:
        """The class of the selected line."""
        rows = {index.row() for index in self.table.selectedIndexes()}
        names = self._session.classes
        return names[rows.pop()] if len(rows) == 1 else None

    def refresh(self) -> None:
        """Show the classes as they are."""
        table, counts, before = self._session.class_table, self._session.status.counts, self.selected
        colours, keys = class_colours(table.names, table.colours), class_keys(table.names, table.keys)
        self.table.blockSignals(True)
        self.table.setRowCount(len(table.names))
        for line, name in enumerate(table.names):
            for column, text in (
                (_COLOUR, ""),
                (_NAME, name),
                (_KEY, keys.get(name, "")),
                (_LABELS, str(counts[name])),
            ):
                item = QTableWidgetItem(text)
                if column in (_COLOUR, _LABELS):
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                self.table.setItem(line, column, item)
            colour = self.table.item(line, _COLOUR)
            assert colour is not None
            colour.setBackground(QColor.fromRgbF(*colours[name]))
            colour.setToolTip("double click chooses another colour")
        self.table.blockSignals(False)
        if before in table.names:
            self.table.selectRow(table.names.index(before))
        self._selected()

    def _selected(self) -> None:
        chosen = self.selected
        self.into.clear()
        self.into.addItems([name for name in self._session.classes if name != chosen])
        for name in ("up", "down", "merge"):
            self.buttons[name].setEnabled(chosen is not None)
        self.into.setEnabled(chosen is not None)

    def _try(self, function: Callable[[], object]) -> None:
        try:
            function()
            self.notice.say("")
        except TomoTutorError as problem:
            self.notice.say(str(problem))
        self.refresh()

    def _change(self, make: Callable[..., str], *values: object) -> None:
        self._try(lambda: self._session.change_classes(make(self._session.class_table, *values)))

    def add(self) -> None:
        """Add the class whose name was typed."""
        before = len(self._session.classes)
        self._change(changes.add, self.name.text())
        if len(self._session.classes) > before:
            self.name.clear()

    def merge(self) -> None:
        """Make the selected class part of another."""
        if (name := self.selected) is not None:
            self._change(changes.merge, name, self.into.currentText())

    def shift(self, step: int) -> None:
        """Move the selected class up or down."""
        names, name = list(self._session.classes), self.selected
        if name is None or not 0 <= names.index(name) + step < len(names):
            return
        at = names.index(name)
        names[at], names[at + step] = names[at + step], names[at]
        self._change(changes.reorder, names)

    def recolour(self, name: str, colour: str) -> None:
        """Give a class a colour, "#rrggbb"."""
        self._change(changes.recolour, name, colour)

    def _choose_colour(self, item: QTableWidgetItem) -> None:
        if item.column() == _COLOUR:
            chosen = QColorDialog.getColor(item.background().color(), self, "Colour")
            if chosen.isValid():
                self.recolour(self._session.classes[item.row()], chosen.name())

    def _typed(self, item: QTableWidgetItem) -> None:
        name, text = self._session.classes[item.row()], item.text().strip()
        if item.column() == _NAME and text != name:
            self._change(changes.rename, name, text)
        elif item.column() == _KEY:
            self._try(lambda: self._rekey(name, text.lower()))

    def _rekey(self, name: str, key: str) -> None:
        if key and key not in "0123456789" + LETTERS:
            raise TomoTutorError(f"key {key!r}: expected a digit or one of {', '.join(LETTERS)}; other letters act")
        self._session.change_classes(changes.rekey(self._session.class_table, name, key))
