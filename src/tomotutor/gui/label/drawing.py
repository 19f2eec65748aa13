"""Draws the current item: into the canvas, the slices, and the layer to paint on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.export.figures import thumbnail
from tomotutor.gui.canvas.item import ItemCanvas, limits_of, smooth
from tomotutor.gui.canvas.painting import MaskPainter
from tomotutor.gui.label.slices import OrthoSlices
from tomotutor.session import Session
from tomotutor.session.status import ItemView

_SAMPLE = 8 * 64**3  # voxels that contrast is taken from


class ItemDrawer:
    """Reads items and draws them.

    Parameters
    ----------
    session : Session
        Whose items they are.
    canvas, slices, painter
        Where they are drawn; `painter` in segmentation.
    is_denoised : callable
        Whether denoised tomograms are looked at.
    say : callable
        Told of an item that cannot be read.
    """

    def __init__(
        self,
        session: Session,
        canvas: ItemCanvas,
        slices: OrthoSlices,
        painter: MaskPainter | None,
        is_denoised: Callable[[], bool],
        say: Callable[[str], object],
    ) -> None:
        self._session, self._canvas, self._slices, self._painter = session, canvas, slices, painter
        self._is_denoised, self._say = is_denoised, say
        self.problem = ""  # why the item that is shown cannot be read

    def read(self, row: int) -> np.ndarray:
        """Return an item as it is to be looked at."""
        denoised = self._session.denoised if self._is_denoised() else None
        return (denoised or self._session.pool).read(np.array([row]))[0]

    def picture(self, row: int) -> np.ndarray:
        """Return the middle slice of an item, (y, x) or (y, x, 3) from 0 to 1, in the contrast of the slices."""
        x_C = self.read(row)
        if x_C.ndim < 4:
            return thumbnail(x_C)
        low, high = self._slices.limits
        volume = smooth(x_C, self._canvas.sigma)
        return np.clip((volume[len(volume) // 2] - low) / (high - low), 0, 1)

    def take_contrast(self, items: Sequence[ItemView]) -> None:
        """Take the contrast from some items; from here on it stays."""
        room = max(1, _SAMPLE // int(np.prod(self._session.pool.shape)))
        try:
            sample = [self.read(item.row) for item in items[:room]]
        except TomoTutorError as problem:
            self._say(str(problem))
            return
        self._canvas.set_sample(sample)
        if sample and sample[0].ndim == 4:
            self._slices.set_limits(*limits_of([smooth(x_C, self._canvas.sigma) for x_C in sample], 1, 99.7))

    def draw(self, item: ItemView | None) -> None:
        """Draw an item; None draws nothing."""
        self.problem = ""
        try:
            x_C = None if item is None else self.read(item.row)
        except TomoTutorError as problem:
            self.problem, x_C = str(problem), None
            self._say(self.problem)
        self._canvas.show(x_C)
        if self._painter:
            self._painter.show(None if item is None else item.row, self._session.pool.shape[1:], self._mask(item))
        if x_C is None or x_C.ndim == 4:
            self._slices.show_volume(None if x_C is None else smooth(x_C, self._canvas.sigma))
        else:
            self._slices.show_picture(thumbnail(x_C))

    def _mask(self, item: ItemView | None) -> np.ndarray | None:
        try:
            return None if item is None else self._session.mask(item.row)
        except TomoTutorError as problem:
            self._say(str(problem))
            return None
