"""One sentence on the screen, with a button where something can be done about it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget
from typing_extensions import override

from tomotutor.gui.keys import quiet_button


class Line(QLabel):
    """A line of text that pushes nothing: what there is no room for is left out, and stands in the tooltip."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @override
    def text(self) -> str:
        return self._whole

    def say(self, text: str) -> None:
        """Show a text."""
        self._whole = text
        self.setToolTip(text)
        self._fit()

    def _fit(self) -> None:
        room = max(0, self.width() - 6)
        self.setText(self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, room))

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()


class _Text(QLabel):
    """A label in whose neighbourhood a scroll area does not take every widget's preferred height."""

    @override
    def hasHeightForWidth(self) -> bool:
        return False


class Notice(QWidget):
    """A sentence and perhaps a button."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._function: Callable[[], object] | None = None
        self.label = _Text()
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.button = quiet_button("", "")
        self.button.clicked.connect(self._pressed)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.addWidget(self.label, 1)
        self._row.addWidget(self.button)
        self.say("")

    def text(self) -> str:
        """Return the sentence."""
        return self.label.text()

    def say(self, text: str, button: str = "", function: Callable[[], object] | None = None) -> None:
        """Show a sentence, "" for none, and a button that calls `function`."""
        self.label.setText(text)
        self.button.setText(button)
        self.button.setVisible(bool(button))
        self._function = function
        self._make_room()

    def _make_room(self) -> None:
        """Make the label as high as its text needs at its width, and no higher."""
        text = self.label.text()
        beside = self.button.sizeHint().width() + self._row.spacing() if self.button.text() else 0
        width = max(200, self.width() - beside)
        room = self.label.fontMetrics().boundingRect(0, 0, width, 10000, int(Qt.TextFlag.TextWordWrap), text)
        self.label.setFixedHeight(room.height() + 2 if text else 0)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def _pressed(self) -> None:
        function = self._function
        self.say("")
        if function is not None:
            function()
