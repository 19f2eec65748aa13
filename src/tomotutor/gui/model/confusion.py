"""The confusion matrix: labels against what models say that have not seen them."""

from __future__ import annotations

import numpy as np
from matplotlib.backend_bases import MouseEvent
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import Signal

from tomotutor.gui.theme import Colours
from tomotutor.session.report import Judged

_LONGEST = 14  # characters of a class name beside the matrix


class ConfusionCanvas(FigureCanvasQTAgg):
    """Rows are labels, columns predictions, cells the number of particles; `clicked` carries a cell."""

    clicked = Signal(int, int)

    def __init__(self, colours: Colours) -> None:
        super().__init__(Figure(figsize=(4, 4), dpi=80, layout="constrained"))
        self.setMinimumHeight(220)
        self.setToolTip(
            "check particles, and labels predicted by models that have not seen them; click a cell to see its particles"
        )
        self._colours, self._judged, self._classes = colours, Judged.none(), tuple[str, ...]()
        self.mpl_connect("button_press_event", self._pressed)

    def set_judged(self, judged: Judged, classes: tuple[str, ...]) -> None:
        """Show labels and predictions."""
        self._judged, self._classes = judged, classes
        self._draw()

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self._colours = colours
        self._draw()

    @property
    def counts(self) -> np.ndarray:
        """What stands in the cells, (label, prediction)."""
        n = len(self._classes)
        counts = np.zeros((n, n), np.int64)
        np.add.at(counts, (self._judged.label_M, self._judged.predicted_M), 1)
        return counts

    def _draw(self) -> None:
        ink, ground = self._colours.text.name(), self._colours.ground.name()
        self.figure.clear()
        self.figure.set_facecolor(ground)
        axes = self.figure.subplots()
        axes.set_facecolor(ground)
        counts, n = self.counts, len(self._classes)
        if not counts.sum():
            axes.set_axis_off()
            axes.text(
                0.5,
                0.5,
                "nothing to compare yet:\nit comes with labels\nof two classes",
                color=ink,
                ha="center",
                va="center",
                transform=axes.transAxes,
            )
            self.draw_idle()
            return
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in self._classes]
        size = 9 if n <= 12 else 7
        axes.set_xticks(range(n), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(range(n), names, fontsize=size)
        axes.tick_params(colors=ink)
        axes.set_xlabel("prediction", color=ink)
        axes.set_ylabel("label", color=ink)
        right = int(np.trace(counts))
        axes.set_title(f"{right} of {int(counts.sum())} alike", color=ink, fontsize=10)
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[i, j] > 0.5 else "black"
                axes.text(j, i, str(count), ha="center", va="center", fontsize=size, color=colour)
        self.draw_idle()

    def _pressed(self, event: MouseEvent) -> None:
        if event.inaxes is None or event.xdata is None or event.ydata is None or not len(self._judged.rows):
            return
        self.clicked.emit(round(event.ydata), round(event.xdata))
