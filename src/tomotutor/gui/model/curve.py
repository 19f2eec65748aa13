"""The learning curve."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from typing_extensions import override

from tomotutor.export.figures import draw_learning_curve
from tomotutor.gui.model.figure import ShownCanvas
from tomotutor.gui.theme import Colours
from tomotutor.session.status import CurvePoint


class CurveCanvas(ShownCanvas):
    """Audit accuracy with its interval against labels, redrawn once a round."""

    def __init__(self, colours: Colours) -> None:
        super().__init__(Figure(figsize=(4, 2.2), dpi=80, layout="constrained"))
        self.setMinimumHeight(110)
        self._curve: Sequence[CurvePoint] = ()
        self._colours = colours

    def set_curve(self, curve: Sequence[CurvePoint]) -> None:
        """Draw the curve."""
        self._curve = curve
        self.renew()

    @override
    def fill(self) -> None:
        ground = self._colours.ground.name()
        self.figure.clear()
        self.figure.set_facecolor(ground)
        axes = self.figure.subplots()
        draw_learning_curve(axes, self._curve, ink=self._colours.text.name())
        axes.set_facecolor(ground)

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self._colours = colours
        self.set_curve(self._curve)
