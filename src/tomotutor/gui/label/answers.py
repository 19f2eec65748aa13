"""The answer panel: the classes, and the buttons that answer. One variant gives a class, one paints a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLineEdit, QPushButton, QScrollArea, QVBoxLayout, QWidget
from typing_extensions import override

from tomotutor.gui.keys import quiet_button
from tomotutor.gui.label.class_row import HEIGHT, ClassRow
from tomotutor.gui.theme import Colours, class_colours
from tomotutor.session.classes import JUNK, Classes
from tomotutor.session.status import ItemView

LETTERS = "qwetiopfghjklxc"  # those that no action has, for the tenth class and on
_MOST_ROWS = 8  # more are scrolled
_COLUMN_WIDTH = 210


def class_keys(classes: Sequence[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the key of each class: the chosen one, else 1 to 9 in their order, then letters; 0 is junk. Classes beyond
    have none.
    """
    usable = "1234567890" + LETTERS
    keys = {name: key for name, key in (chosen or {}).items() if name in classes and key in usable}
    plain = [name for name in classes if name != JUNK]
    for name, key in [*([(JUNK, "0")] if JUNK in classes else []), *zip(plain, "123456789" + LETTERS, strict=False)]:
        if name not in keys and key not in keys.values():
            keys[name] = key
    free = [key for key in "123456789" + LETTERS if key not in keys.values()]
    missing = [name for name in plain if name not in keys]
    return keys | dict(zip(missing, free, strict=False))


def paint_keys(classes: Sequence[str]) -> dict[str, str]:
    """Return the key that chooses each class to paint: 1 to 9 in their order, then letters; 0 is the eraser."""
    return dict(zip(classes, "123456789" + LETTERS, strict=False))


