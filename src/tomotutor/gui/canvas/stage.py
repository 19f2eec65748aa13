"""The canvas belongs to the session while it labels: what others show is put away, and comes back after it."""

from __future__ import annotations

import contextlib
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtWidgets import QWidget

OURS = "tomotutor session"  # in the metadata of the layers that a session draws


class Stage:
    """Hides the layers of others, those that come later too, and folds napari's lists and status bar away.

    Parameters
    ----------
    viewer : ViewerModel
        napari's viewer.
    fold : bool
        Whether napari's layer list and controls are folded away, too; painting needs them.
    """

    def __init__(self, viewer: ViewerModel, *, fold: bool) -> None:
        self._viewer = viewer
        self._hidden: list[Layer] = []
        camera = viewer.scene.camera
        self._before: dict[str, Any] = {"angles": camera.angles, "zoom": camera.zoom, "center": camera.center}
        self._ndisplay = viewer.dims.ndisplay
        self._folded = [dock for dock in self._lists() if fold and not dock.isHidden()]
        for dock in self._folded:
            dock.hide()
        self._set_ground("black")
        self.clear()
        viewer.layers.events.inserted.connect(self.clear)

    def _lists(self) -> list[QWidget]:
        with contextlib.suppress(AttributeError):  # napari has no public way; where the private one changes, they stay
            view = self._viewer.window._qt_viewer
            # the bar at the bottom tells of keys that act on layers; they label here
            return [view.dockLayerControls, view.dockLayerList, self._viewer.window._qt_window.statusBar()]
        return []

    def _set_ground(self, colour: str | None) -> None:
        """Densities glow on black, whatever the theme; None follows the theme again."""
        self._viewer.canvas.background_color_override = colour

    @property
    def others(self) -> list[Layer]:
        """Layers that no session drew."""
        return [layer for layer in self._viewer.layers if OURS not in layer.metadata]

    @property
    def is_clear(self) -> bool:
        """Whether nothing but the session's own layers is visible."""
        return not any(layer.visible for layer in self.others)

    def clear(self) -> None:
        """Hide what others show."""
        for layer in self.others:
            if layer.visible:
                layer.visible = False
                self._hidden.append(layer)

    def unfold(self) -> None:
        """Bring napari's lists back."""
        for dock in self._folded:
            dock.show()
        self._folded = []

    def restore(self) -> None:
        """Bring back what was put away, as it was."""
        self._viewer.layers.events.inserted.disconnect(self.clear)
        for layer in self._hidden:
            layer.visible = True
        self._hidden = []
        self._set_ground(None)
        self.unfold()
        if self.others:
            self._viewer.dims.ndisplay = self._ndisplay
            self._viewer.scene.camera.update(self._before)
