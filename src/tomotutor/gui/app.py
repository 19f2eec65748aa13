"""napari with the dock in it: what `tomotutor label` opens."""

from __future__ import annotations

from pathlib import Path

import napari

from tomotutor.gui.dock import TomoTutorDock, dock_in


def make_window(session: Path) -> tuple[napari.Viewer, TomoTutorDock]:
    """Open napari with a session in the dock."""
    viewer = napari.Viewer(title="TomoTutor", ndisplay=3)
    dock = dock_in(viewer)
    dock.open(session)
    return viewer, dock


def run_app(session: Path) -> None:
    """Open napari with a session and return when its window is closed."""
    make_window(session)
    napari.run()