class ClassPanel(QWidget):
    """Gives an item a class. `chosen` carries the class, `acted` the name of an action.

    Parameters
    ----------
    classes : Classes
        Their names, colours and keys.
    colours : Colours
        Of the theme.
    """

    chosen = Signal(str)
    acted = Signal(str)
    verb = "label this particle as it"
    ACTIONS: tuple[tuple[str, str, str], ...] = (
        ("skip", "Skip (S)", "go on: it comes again at the end of the queue; an answer stays"),
        ("unsure", "Unsure (U)", "it cannot be told: not asked again, not trained on"),
        ("undo", "Undo (Z)", "take back the last step"),
        ("redo", "Redo (Y)", "bring back what was undone"),
        ("back", "Back (B)", "see the item before this one again"),
    )

    def __init__(self, table: Classes, colours: Colours, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        classes = table.names
        self.keys = self.make_keys(table)
        self._classes = list(classes)
        chips = self.class_colours(table)
        self.rows = {name: ClassRow(name, self.keys.get(name, ""), self.verb, chips[name], colours) for name in classes}
        for name, row in self.rows.items():
            row.clicked.connect(lambda _=False, n=name: self.chosen.emit(n))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.finder = QLineEdit()
        self.finder.setPlaceholderText("type a class name, Enter takes the first (/)")
        self.finder.textChanged.connect(self._arrange)
        self.finder.returnPressed.connect(self._take_first)
        self.finder.setVisible(len(classes) > 10)
        layout.addWidget(self.finder)
        self._inner = QWidget()
        self._grid = QGridLayout(self._inner)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(3)
        self._grid.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QScrollArea.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._area.setWidget(self._inner)
        layout.addWidget(self._area)
        self.actions_by_name: dict[str, QPushButton] = {}
        apart = len(self.ACTIONS) - len(ClassPanel.ACTIONS)  # more than five in a line would be cut
        for actions in filter(None, (self.ACTIONS[:apart], self.ACTIONS[apart:])):
            bar = QHBoxLayout()
            bar.setSpacing(3)
            for name, text, tip in actions:
                button = self.actions_by_name[name] = quiet_button(text, tip)
                button.clicked.connect(lambda _=False, n=name: self.acted.emit(n))
                bar.addWidget(button)
            layout.addLayout(bar)
        self._arrange()

    def make_keys(self, table: Classes) -> dict[str, str]:
        """Return the key of each class."""
        return class_keys(table.names, table.keys)

    def class_colours(self, table: Classes) -> dict[str, QColor]:
        """Return the colour of each class."""
        return {name: QColor.fromRgbF(*colour) for name, colour in class_colours(table.names, table.colours).items()}

    def set_item(self, item: ItemView | None, selected: str | None) -> None:
        """Show the probabilities of an item, and mark the class it has."""
        probs = item is not None and bool(item.teacher_probs)
        for number, (name, row) in enumerate(self.rows.items()):
            row.setChecked(name == selected)
            row.set_probs((item.teacher_probs[number], item.student_probs[number]) if item and probs else None)
        is_answered = item is not None and item.action in ("label", "unsure")
        self.actions_by_name["skip"].setText("Next (S)" if is_answered else "Skip (S)")

    def set_counts(self, counts: Mapping[str, int]) -> None:
        """Show how many labels each class has."""
        for name, row in self.rows.items():
            row.set_count(counts.get(name, 0))

    def set_selected(self, selected: str | None) -> None:
        """Mark one class."""
        for name, row in self.rows.items():
            row.setChecked(name == selected)

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        for row in self.rows.values():
            row.set_colours(colours)

    def start_finding(self) -> None:
        """Type the name of a class."""
        if self.finder.isVisible():
            self.finder.setFocus()
            self.finder.selectAll()

    @property
    def usual_height(self) -> int:
        """Pixels that it needs where two classes stand side by side."""
        lines = min(-(-len(self.rows) // 2), _MOST_ROWS)
        return (HEIGHT + 3) * (lines + 1) + (HEIGHT + 8 if len(self.rows) > 10 else 4)

    @property
    def found(self) -> list[str]:
        """Classes whose name has what was typed in it; those that begin with it first."""
        text = self.finder.text().strip().lower()
        hits = [name for name in self._classes if text in name.lower()]
        return sorted(hits, key=lambda name: not name.lower().startswith(text))

    def _take_first(self) -> None:
        found = self.found
        if self.finder.text().strip() and found:
            self.finder.clear()
            self.finder.clearFocus()
            self.chosen.emit(found[0])

    def _arrange(self) -> None:
        """Lay the classes out, as many columns as there is room for."""
        columns = 1 if len(self.rows) < 4 else max(1, min(4, self.width() // _COLUMN_WIDTH))
        found = self.found
        for row in self.rows.values():
            self._grid.removeWidget(row)
            row.setVisible(row.text() in found)
        for number, name in enumerate(found):
            self._grid.addWidget(self.rows[name], number // columns, number % columns)
        for column in range(4):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)
        lines = -(-len(self.rows) // columns)
        self._area.setFixedHeight((HEIGHT + 3) * min(lines, _MOST_ROWS))

    @override
    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)  # type: ignore[arg-type]
        self._arrange()


class MaskPanel(ClassPanel):
    """Chooses the class to paint; Done saves the mask."""

    verb = "paint it"
    ACTIONS: tuple[tuple[str, str, str], ...] = (
        ("done", "Done (Enter)", "the mask is as it should be: save it; what is not painted counts as void"),
        ("erase", "Erase (0)", "paint nothing: void"),
        *ClassPanel.ACTIONS,
    )

    def __init__(self, table: Classes, chips: Sequence[str], colours: Colours) -> None:
        self._chips = dict(zip(table.names, map(QColor, chips), strict=True))
        super().__init__(table, colours)

    @override
    def make_keys(self, table: Classes) -> dict[str, str]:
        return paint_keys(table.names)

    @override
    def class_colours(self, table: Classes) -> dict[str, QColor]:
        return self._chips
