"""The sheet: the next items as volumes side by side, all turned together by the mouse. No OpenGL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from qtpy.QtCore import QPointF, QRect, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from qtpy.QtWidgets import QWidget
from typing_extensions import override

from tomotutor.export.rendering import project, turn
from tomotutor.gui.background import Background, told
from tomotutor.gui.canvas.item import limits_of, prepared
from tomotutor.gui.theme import class_colours
from tomotutor.session.status import ItemView

COUNT = 12
_CAPTION, _GAP = 18, 6  # pixels
_COARSE, _SHARP = 28, 64  # pixels of a volume's picture while it turns, and the most at rest
_REST_MS = 150
_CLICK = 4  # pixels that a mouse may move in a click
_HALF_TURN = 300  # pixels to drag for half a turn
FIRST_TURN = turn(0.4, -0.35)  # a little from the side: straight along the beam, volumes look flat
_INK, _PALE = QColor(230, 230, 230), QColor(150, 150, 150)  # on black, whatever the theme


def prepare_sheet(
    read: Callable[[np.ndarray], np.ndarray], rows: Sequence[int], sigma: float, masked: bool
) -> np.ndarray:
    """Return items as the sheet turns them, (N, z, y, x) float32 from 0 to 1 in one contrast for all."""
    volumes = [prepared(x_C, sigma, masked=masked) for x_C in read(np.array(rows, np.int64))]
    low, high = limits_of(volumes, 80, 99.9)
    return np.clip((np.stack(volumes) - low) / (high - low), 0, 1).astype(np.float32)


class Sheet(QWidget):
    """Volumes side by side, the current item first. A drag turns all of them, a click makes one current.

    Parameters
    ----------
    classes : sequence of str
        Class names, for the colours of frames.
    """

    clicked = Signal(str)
    failed = Signal(str)

    def __init__(self, classes: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes = tuple(classes)
        self._items: list[ItemView] = []
        self._drawn: tuple[int, ...] = ()  # rows whose pictures these are
        self._rows: tuple[int, ...] = ()  # rows whose volumes are there
        self._volumes_NZYX: np.ndarray | None = None
        self._images: list[QImage] = []
        self._rotation = FIRST_TURN
        self._pressed: QPointF | None = None
        self._last: QPointF | None = None
        self._current: int | None = None
        self._reading, self._rendering = (
            Background(found, lambda problem: self.failed.emit(told(problem))) for found in (self._take, self._paint)
        )
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(lambda: self._render(sharp=True))
        self.setMinimumSize(240, 200)
        self.setToolTip("drag to turn all of them, click to look at one")

    @property
    def items(self) -> list[ItemView]:
        """Items shown, the first in the upper left."""
        return self._items

    @property
    def rotation(self) -> np.ndarray:
        """How the volumes are turned, (3, 3)."""
        return self._rotation

    @property
    def pictures(self) -> list[QImage]:
        """What is painted of the items."""
        return self._images

    def shows(self, row: int) -> bool:
        """Whether the picture of an item is on the sheet."""
        return row in self._drawn and any(item.row == row for item in self._items)

    def set_items(
        self,
        items: Sequence[ItemView],
        current: int | None,
        read: Callable[[np.ndarray], np.ndarray],
        sigma: float,
        masked: bool,
    ) -> None:
        """Show items; `read` gives their voxels as `Pool.read` does, `current` is the row in front."""
        self._items, self._current = list(items), current
        self.update()
        rows = tuple(item.row for item in items)
        if rows:
            self._reading.ask(lambda: (rows, prepare_sheet(read, rows, sigma, masked)))

    def _take(self, found: tuple[tuple[int, ...], np.ndarray]) -> None:
        self._rows, self._volumes_NZYX = found
        self._render(sharp=True)

    def _render(self, *, sharp: bool) -> None:
        if self._volumes_NZYX is None:
            return
        n = self._volumes_NZYX.shape[-1]
        edge = min(_SHARP, max(n, _COARSE)) if sharp else min(_COARSE, n)
        rows, volumes, rotation = self._rows, self._volumes_NZYX, self._rotation
        self._rendering.ask(lambda: (rows, project(volumes, rotation, edge)))

    def _paint(self, found: tuple[tuple[int, ...], np.ndarray]) -> None:
        self._drawn, pictures_NYX = found
        self._images = [_grey(picture) for picture in pictures_NYX]
        self.update()

    # ---- where things are -----------------------------------------------------------------------------------------

    def cell(self, position: int) -> QRect:
        """Return where an item is painted, with its caption."""
        count = max(1, len(self._items))
        across = max(range(1, count + 1), key=lambda n: self._edge(n, count))
        edge = self._edge(across, count)
        left = (self.width() - across * (edge + _GAP)) // 2 + _GAP // 2
        row, column = divmod(position, across)
        return QRect(left + column * (edge + _GAP), _GAP + row * (edge + _CAPTION + _GAP), edge, edge + _CAPTION)

    def _edge(self, across: int, count: int) -> int:
        down = -(-count // across)
        return max(16, min(self.width() // across - _GAP, (self.height() - _GAP) // down - _CAPTION - _GAP))

    # ---- painting -------------------------------------------------------------------------------------------------

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            font = painter.font()
            font.setPixelSize(12)
            painter.setFont(font)
            painter.setPen(_INK)
            if not self._items:
                painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "nothing left to ask")
            colours = class_colours(self._classes)
            for position, item in enumerate(self._items):
                cell = self.cell(position)
                square = QRect(cell.left(), cell.top(), cell.width(), cell.width())
                if item.row in self._drawn:
                    painter.drawImage(square, self._images[self._drawn.index(item.row)])
                else:
                    painter.setPen(_PALE)
                    painter.drawText(square, Qt.AlignmentFlag.AlignCenter, "drawing …")
                self._frame(painter, square, item, colours)
                below = QRect(cell.left(), square.bottom() + 1, cell.width(), _CAPTION)
                text = painter.fontMetrics().elidedText(
                    caption(item, self._classes), Qt.TextElideMode.ElideMiddle, cell.width()
                )
                painter.setPen(_INK if item.row == self._current else _PALE)
                painter.drawText(below, Qt.AlignmentFlag.AlignCenter, text)

    def _frame(
        self, painter: QPainter, square: QRect, item: ItemView, colours: dict[str, tuple[float, float, float]]
    ) -> None:
        """Solid in the colour of a label, dashed in that of a prediction; the current item has a white one, too."""
        name = item.label if item.label in colours else _predicted(item, self._classes)
        pen = QPen(QColor.fromRgbF(*colours[name]) if name else QColor(60, 60, 60), 2)
        if name and item.label is None:
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.drawRect(QRectF(square).adjusted(1, 1, -1, -1))
        if item.row == self._current:
            painter.setPen(QPen(QColor(255, 255, 255), 3))
            painter.drawRect(QRectF(square).adjusted(-1, -1, 1, 1))

    # ---- the mouse ------------------------------------------------------------------------------------------------

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = self._last = event.position()

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._last is None or self._pressed is None:
            return
        if self._last == self._pressed and (event.position() - self._pressed).manhattanLength() <= _CLICK:
            return
        moved, self._last = event.position() - self._last, event.position()
        self._rotation = turn(np.pi * moved.x() / _HALF_TURN, np.pi * moved.y() / _HALF_TURN) @ self._rotation
        self._render(sharp=False)
        self._rest.start()

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        is_click = self._pressed is not None and self._last == self._pressed
        self._pressed = self._last = None
        for position, item in enumerate(self._items):
            if is_click and self.cell(position).contains(event.position().toPoint()):
                self.clicked.emit(item.id)
                return

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.update()

    def stop(self) -> None:
        """Compute nothing more."""
        self._reading.stop()
        self._rendering.stop()
        self._rest.stop()


def caption(item: ItemView, classes: Sequence[str]) -> str:
    """Return what stands below an item: its label, or what the model says and how sure it is."""
    if item.label is not None:
        return item.label
    if item.is_audit:
        return "check particle"
    name = _predicted(item, classes)
    return f"{name}? {100 * max(item.teacher_probs):.0f} %" if name else ""


def _predicted(item: ItemView, classes: Sequence[str]) -> str | None:
    return classes[int(np.argmax(item.teacher_probs))] if len(item.teacher_probs) == len(classes) else None


def _grey(picture_YX: np.ndarray) -> QImage:
    pixels = np.ascontiguousarray(255 * picture_YX).astype(np.uint8)
    height, width = pixels.shape
    return QImage(pixels.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()
