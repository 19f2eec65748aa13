"""Three slices through the current item, with a crosshair; drawn with QPainter, no OpenGL."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QWidget
from typing_extensions import override

# for each pane: axis it is perpendicular to, then the axes shown down and across (of z, y, x)
_PANES = {"xy": (0, 1, 2), "xz": (1, 0, 2), "yz": (2, 1, 0)}


def to_image(picture: np.ndarray) -> QImage:
    """Turn (y, x) or (y, x, 3) from 0 to 1 into an image that owns its pixels."""
    pixels = np.ascontiguousarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    height, width = pixels.shape[:2]
    kind = QImage.Format.Format_Grayscale8 if pixels.ndim == 2 else QImage.Format.Format_RGB888
    return QImage(pixels.data, width, height, pixels.strides[0], kind).copy()


class SlicePane(QWidget):
    """One slice. Click or drag moves the crosshair, the wheel moves the slice."""

    def __init__(self, owner: OrthoSlices, name: str) -> None:
        super().__init__(owner)
        self._owner = owner
        self._name = name
        self._image: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(100, 100)
        self.setToolTip(f"{name} slice: click moves the crosshair, the wheel moves the slice")

    @override
    def sizeHint(self) -> QSize:
        return QSize(200, 200)

    def set_picture(self, picture: np.ndarray | None) -> None:
        """Show (y, x) or (y, x, 3) from 0 to 1; None empties the pane."""
        self._image = None if picture is None else to_image(picture)
        self.update()

    def _target(self) -> QRectF:
        assert self._image is not None
        scale = min(self.width() / self._image.width(), self.height() / self._image.height())
        width, height = self._image.width() * scale, self._image.height() * scale
        return QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            if self._image is None:
                return
            target = self._target()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(target, self._image)
            cross = self._owner.cross_in(self._name)
            if cross is not None:
                down, across = cross
                x = target.left() + (across + 0.5) / self._image.width() * target.width()
                y = target.top() + (down + 0.5) / self._image.height() * target.height()
                painter.setPen(QPen(QColor(255, 190, 60, 110), 1))
                painter.drawLine(QPointF(x, target.top()), QPointF(x, target.bottom()))
                painter.drawLine(QPointF(target.left(), y), QPointF(target.right(), y))
                corner = QRectF(target.left(), target.top(), 24, 18)
                painter.fillRect(corner, QColor(0, 0, 0, 150))  # the picture below may be as bright as the text
                painter.setPen(QColor(230, 230, 230))
                painter.drawText(corner, Qt.AlignmentFlag.AlignCenter, self._name)

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._image is None or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        target, at = self._target(), event.position()
        across = int((at.x() - target.left()) / target.width() * self._image.width())
        down = int((at.y() - target.top()) / target.height() * self._image.height())
        self._owner.move_cross(self._name, down, across)

    mouseMoveEvent = mousePressEvent

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        self._owner.move_slice(self._name, 1 if event.angleDelta().y() > 0 else -1)
        event.accept()


class OrthoSlices(QWidget):
    """xy, xz and yz slices of a volume, or one picture of a 2D item."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._volume: np.ndarray | None = None
        self._limits = (0.0, 1.0)
        self._zyx = [0, 0, 0]
        self.panes = {name: SlicePane(self, name) for name in _PANES}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for pane in self.panes.values():
            layout.addWidget(pane)

    @property
    def limits(self) -> tuple[float, float]:
        """The contrast."""
        return self._limits

    def set_limits(self, low: float, high: float) -> None:
        """Set the contrast; it stays from volume to volume."""
        self._limits = (low, high)
        self._draw()

    def show_volume(self, volume_zyx: np.ndarray | None) -> None:
        """Show (z, y, x), the crosshair in its centre; None empties the panes."""
        self._volume = volume_zyx
        if volume_zyx is not None:
            self._zyx = [size // 2 for size in volume_zyx.shape]
        for pane in self.panes.values():
            pane.show()
        self._draw()

    def show_picture(self, picture: np.ndarray) -> None:
        """Show a 2D item, (y, x) or (y, x, 3) from 0 to 1, in one pane."""
        self._volume = None
        for name, pane in self.panes.items():
            pane.setVisible(name == "xy")
            pane.set_picture(picture if name == "xy" else None)

    def cross_in(self, name: str) -> tuple[int, int] | None:
        """Return the crosshair in a pane (down, across), None without a volume."""
        if self._volume is None:
            return None
        _, down, across = _PANES[name]
        return self._zyx[down], self._zyx[across]

    def move_cross(self, name: str, down: int, across: int) -> None:
        """Put the crosshair of a pane; the other two slices follow."""
        if self._volume is None:
            return
        _, down_axis, across_axis = _PANES[name]
        self._set(down_axis, down)
        self._set(across_axis, across)
        self._draw()

    def move_slice(self, name: str, step: int) -> None:
        """Move the slice of a pane."""
        if self._volume is None:
            return
        axis = _PANES[name][0]
        self._set(axis, self._zyx[axis] + step)
        self._draw()

    def _set(self, axis: int, position: int) -> None:
        assert self._volume is not None
        self._zyx[axis] = min(max(position, 0), self._volume.shape[axis] - 1)

    def _draw(self) -> None:
        for name, (axis, _, _) in _PANES.items():
            if self._volume is None:
                self.panes[name].set_picture(None)
                continue
            low, high = self._limits
            picture = (np.take(self._volume, self._zyx[axis], axis) - low) / (high - low)
            self.panes[name].set_picture(picture.T if name == "yz" else picture)
