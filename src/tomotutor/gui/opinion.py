"""What teacher and student think of the current item: two bars a class."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from tomotutor.session.status import ItemView, PoolMap

TEACHER, STUDENT = QColor(86, 156, 214), QColor(220, 150, 70)
_ROW, _MOST = 16, 12


class Opinion(QWidget):
    """Bars of the teacher's and student's probabilities, and their disagreement in a line of text, with its unit."""

    def __init__(self, classes: Sequence[str], unit: str = "nats", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._unit = unit
        self._classes = list(classes)
        self._item: ItemView | None = None
        self._has_model = False
        self._look: PoolMap | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @override
    def sizeHint(self) -> QSize:
        return QSize(300, _ROW * (min(len(self._classes), _MOST) + 1) + 4)

    def set_item(self, item: ItemView | None, *, has_model: bool, look: PoolMap | None = None) -> None:
        """Show the opinion about an item; where there is no model yet, its group of a look at the pool."""
        self._item, self._has_model, self._look = item, has_model, look
        self.update()

    @property
    def text(self) -> str:
        """The line above the bars."""
        item = self._item
        if item is None:
            return "nothing left to label"
        if not self._has_model:
            return self._without_model(item)
        if item.is_audit and item.label is None:
            return "audit item: the prediction is hidden until you answer"
        if item.disagreement is None:
            return "not scored in this round"
        return f"disagreement {item.disagreement:.3f} {self._unit}"

    def _without_model(self, item: ItemView) -> str:
        look = self._look
        group = None if look is None else look.group(item.row)
        if look is None or group is None:
            return "no model yet: it comes after the first training"
        if item.is_audit and item.label is None:
            return "no model yet · audit item: its look-alikes are hidden until you answer"
        size = int((look.group_N == group).sum())
        return f"no model yet · look-alikes: group {group + 1} of {look.group_N.max() + 1} ({size} items)"

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        font = painter.font()
        font.setPixelSize(12)
        painter.setFont(font)
        grey = QColor(190, 190, 190)
        painter.setPen(grey)
        painter.drawText(QRectF(0, 0, self.width(), _ROW), Qt.AlignmentFlag.AlignVCenter, self.text)
        if self._item is None or not self._item.teacher_probs:
            return
        for x, colour, name in ((self.width() - 118, TEACHER, "teacher"), (self.width() - 58, STUDENT, "student")):
            painter.fillRect(QRectF(x, 5, 8, 8), colour)
            painter.drawText(QRectF(x + 11, 0, 60, _ROW), Qt.AlignmentFlag.AlignVCenter, name)
        teacher, student = self._item.teacher_probs, self._item.student_probs
        order = range(len(self._classes))
        if len(order) > _MOST:  # the most probable ones; all do not fit
            order = sorted(order, key=lambda c: -max(teacher[c], student[c]))[:_MOST]  # type: ignore[assignment]
        name_width = min(130, self.width() // 3)
        for line, number in enumerate(order, start=1):
            top = line * _ROW + 2
            painter.setPen(grey)
            name = painter.fontMetrics().elidedText(self._classes[number], Qt.TextElideMode.ElideRight, name_width - 6)
            painter.drawText(QRectF(0, top, name_width, _ROW), Qt.AlignmentFlag.AlignVCenter, name)
            room = self.width() - name_width - 40
            for offset, probs, colour in ((2, teacher, TEACHER), (8, student, STUDENT)):
                painter.fillRect(QRectF(name_width, top + offset, max(1.0, room * probs[number]), 5), colour)
            percent = f"{100 * teacher[number]:.0f} %"
            painter.drawText(
                QRectF(self.width() - 38, top, 38, _ROW),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight,
                percent,
            )
