"""What a new session would be made of, looked at before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from tomotutor.base.errors import CancelledError
from tomotutor.data.options import Source
from tomotutor.data.pool import Pool
from tomotutor.data.sources import Opened, open_input
from tomotutor.data.sources.parent import open_tomogram
from tomotutor.export.figures import thumbnail
from tomotutor.gui.label.slices import to_image

_READ, _SHOWN = 24, 6  # items that are read, and those of them that are shown
_SURE = 3.0  # standard errors from which the contrast is told
_SLICES, _EDGE = 5, 256  # of the slab: slices, and pixels of its longer edge at most
_HIGH, _GAP, _ACROSS = 62, 3, 3  # pixels of an item's picture and between two, and items in a line


@dataclass(frozen=True)
class Slab:
    """A slab of the first tomogram with the picks in it.

    Attributes
    ----------
    image_YX : ndarray
        From 0 to 1.
    yx_N2 : ndarray
        The picks that the slab meets, pixels of the image.
    """

    image_YX: np.ndarray
    yx_N2: np.ndarray


@dataclass(frozen=True)
class Preview:
    """What a session would be made of: a sentence, pictures of items, and a slab with picks where there is one."""

    text: str
    pictures: tuple[np.ndarray, ...]
    slab: Slab | None


def look(source: Source, cancelled: Callable[[], bool]) -> Preview:
    """Open an input and read a few of its items.

    Parameters
    ----------
    source : Source
        The input.
    cancelled : callable
        Asked before each item is read.

    Raises
    ------
    TomoTutorError
        Something is wrong with the input.
    CancelledError
        Nobody wants to know any more.
    """
    opened = open_input(source)
    pool = opened.pool
    opened.denoised()  # said now if they are not all there
    items = []
    for row in np.linspace(0, len(pool) - 1, min(_READ, len(pool))).round().astype(int):
        if cancelled():
            raise CancelledError
        items.append(pool.read(np.array([row]))[0])
    slab = _slab(opened) if opened.particles else None
    return Preview(_told(opened, np.stack(items)), tuple(thumbnail(x_C) for x_C in items[:_SHOWN]), slab)


def _told(opened: Opened, x_NC: np.ndarray) -> str:
    pool, reading = opened.pool, opened.source.reading
    what = "particle" if pool.ndim == 3 else "image"
    parts = [f"{len(pool):,} {what}{'' if len(pool) == 1 else 's'}"]
    tomograms = len(set(pool.tomogram_N.tolist()) - {""})
    if tomograms:
        parts[0] += f" from {tomograms} tomogram{'' if tomograms == 1 else 's'}"
    size = " × ".join(map(str, pool.shape[:0:-1]))
    parts.append(f"{size} {'voxels' if pool.ndim == 3 else 'pixels'}")
    if pool.ndim == 3:
        rescaled, asked = opened.source.preparation.rescale, reading.voxel_size
        origin = "as rescaled" if rescaled else "as typed" if asked else "as the files say"
        known = pool.voxel_size_angst
        parts.append(f"voxels of {known:.4g} Å, {origin}" if known else "voxel size unknown")
        parts.append(_contrast(pool, x_NC))
    if outside := int(pool.padded_N.sum()):
        parts.append(f"{outside:,} box{' leaves its' if outside == 1 else 'es leave their'} tomogram")
    if pool.class_names:
        parts.append(
            f"classes in the file: {', '.join(pool.class_names[:4])}{', …' if len(pool.class_names) > 4 else ''}"
        )
    return " · ".join(part for part in parts if part)


def _contrast(pool: Pool, x_NC: np.ndarray) -> str:
    """Say whether protein looks as it is said to be: `x_NC` has it bright, if that is true."""
    if pool.protein == "none" or len(x_NC) < 4:
        return ""
    axes = [np.arange(n) - n // 2 for n in x_NC.shape[2:]]
    share = np.sqrt(sum(a.astype(float) ** 2 for a in np.meshgrid(*axes, indexing="ij"))) / (min(x_NC.shape[2:]) / 2)
    difference_N = x_NC[:, 0, share < 0.5].mean(1) - x_NC[:, 0, (share > 0.8) & (share < 1)].mean(1)
    error = difference_N.std(ddof=1) / np.sqrt(len(x_NC))
    if difference_N.mean() < -_SURE * error:
        other = "bright" if pool.protein == "dark" else "dark"
        return f"protein looks {other}, and is taken to be {pool.protein}: right?"
    return f"protein is {pool.protein}" if difference_N.mean() > _SURE * error else ""


def _slab(opened: Opened) -> Slab:
    assert opened.particles is not None
    tomogram = open_tomogram(opened.particles, 0)
    z = int(np.clip(np.median(tomogram.zyx_N3[:, 0]), 0, tomogram.data.shape[0] - 1))
    slab_YX = tomogram.slab(z, _SLICES)
    step = max(1, -(-max(slab_YX.shape) // _EDGE))
    height, width = (n // step for n in slab_YX.shape)
    small_YX = slab_YX[: height * step, : width * step].reshape(height, step, width, step).mean((1, 3))
    low, high = np.percentile(small_YX, (1, 99))
    image_YX = np.clip((small_YX - low) / max(float(high - low), 1e-9), 0, 1)
    return Slab(image_YX, tomogram.zyx_N3[tomogram.within(z)][:, 1:] / step)


class PreviewView(QWidget):
    """Shows a preview: a sentence, and below it the slab and some items."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.pictures: list[QLabel] = []
        self._grid = QGridLayout()
        self._grid.setSpacing(_GAP)
        self._grid.setAlignment(Qt.AlignmentFlag.AlignLeft)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.addWidget(self.text)
        layout.addLayout(self._grid)

    def say(self, text: str) -> None:
        """Show a sentence without pictures; "" shows nothing."""
        self._show(text, None, [])

    def show_preview(self, preview: Preview) -> None:
        """Show a preview: the slab, and beside it the items in two lines."""
        items = [to_image(picture) for picture in preview.pictures]
        self._show(preview.text, _painted(preview.slab) if preview.slab else None, items)

    def _show(self, text: str, slab: QImage | None, items: list[QImage]) -> None:
        self.text.setText(text)
        for label in self.pictures:
            self._grid.removeWidget(label)
            label.deleteLater()
        self.pictures = []
        if slab is not None:
            room = max(self.width(), 300) - _ACROSS * (_HIGH + _GAP)
            self._add(slab, room, 2 * _HIGH + _GAP, 0, 0, 2)
        for number, image in enumerate(items):
            self._add(image, _HIGH, _HIGH, number // _ACROSS, 1 + number % _ACROSS, 1)

    def _add(self, image: QImage, width: int, height: int, row: int, column: int, lines: int) -> None:
        label = QLabel()
        smooth, whole = Qt.TransformationMode.SmoothTransformation, Qt.AspectRatioMode.KeepAspectRatio
        label.setPixmap(QPixmap.fromImage(image.scaled(width, height, whole, smooth)))
        self._grid.addWidget(label, row, column, lines, 1)
        self.pictures.append(label)


def _painted(slab: Slab) -> QImage:
    image = to_image(slab.image_YX).convertToFormat(QImage.Format.Format_RGB888)
    painter = QPainter(image)
    painter.setPen(QPen(QColor(255, 210, 60), 1.5))
    for y, x in slab.yx_N2.tolist():
        painter.drawEllipse(QPointF(x, y), 4, 4)
    painter.end()
    return image
