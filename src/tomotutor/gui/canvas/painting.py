"""Painting the mask of an image: one Labels layer of napari over it, reused from image to image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from tomotutor.formats.mask_png import VOID, palette
from tomotutor.gui.canvas.stage import OURS

_NAME = "mask"


class MaskPainter:
    """The Labels layer in which a person paints. Its value is the class number + 1; 0, which is transparent, becomes
    void.

    Parameters
    ----------
    viewer : ViewerModel
        napari's viewer.
    classes : sequence of str
        Class names.
    """

    def __init__(self, viewer: ViewerModel, classes: Sequence[str]) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None
        self._drafts: dict[int, np.ndarray] = {}  # what was painted in this window, so that going back loses nothing
        self._row: int | None = None
        self.selected = 0
        table: dict[int | None, tuple[float, ...]] = {
            n + 1: (*(c / 255).tolist(), 1.0) for n, c in enumerate(palette()[: len(classes)])
        }
        table[0] = table[None] = (0.0, 0.0, 0.0, 0.0)
        self._colours = DirectLabelColormap(color_dict=table)
        self.colours = ["#{:02x}{:02x}{:02x}".format(*c) for c in palette()[: len(classes)]]  # of each class

    def show(self, row: int | None, shape: tuple[int, ...], mask_YX: np.ndarray | None) -> None:
        """Show an item's draft, else the mask it has, else nothing painted yet; row None takes the layer away."""
        self.keep_draft()
        self._row = row
        if row is None:
            self.clear()
            return
        data = self._drafts.get(row)
        if data is None:
            data = (
                np.zeros(shape, np.uint8)
                if mask_YX is None
                else np.where(mask_YX == VOID, 0, mask_YX + 1).astype(np.uint8)
            )
        if not self._alive():
            self._layer = self._viewer.add_labels(
                data, name=_NAME, opacity=0.55, colormap=self._colours, metadata={OURS: True}
            )
            self._layer.brush_size = max(2, min(shape) // 12)
            self._layer.mode = "paint"
        else:
            assert self._layer is not None
            self._layer.data = data
        self._viewer.layers.selection.active = self._layer
        self.select(self.selected)

    def keep_draft(self) -> None:
        """Remember what is painted on the item that is shown."""
        if self._row is not None and self._alive() and self._layer is not None and self._layer.data.any():
            self._drafts[self._row] = np.array(self._layer.data, np.uint8)

    def select(self, number: int) -> None:
        """Choose the class to paint; len(classes) and above erase."""
        self.selected = number
        if self._alive() and self._layer is not None:
            value = number + 1
            self._layer.selected_label = value if value in self._colours.color_dict else 0
            if self._layer.mode not in ("paint", "fill", "polygon"):
                self._layer.mode = "paint"

    @property
    def mask(self) -> np.ndarray | None:
        """The mask painted so far, (y, x) uint8 with 255 for void; None if nothing is painted."""
        if not self._alive() or self._layer is None or not self._layer.data.any():
            return None
        data = np.asarray(self._layer.data)
        return np.where(data == 0, VOID, data - 1).astype(np.uint8)

    def _alive(self) -> bool:
        """Whether our layer is still there; a person may have deleted it."""
        return self._layer is not None and self._layer in self._viewer.layers

    def clear(self) -> None:
        """Take our layer out of the viewer."""
        if self._alive():
            self._viewer.layers.remove(self._layer)
        self._layer = None
