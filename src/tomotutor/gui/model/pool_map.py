"""The map of the pool: what looks alike lies close together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backend_bases import MouseButton, MouseEvent
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.widgets import LassoSelector
from qtpy.QtCore import Signal

from tomotutor.gui.model.figure import ShownCanvas
from tomotutor.gui.theme import Colours, class_colours
from tomotutor.session.status import ItemView, PoolMap

_CLICK = 4  # pixels that a mouse may move in a click; a longer way is a lasso
_MOST_NAMES = 20  # in the legend of the map


class PoolMapCanvas(ShownCanvas):
    """What looks alike to the networks a session starts from lies close together, in the colour of its group.

    Items with a label are drawn larger, in the colour of their class; the current item has a ring, unless it is an
    audit item without an answer, which nothing may hint at. `clicked` carries the pool row of the point nearest to a
    click, `lassoed` the rows of those that were drawn around.

    Parameters
    ----------
    classes : sequence of str
        Class names.
    theme : Colours
        Of the theme.
    """

    clicked = Signal(int)
    lassoed = Signal(object)  # pool rows

    def __init__(self, classes: Sequence[str], theme: Colours) -> None:
        super().__init__(Figure(figsize=(4, 2.2), dpi=80))
        self.setMinimumHeight(130)
        self.setToolTip(
            "what looks alike lies close together, in the colour of its group; click a point to see it, "
            "draw around several to see them"
        )
        self._theme = theme
        self._colours = class_colours(classes)
        self._map: PoolMap | None = None
        # groups and legend as painted; labels and ring go over them, so that thousands of points need not be drawn anew
        self._ground: Any = None
        self._press: tuple[float, float] | None = None
        self._chosen_rows = np.zeros(0, np.int64)
        self.mpl_connect("button_press_event", self._pressed)
        self.mpl_connect("button_release_event", self._released)
        self.mpl_connect("draw_event", lambda _: self._drawn())

    def set_map(self, pool_map: PoolMap, labels: Mapping[int, str], item: ItemView | None) -> None:
        """Show the map of the pool, the labels given so far (by pool row), and the current item."""
        if pool_map is not self._map:
            self._map = pool_map
            self._draw_groups(pool_map)
        rows = np.array([row for row in labels if pool_map.group(row) is not None], np.int64)
        self._labeled.set_offsets(pool_map.xy_N2[np.searchsorted(pool_map.rows, rows)])
        self._labeled.set_facecolor([self._colours[labels[row]] for row in rows.tolist()])
        hidden = item is None or pool_map.group(item.row) is None or (item.is_audit and item.label is None)
        self._ring.set_offsets(
            pool_map.xy_N2[:0] if item is None or hidden else pool_map.xy_N2[np.searchsorted(pool_map.rows, [item.row])]
        )
        named = set(labels.values())
        self._set_legend([name for name in self._colours if name in named])
        self._repaint()

    def _repaint(self) -> None:
        if self._ground is None:
            self.draw_idle()
        else:
            self.restore_region(self._ground)
            self._draw_moving()
            self.update()  # with the window; blit() would paint it at once, before the next particle

    def set_colours(self, theme: Colours) -> None:
        """Follow the theme; what moves comes back with the next `set_map`."""
        self._theme, self._map = theme, None

    @property
    def ringed(self) -> list[tuple[float, float]]:
        """Place of the item with the ring, if there is one."""
        return [tuple(xy) for xy in np.asarray(self._ring.get_offsets()).tolist()]

    @property
    def legend(self) -> list[str]:
        """Class names in the legend."""
        return list(self._legend)

    def _draw_groups(self, pool_map: PoolMap) -> None:
        self.figure.clear()
        self.figure.set_facecolor(self._theme.ground.name())
        self._ground = None
        self._axes = axes = self.figure.add_axes((0.01, 0.02, 0.74, 0.86))
        axes.set_axis_off()
        axes.margins(0.06)
        groups = int(pool_map.group_N.max()) + 1
        axes.set_title(
            f"{len(pool_map.rows)} items, {groups} groups that look alike",
            color=self._theme.text.name(),
            fontsize=9,
            loc="left",
        )
        size = float(np.clip(9000 / len(pool_map.rows), 5, 16))
        x_N, y_N = pool_map.xy_N2.T
        axes.scatter(x_N, y_N, s=size, c=group_colours(groups)[pool_map.group_N], linewidths=0)
        self._labeled = axes.scatter(
            [], [], s=42, linewidths=0.8, edgecolors=self._theme.ground.name(), zorder=3, animated=True
        )
        self._ring = axes.scatter(
            [],
            [],
            s=120,
            linewidths=1.6,
            facecolors="none",
            edgecolors=self._theme.text.name(),
            zorder=4,
            animated=True,
        )
        self._chosen = axes.scatter(
            [], [], s=60, linewidths=1.2, facecolors="none", edgecolors=self._theme.text.name(), zorder=3, animated=True
        )
        self._place_chosen()
        self._lasso = LassoSelector(
            axes, self._encircled, useblit=False, props={"color": self._theme.text.name(), "linewidth": 1.2}
        )
        self._legend: list[str] = []

    def choose(self, rows: np.ndarray) -> None:
        """Ring some items; those that are not on the map are left out."""
        self._chosen_rows = np.asarray(rows, np.int64)
        if self._map is not None:
            self._place_chosen()
            self._repaint()

    @property
    def chosen(self) -> np.ndarray:
        """Pool rows that are ringed, those of the lasso or of `choose`."""
        return self._chosen_rows

    def _place_chosen(self) -> None:
        assert self._map is not None
        at = np.flatnonzero(np.isin(self._map.rows, self._chosen_rows))
        self._chosen.set_offsets(self._map.xy_N2[at])

    def _encircled(self, corners: list[tuple[float, float]]) -> None:
        if self._map is None or len(corners) < 4:
            return
        rows = self._map.rows[Path(corners).contains_points(self._map.xy_N2)]
        if len(rows):
            self.choose(rows)
            self.lassoed.emit(rows)

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
            labelcolor=self._theme.text.name(),
            frameon=False,
            handletextpad=0.1,
            borderaxespad=0,
            labelspacing=0.25,
        )

    def _drawn(self) -> None:
        """Keep what was painted, and paint over it what moves."""
        if self._map is not None:
            self._ground = self.copy_from_bbox(self.figure.bbox)
            self._draw_moving()

    def _draw_moving(self) -> None:
        for artist in (self._labeled, self._chosen, self._ring):
            self._axes.draw_artist(artist)

    def _pressed(self, event: MouseEvent) -> None:
        is_ours = self._map is not None and event.button is MouseButton.LEFT and event.inaxes is not None
        self._press = (event.x, event.y) if is_ours else None

    def _released(self, event: MouseEvent) -> None:
        press, self._press = self._press, None
        if self._map is None or press is None or np.hypot(event.x - press[0], event.y - press[1]) > _CLICK:
            return
        away_N = np.hypot(*(self._axes.transData.transform(self._map.xy_N2) - (event.x, event.y)).T)
        self.clicked.emit(int(self._map.rows[away_N.argmin()]))


def group_colours(groups: int) -> np.ndarray:
    """Return a quiet colour for each group, (groups, 3): tab20 halfway to grey, again from the first where it ends."""
    return 0.5 * np.array(colormaps["tab20"].colors)[np.arange(groups) % 20] + 0.22  # type: ignore[attr-defined]


def _short(name: str, most: int = 15) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
