"""The learning curve in the dock."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure

from tomotutor.figures import draw_learning_curve
from tomotutor.views import CurvePoint

_TEXT, _GROUND = "#c8c8c8", "#262930"


class CurveCanvas(FigureCanvasQTAgg):
    """Audit accuracy with its interval against labels, redrawn once a round."""

    def __init__(self) -> None:
        super().__init__(Figure(figsize=(4, 2.2), dpi=80, layout="constrained", facecolor=_GROUND))
        self.setMinimumHeight(190)

    def set_curve(self, curve: Sequence[CurvePoint]) -> None:
        """Draw the curve."""
        self.figure.clear()
        axes = self.figure.subplots()
        draw_learning_curve(axes, curve, ink=_TEXT)
        axes.set_facecolor(_GROUND)
        self.draw_idle()
