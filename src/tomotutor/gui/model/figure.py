"""A figure on the screen that costs nothing while nobody sees it."""

from __future__ import annotations

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtGui import QShowEvent
from typing_extensions import override


class ShownCanvas(FigureCanvasQTAgg):
    """Is drawn only while it is visible: drawing a hidden one would hold the screen up for a tenth of a second."""

    def __init__(self, figure: Figure) -> None:
        self._waits = False
        super().__init__(figure)

    @override
    def draw_idle(self) -> None:
        self._waits = not self.isVisible()
        if not self._waits:
            super().draw_idle()

    def fill(self) -> None:
        """Put what is known into the figure."""

    def renew(self) -> None:
        """Fill and draw the figure anew, when it is seen."""
        self._waits = not self.isVisible()
        if not self._waits:
            self.fill()
            super().draw_idle()

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._waits:
            self.renew()
