"""A class as a button: its key and name, what teacher and student give it, and how many labels it has."""

from __future__ import annotations

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QAbstractButton, QSizePolicy, QWidget
from typing_extensions import override

from tomotutor.gui.theme import STUDENT, TEACHER, Colours, mixed

HEIGHT = 24
_COUNT, _PERCENT = 34, 40  # pixels


class ClassRow(QAbstractButton):
    """One class.

    Parameters
    ----------
    name, key : str
        Its name, and the key that chooses it, "" for none.
    tip : str
        What pressing it does.
    colour : QColor
        Its colour.
    colours : Colours
        Of the theme.
    """

    def __init__(
        self, name: str, key: str, tip: str, colour: QColor, colours: Colours, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._name, self._key, self._colour, self._colours = name, key, colour, colours
        self._count = 0
        self._probs: tuple[float, float] | None = None
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys label; they never press a focused button
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(120)
        self.setToolTip(f"{name}: {tip}" + (f" (key {key.upper()})" if key else ""))
        self.setText(name)
        self.setAccessibleName(name)

    @override
    def sizeHint(self) -> QSize:
        return QSize(200, HEIGHT)

    @property
    def count(self) -> int:
        """Labels of this class."""
        return self._count

    @property
    def probs(self) -> tuple[float, float] | None:
        """What teacher and student give this class, None where nothing may be shown."""
        return self._probs

    def set_count(self, count: int) -> None:
        """Show how many labels the class has."""
        self._count = count
        self.update()

    def set_probs(self, probs: tuple[float, float] | None) -> None:
        """Show what teacher and student give this class; None shows no bars."""
        self._probs = probs
        self.update()

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self._colours = colours
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        colours = self._colours
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            ground = colours.line if self.isChecked() else colours.raised
            if self.underMouse() and not self.isChecked():
                ground = mixed(colours.raised, colours.line, 0.6)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0, 0, -1, -1), 3, 3)
            painter.setBrush(self._colour)
            painter.drawRect(QRectF(0, 2, 4, self.height() - 5))
            font = painter.font()
            font.setPixelSize(12)
            painter.setFont(font)
            painter.setPen(colours.text)
            left, middle = Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(QRectF(10, 0, 14, self.height()), left, self._key.upper())
            room = self.width() - 26 - _COUNT
            bars = min(150.0, 0.45 * room) if self._probs is not None else 0.0
            name_room = room - bars - 6
            text = painter.fontMetrics().elidedText(self._name, Qt.TextElideMode.ElideMiddle, int(name_room))
            painter.drawText(QRectF(26, 0, name_room, self.height()), left, text)
            painter.drawText(QRectF(self.width() - _COUNT - 6, 0, _COUNT, self.height()), middle, str(self._count))
            if self._probs is None:
                return
            start, length = 26 + name_room, max(0.0, bars - _PERCENT)
            for top, prob, colour in ((5, self._probs[0], TEACHER), (12, self._probs[1], STUDENT)):
                painter.fillRect(QRectF(start, top, length, 6), colours.ground)
                painter.fillRect(QRectF(start, top, max(1.0, length * prob), 6), colour)
            painter.drawText(
                QRectF(start + length, 0, _PERCENT - 4, self.height()), middle, f"{100 * self._probs[0]:.0f} %"
            )
