"""References: labeled particles that look like the current one, of the two likeliest classes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.background import Background
from tomotutor.gui.label.slices import to_image
from tomotutor.gui.theme import Colours, class_colours
from tomotutor.session import Session
from tomotutor.session.status import ItemView

_CLASSES, _MOST = 2, 6  # shown, and members of each
_SIZE, _GAP, _NAME = 64, 3, 92  # pixels
_NONE = "references: labeled look-alikes of the two likeliest classes, as soon as two classes have labels"
_HIDDEN = "references come after your answer: a check particle is judged without them"


@dataclass(frozen=True)
class Reference:
    """A class with its labeled members that look most like the item: pool rows and their pictures."""

    name: str
    rows: tuple[int, ...]
    pictures: tuple[QImage, ...]


def nearest_labeled(session: Session, item: ItemView) -> list[tuple[str, list[int]]]:
    """Return for the likeliest classes the pool rows of labeled items that look most like an item, nearest first."""
    labels, classes = session.labels(), session.classes
    near = dict[str, list[int]]()
    for row in session.answering.similar(item.row, len(session.ids)).tolist():
        if row in labels and row != item.row and len(members := near.setdefault(labels[row], [])) < _MOST:
            members.append(row)
    names = list(near)  # that of the nearest in front
    if len(item.teacher_probs) == len(classes):
        names.sort(key=lambda name: -item.teacher_probs[classes.index(name)])
    return [(name, near[name]) for name in names[:_CLASSES]]


class References(QWidget):
    """Two lines of pictures, in the contrast of the item's own slices.

    Parameters
    ----------
    session : Session
        The session.
    picture : callable
        Pool row to a picture (y, x) or (y, x, 3) from 0 to 1; called off the main thread.
    colours : Colours
        Of the theme.
    """

    def __init__(self, session: Session, picture: Callable[[int], np.ndarray], colours: Colours) -> None:
        super().__init__()
        self._session, self._picture, self._colours = session, picture, colours
        self.shown: Sequence[Reference] = ()
        self.text = _NONE
        self._row: int | None = None
        self._finding = Background(self._have, lambda _: None)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("what was labeled and looks most like this particle; N hides it")

    @override
    def sizeHint(self) -> QSize:
        return QSize(300, _CLASSES * (_SIZE + _GAP))

    def show_item(self, item: ItemView | None) -> None:
        """Show the references of an item; of one whose prediction is hidden none."""
        before, self._row = self._row, None if item is None else item.row
        if item is None or (item.is_audit and item.label is None):
            self.shown, self.text = (), "" if item is None else _HIDDEN
            self._finding.ask(lambda: None)  # what still runs is of another item
            self.update()
        elif self.isVisible():
            if item.row != before:  # those of another item would mislead
                self.shown, self.text = (), ""
                self.update()
            self._finding.ask(self._find, item)

    def _find(self, item: ItemView) -> tuple[int, list[Reference]]:
        found = []
        with contextlib.suppress(TomoTutorError):  # nothing has looked at the pool yet, or a file is gone: others tell
            for name, rows in nearest_labeled(self._session, item):
                found.append(Reference(name, tuple(rows), tuple(to_image(self._picture(row)) for row in rows)))
        return item.row, found

    def _have(self, found: tuple[int, Sequence[Reference]] | None) -> None:
        if found is None or found[0] != self._row:
            return
        self.shown, self.text = found[1], _NONE
        self.update()

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self._colours = colours
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            font = painter.font()
            font.setPixelSize(12)
            painter.setFont(font)
            painter.setPen(self._colours.text)
            if not self.shown:
                flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
                painter.drawText(self.rect().adjusted(20, 0, -20, 0), flags, self.text)
            table = self._session.class_table
            chips = class_colours(table.names, table.colours)
            for line, one in enumerate(self.shown):
                top = line * (_SIZE + _GAP)
                painter.fillRect(
                    QRect(0, top + 2, 4, _SIZE - 4), QColor.fromRgbF(*chips.get(one.name, (0.6, 0.6, 0.6)))
                )
                name = painter.fontMetrics().elidedText(one.name, Qt.TextElideMode.ElideMiddle, _NAME - 14)
                painter.drawText(QRect(10, top, _NAME - 12, _SIZE), Qt.AlignmentFlag.AlignVCenter, name)
                for place, image in enumerate(one.pictures):
                    painter.drawImage(QRect(_NAME + place * (_SIZE + _GAP), top, _SIZE, _SIZE), image)

    def stop(self) -> None:
        """Find nothing more."""
        self._finding.stop()
