"""A grid of particles: any number, only what is in view is painted; many are selected at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from qtpy.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from qtpy.QtWidgets import QAbstractScrollArea, QApplication, QWidget
from typing_extensions import override

from tomotutor.gui.particles.listing import Known, Section
from tomotutor.gui.particles.thumbnails import Thumbnails
from tomotutor.gui.theme import Colours

_GAP, _CAPTION, _HEADER = 8, 15, 22  # pixels


class ParticleGrid(QAbstractScrollArea):
    """Pictures under headers. A frame has the class colour: solid for a label, dashed for a prediction.

    Click selects one, Ctrl+click adds or removes one, Shift+click a range, dragging a rectangle, a click on a header
    or Ctrl+A a section, Escape nothing. A double click opens one.

    Parameters
    ----------
    thumbnails : Thumbnails
        Pictures of the rows.
    items : int
        Number of items in the pool.
    colours : Colours
        Of the theme.
    """

    selection_changed = Signal()
    opened = Signal(int)
    accepted = Signal()  # Enter

    def __init__(self, thumbnails: Thumbnails, items: int, colours: Colours, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._thumbnails, self._colours = thumbnails, colours
        self._sections: list[Section] = []
        self._start_S = np.zeros(1, np.int64)  # first position of each section
        self._top_S = np.zeros(1, np.int64)  # its top, pixels; the whole height at the end
        self._rows = np.zeros(0, np.int64)
        self._chosen_N = np.zeros(items, bool)
        self._anchor: int | None = None  # position
        self._band: tuple[QPoint, QPoint] | None = None  # rectangle that is dragged, in the whole grid
        self._before = self._chosen_N
        self._known: Known | None = None
        self._chips: list[QColor] = []
        self._names: Sequence[str] = ()
        self._size = 64
        self.empty_text = "nothing to show"
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumHeight(self._size + _CAPTION + 4)
        thumbnails.made.connect(self._repaint)

    @override
    def sizeHint(self) -> QSize:
        return QSize(600, 110)

    # ---- what it shows -------------------------------------------------------------------------------------------

    def set_sections(self, sections: Sequence[Section]) -> None:
        """Show sections; what is selected stays so where it is still shown."""
        self._sections = list(sections)
        self._rows = np.concatenate([np.zeros(0, np.int64), *(s.rows for s in self._sections)])
        self._start_S = np.cumsum([0, *(len(s.rows) for s in self._sections)])
        shown_N = np.zeros_like(self._chosen_N)
        shown_N[self._rows] = True
        lost = bool((self._chosen_N & ~shown_N).any())
        self._chosen_N &= shown_N
        if self._anchor is not None and self._anchor >= len(self._rows):
            self._anchor = None
        self._lay_out()
        if lost:
            self.selection_changed.emit()

    def set_known(self, known: Known, chips: Sequence[QColor], names: Sequence[str]) -> None:
        """Take frames from what is known of the items, and the colour and name of each class."""
        self._known, self._chips, self._names = known, list(chips), names
        self.viewport().update()

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self._colours = colours
        self.viewport().update()

    def set_size(self, pixels: int) -> None:
        """Set the edge of a picture."""
        self._size = pixels
        self._lay_out()

    @property
    def rows(self) -> np.ndarray:
        """Rows shown, in order."""
        return self._rows

    @property
    def titles(self) -> list[str]:
        """Headers shown."""
        return [section.title for section in self._sections]

    @property
    def selected(self) -> np.ndarray:
        """Rows selected, in the order in which they are shown."""
        return self._rows[self._chosen_N[self._rows]]

    def select(self, rows: np.ndarray) -> None:
        """Select rows, and no others."""
        self._chosen_N[:] = False
        self._chosen_N[rows] = True
        self._told()

    def place(self, row: int) -> QRect:
        """Return where a row is in the viewport."""
        return self._cell(int(np.flatnonzero(self._rows == row)[0]))

    @property
    def is_focused(self) -> bool:
        """Whether keys are meant for the grid, also where no window is active."""
        focus = QApplication.focusWidget()
        return focus is self or (focus is None and self.window().focusWidget() is self)

    # ---- places ----------------------------------------------------------------------------------------------------

    @property
    def _columns(self) -> int:
        return max(1, (self.viewport().width() - 4) // (self._size + _GAP))

    @property
    def _line(self) -> int:
        return self._size + _CAPTION + _GAP

    def _lay_out(self) -> None:
        size_S, columns = np.diff(self._start_S), self._columns
        header_S = np.array([_HEADER if s.title else 4 for s in self._sections], np.int64)
        self._top_S = np.cumsum([0, *(header_S + -(-size_S // columns) * self._line).tolist()])
        height = self.viewport().height()
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, int(self._top_S[-1]) - height))
        bar.setPageStep(height)
        bar.setSingleStep(self._line)
        self.viewport().update()

    def _head(self, section: int) -> int:
        return _HEADER if self._sections[section].title else 4

    def _cell(self, position: int) -> QRect:
        section = int(np.searchsorted(self._start_S, position, side="right")) - 1
        inside = position - int(self._start_S[section])
        y = int(self._top_S[section]) + self._head(section) + inside // self._columns * self._line
        x = 4 + inside % self._columns * (self._size + _GAP)
        return QRect(x, y - self.verticalScrollBar().value(), self._size, self._size + _CAPTION)

    def _in_view(self) -> Iterator[tuple[int, range]]:
        """Yield the sections in view with the positions of each that are."""
        top = self.verticalScrollBar().value()
        bottom = top + self.viewport().height()
        first = max(0, int(np.searchsorted(self._top_S, top, side="right")) - 1)
        for section in range(first, len(self._sections)):
            if self._top_S[section] >= bottom:
                return
            yield section, self._between(section, top, bottom)

    def _between(self, section: int, top: int, bottom: int) -> range:
        """Return the positions of a section whose lines touch [top, bottom) of the whole grid."""
        start, end = int(self._start_S[section]), int(self._start_S[section + 1])
        first = int(self._top_S[section]) + self._head(section)
        low = max(0, (top - first) // self._line) * self._columns
        high = max(0, -(-(bottom - first) // self._line)) * self._columns
        return range(min(start + low, end), min(start + high, end))

    def _at(self, point: QPoint) -> int | None:
        for _, positions in self._in_view():
            for position in positions:
                if self._cell(position).contains(point):
                    return position
        return None

    def _header_at(self, point: QPoint) -> int | None:
        y = point.y() + self.verticalScrollBar().value()
        for section in range(len(self._sections)):
            if self._sections[section].title and 0 <= y - self._top_S[section] < _HEADER:
                return section
        return None

    # ---- painting ----------------------------------------------------------------------------------------------------

    def _repaint(self) -> None:
        self.viewport().update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self.viewport()) as painter:
            painter.fillRect(self.viewport().rect(), self._colours.ground)
            font = painter.font()
            font.setPixelSize(11)
            painter.setFont(font)
            wanted: list[int] = []
            offset = self.verticalScrollBar().value()
            for section, positions in self._in_view():
                title = self._sections[section].title
                if title:
                    painter.setPen(self._colours.text)
                    head = QRect(6, int(self._top_S[section]) - offset, self.viewport().width() - 12, _HEADER)
                    painter.drawText(head, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, title)
                for position in positions:
                    row = int(self._rows[position])
                    wanted.append(row)
                    self._paint_cell(painter, self._cell(position), row)
            if not len(self._rows):
                painter.setPen(self._colours.text)
                flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
                painter.drawText(self.viewport().rect(), flags, self.empty_text)
            if self._band is not None:
                painter.setPen(QPen(self._colours.text, 1))
                painter.drawRect(QRect(*self._band).normalized().translated(0, -offset))
            self._thumbnails.want(wanted)

    def _paint_cell(self, painter: QPainter, cell: QRect, row: int) -> None:
        picture = QRect(cell.left(), cell.top(), self._size, self._size)
        if self._chosen_N[row]:
            painter.fillRect(cell.adjusted(-4, -4, 4, 2), self._colours.text if self.is_focused else self._colours.line)
        image = self._thumbnails.get(row)
        if image is None:
            painter.fillRect(picture, self._colours.raised)
        else:
            painter.drawImage(picture, image)
        number = -1 if self._known is None else int(self._known.class_N[row])
        if not 0 <= number < len(self._chips):
            return
        assert self._known is not None
        labeled = bool(self._known.labeled_N[row])
        pen = QPen(self._chips[number], 3 if labeled else 2)
        if not labeled:
            pen.setDashPattern([3, 2])
        painter.setPen(pen)
        painter.drawRect(QRectF(picture).adjusted(1, 1, -1, -1))
        ink = self._colours.ground if self._chosen_N[row] and self.is_focused else self._colours.text
        painter.setPen(ink)
        if not labeled and np.isfinite(self._known.confidence_N[row]):
            self._paint_share(painter, picture, f"{100 * self._known.confidence_N[row]:.0f} %")
        short = painter.fontMetrics().elidedText(self._names[number], Qt.TextElideMode.ElideMiddle, self._size + 6)
        painter.drawText(
            QRect(cell.left() - 3, picture.bottom() + 1, self._size + 6, _CAPTION), Qt.AlignmentFlag.AlignCenter, short
        )

    def _paint_share(self, painter: QPainter, picture: QRect, text: str) -> None:
        """Paint a confidence into the lower right corner of a picture."""
        width = painter.fontMetrics().horizontalAdvance(text) + 4
        corner = QRect(picture.right() - width - 1, picture.bottom() - 15, width, 14)
        ink = painter.pen()
        painter.fillRect(corner, QColor(0, 0, 0, 150))
        painter.setPen(QColor(230, 230, 230))  # on what was darkened, whatever the theme
        painter.drawText(corner, Qt.AlignmentFlag.AlignCenter, text)
        painter.setPen(ink)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_out()

    # ---- mouse and keys ---------------------------------------------------------------------------------------------

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self._told()

    @override
    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._told()

    def _told(self) -> None:
        self.viewport().update()
        self.selection_changed.emit()

    def _whole(self, event: QMouseEvent) -> QPoint:
        return event.position().toPoint() + QPoint(0, self.verticalScrollBar().value())

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        at = self._at(event.position().toPoint())
        if at is None:
            head = self._header_at(event.position().toPoint())
            if not (control or shift):
                self._chosen_N[:] = False
            if head is not None:
                self._choose_section(head)
            else:
                self._before = self._chosen_N.copy()
                self._band = (self._whole(event), self._whole(event))
        elif shift and self._anchor is not None:
            low, high = sorted((self._anchor, at))
            if not control:
                self._chosen_N[:] = False
            self._chosen_N[self._rows[low : high + 1]] = True
        elif control:
            self._chosen_N[self._rows[at]] ^= True
            self._anchor = at
        else:
            self._chosen_N[:] = False
            self._chosen_N[self._rows[at]] = True
            self._anchor = at
            self._before = np.zeros_like(self._chosen_N)
            self._band = (self._whole(event), self._whole(event))
        self._told()

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._band is None or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        start, end = self._band[0], self._whole(event)
        if (end - start).manhattanLength() < 6:
            return
        self._band = (start, end)
        area = QRect(start, end).normalized()
        bar, y = self.verticalScrollBar(), event.position().toPoint().y()
        if not 0 <= y < self.viewport().height():
            bar.setValue(bar.value() + (self._line if y > 0 else -self._line))
        chosen = [
            position
            for section in range(len(self._sections))
            if self._top_S[section] <= area.bottom() and self._top_S[section + 1] >= area.top()
            for position in self._between(section, area.top(), area.bottom() + 1)
            if self._cell(position).translated(0, bar.value()).intersects(area)
        ]
        self._chosen_N[:] = self._before
        self._chosen_N[self._rows[chosen]] = True
        self._told()

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._band = None
        self.viewport().update()

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        at = self._at(event.position().toPoint())
        if at is not None:
            self.opened.emit(int(self._rows[at]))

    def _choose_section(self, section: int) -> None:
        start, end = self._start_S[section : section + 2].tolist()
        self._chosen_N[self._rows[start:end]] = True
        self._anchor = start

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, control = event.key(), event.modifiers() == Qt.KeyboardModifier.ControlModifier
        if key == Qt.Key.Key_A and control and len(self._rows):
            section = 0 if self._anchor is None else int(np.searchsorted(self._start_S, self._anchor, side="right")) - 1
            self._chosen_N[:] = False
            self._choose_section(section)
            self._told()
        elif key == Qt.Key.Key_Escape:
            self.select(np.zeros(0, np.int64))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.accepted.emit()
        elif self._step(key) and len(self._rows):
            self._move(self._step(key), extend=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        else:
            super().keyPressEvent(event)

    def _step(self, key: int) -> int:
        return {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -self._columns,
            Qt.Key.Key_Down: self._columns,
        }.get(Qt.Key(key), 0)

    def _move(self, step: int, *, extend: bool) -> None:
        at = 0 if self._anchor is None else min(max(self._anchor + step, 0), len(self._rows) - 1)
        if not extend:
            self._chosen_N[:] = False
        self._chosen_N[self._rows[at]] = True
        self._anchor = at
        cell, bar = self._cell(at), self.verticalScrollBar()
        if cell.top() < 0:
            bar.setValue(bar.value() + cell.top() - _HEADER)
        elif cell.bottom() > self.viewport().height():
            bar.setValue(bar.value() + cell.bottom() - self.viewport().height())
        self._told()
