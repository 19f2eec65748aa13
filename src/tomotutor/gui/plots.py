"""The plots in the dock: the learning curve, and before the first round the map of look-alikes."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backend_bases import MouseButton, MouseEvent
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from qtpy.QtCore import Signal

from tomotutor.export.figures import draw_learning_curve
from tomotutor.session.classes import JUNK
from tomotutor.session.status import CurvePoint, ItemView, PoolMap

_TEXT, _GROUND = "#c8c8c8", "#262930"
_MOST_NAMES = 20  # in the legend of the map


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


class LookMap(FigureCanvasQTAgg):
    """The pool before the first round: what looks alike lies close together, in the colour of its group.

    Items with a label are drawn larger, in the colour of their class; the current item has a ring, unless it is an
    audit item without an answer, which nothing may hint at. `clicked` carries the pool row of the point nearest to a
    click.

    Parameters
    ----------
    classes : sequence of str
        Class names.
    """

    clicked = Signal(int)

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(Figure(figsize=(4, 2.2), dpi=80, facecolor=_GROUND))
        self.setMinimumHeight(190)
        self._colours = class_colours(classes)
        self._look: PoolMap | None = None
        # groups and legend as painted; labels and ring go over them, so that thousands of points need not be drawn anew
        self._ground: Any = None
        self.mpl_connect("button_press_event", self._pressed)
        self.mpl_connect("draw_event", lambda _: self._drawn())

    def set_look(self, look: PoolMap, labels: Mapping[int, str], item: ItemView | None) -> None:
        """Show a look at the pool, the labels given so far (by pool row), and the current item."""
        if look is not self._look:
            self._look = look
            self._draw_groups(look)
        rows = np.array([row for row in labels if look.group(row) is not None], np.int64)
        self._labeled.set_offsets(look.xy_N2[np.searchsorted(look.rows, rows)])
        self._labeled.set_facecolor([self._colours[labels[row]] for row in rows.tolist()])
        hidden = item is None or look.group(item.row) is None or (item.is_audit and item.label is None)
        self._ring.set_offsets(
            look.xy_N2[:0] if item is None or hidden else look.xy_N2[np.searchsorted(look.rows, [item.row])]
        )
        named = set(labels.values())
        self._set_legend([name for name in self._colours if name in named])
        if self._ground is None:
            self.draw_idle()
        else:
            self.restore_region(self._ground)
            self._draw_moving()
            self.blit(self.figure.bbox)

    @property
    def ringed(self) -> list[tuple[float, float]]:
        """Place of the item with the ring, if there is one."""
        return [tuple(xy) for xy in np.asarray(self._ring.get_offsets()).tolist()]

    @property
    def legend(self) -> list[str]:
        """Class names in the legend."""
        return list(self._legend)

    def _draw_groups(self, look: PoolMap) -> None:
        self.figure.clear()
        self._ground = None
        self._axes = axes = self.figure.add_axes((0.01, 0.02, 0.74, 0.86))
        axes.set_axis_off()
        axes.margins(0.06)
        groups = int(look.group_N.max()) + 1
        axes.set_title(
            f"{len(look.rows)} items, {groups} groups that look alike; click a point to see it",
            color=_TEXT,
            fontsize=9,
            loc="left",
        )
        size = float(np.clip(9000 / len(look.rows), 5, 16))
        x_N, y_N = look.xy_N2.T
        axes.scatter(x_N, y_N, s=size, c=group_colours(groups)[look.group_N], linewidths=0)
        self._labeled = axes.scatter([], [], s=42, linewidths=0.8, edgecolors=_GROUND, zorder=3, animated=True)
        self._ring = axes.scatter(
            [], [], s=120, linewidths=1.6, facecolors="none", edgecolors="white", zorder=4, animated=True
        )
        self._legend: list[str] = []

    def _set_legend(self, names: list[str]) -> None:
        if names == self._legend:
            return
        self._legend, self._ground = names, None
        handles = [
            Line2D([], [], marker="o", ls="", ms=6, color=self._colours[n], label=_short(n))
            for n in names[:_MOST_NAMES]
        ]
        if len(names) > _MOST_NAMES:
            handles[-1] = Line2D([], [], ls="", label=f"and {len(names) - _MOST_NAMES + 1} more")
        size = min(8.0, 120 / max(1, len(handles)))
        self._axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.12),
            fontsize=size,
            labelcolor=_TEXT,
            frameon=False,
            handletextpad=0.1,
            borderaxespad=0,
            labelspacing=0.25,
        )

    def _drawn(self) -> None:
        """Keep what was painted, and paint over it what moves."""
        if self._look is not None:
            self._ground = self.copy_from_bbox(self.figure.bbox)
            self._draw_moving()

    def _draw_moving(self) -> None:
        for artist in (self._labeled, self._ring):
            self._axes.draw_artist(artist)

    def _pressed(self, event: MouseEvent) -> None:
        if self._look is None or event.button is not MouseButton.LEFT or event.inaxes is None:
            return
        away_N = np.hypot(*(self._axes.transData.transform(self._look.xy_N2) - (event.x, event.y)).T)
        self.clicked.emit(int(self._look.rows[away_N.argmin()]))


def group_colours(groups: int) -> np.ndarray:
    """Return a quiet colour for each group, (groups, 3): tab20 halfway to grey, again from the first where it ends."""
    return 0.5 * np.array(colormaps["tab20"].colors)[np.arange(groups) % 20] + 0.22  # type: ignore[attr-defined]


def class_colours(classes: Sequence[str]) -> dict[str, Any]:
    """Return a bright colour for each class; junk is white."""
    hues = [
        (0.13 + 0.618 * n) % 1 for n in range(len(classes))
    ]  # the golden section: neighbours differ, however many there are
    return {
        name: (1.0, 1.0, 1.0) if name == JUNK else colorsys.hsv_to_rgb(h, 0.85, 1.0)
        for name, h in zip(classes, hues, strict=True)
    }


def _short(name: str, most: int = 15) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
