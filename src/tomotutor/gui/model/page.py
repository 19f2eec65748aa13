"""The Model tab: learning curve and map of the pool."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QVBoxLayout, QWidget

from tomotutor.gui.model.curve import CurveCanvas
from tomotutor.gui.model.pool_map import PoolMapCanvas
from tomotutor.gui.theme import Colours


class ModelPage(QWidget):
    """What the networks have learned, and how the pool looks to them.

    Parameters
    ----------
    classes : sequence of str
        Class names.
    colours : Colours
        Of the theme.
    """

    def __init__(self, classes: Sequence[str], colours: Colours) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        self.curve = CurveCanvas(colours)
        self.map = PoolMapCanvas(classes, colours)
        layout.addWidget(self.curve, 1)
        layout.addWidget(self.map, 1)

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self.curve.set_colours(colours)
        self.map.set_colours(colours)
