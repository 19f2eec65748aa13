"""The next items of the queue as small pictures."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt, Signal
from qtpy.QtGui import QImage, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.label.slices import to_image
from tomotutor.gui.theme import Colours
from tomotutor.session.status import ItemView, PoolMap

_KEPT = 500  # pictures in memory
_BY_GROUP = "typical members of groups that look alike come first; click to see one now"
_BY_USE = "next in the queue, most wanted first, with what the model says of them; click to see one now"


class Gallery(QWidget):
    """A row of pictures, the next item first; a click shows that item.

    Parameters
    ----------
    picture : callable
        Pool row to a picture (y, x) or (y, x, 3) from 0 to 1.
    colours : Colours
        Of the theme.
    """

    clicked = Signal(str)
    SIZE, COUNT = 60, 7

    def __init__(self, picture: Callable[[int], np.ndarray], colours: Colours, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colours = colours
        self._picture = picture
        self._images: OrderedDict[int, QImage] = OrderedDict()
        self._items: list[ItemView] = []
        self._map: PoolMap | None = None
        self.classes: Sequence[str] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(_BY_USE)

    @override
    def sizeHint(self) -> QSize:
        return QSize(self.COUNT * (self.SIZE + 3), self.SIZE + 16)

    @property
    def items(self) -> list[ItemView]:
        """Items shown."""
        return self._items

    @property
    def captions(self) -> list[str]:
        """What stands below each picture."""
        return [self._caption(item) for item in self._items]

    def _caption(self, item: ItemView) -> str:
        if item.is_audit:
            return "check"
        if self._map is not None:
            group = self._map.group(item.row)
            return "" if group is None else f"group {group + 1}"
        return "" if len(item.teacher_probs) != len(self.classes) else self.classes[int(np.argmax(item.teacher_probs))]

    def set_items(self, items: Sequence[ItemView], pool_map: PoolMap | None = None) -> None:
        """Show items, in this order, with their groups on the map of the pool or else their predictions."""
        self._items, self._map = list(items), pool_map
        self.setToolTip(_BY_USE if pool_map is None else _BY_GROUP)
        for item in self._items:
            if item.row not in self._images:
                with contextlib.suppress(TomoTutorError):  # a file that is gone is said where its item is shown
                    self._images[item.row] = to_image(self._picture(item.row))
            if item.row in self._images:
                self._images.move_to_end(item.row)
        while len(self._images) > _KEPT:
            self._images.popitem(last=False)
        self.update()

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self._colours = colours
        self.update()

    def forget(self) -> None:
        """Draw every picture anew when it is next shown."""
        self._images.clear()

    def _cell(self, position: int) -> QRect:
        return QRect(position * (self.SIZE + 3), 0, self.SIZE, self.SIZE)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            font = painter.font()
            font.setPixelSize(11)
            painter.setFont(font)
            painter.setPen(self._colours.text)
            for position, (item, text) in enumerate(zip(self._items, self.captions, strict=True)):
                cell = self._cell(position)
                if item.row in self._images:
                    painter.drawImage(cell, self._images[item.row])
                short = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, self.SIZE)
                painter.drawText(QRect(cell.left(), self.SIZE, self.SIZE, 15), Qt.AlignmentFlag.AlignCenter, short)
            if not self._items:
                painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "nothing left in the queue")

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        for position, item in enumerate(self._items):
            if self._cell(position).contains(event.position().toPoint()):
                self.clicked.emit(item.id)
                return
