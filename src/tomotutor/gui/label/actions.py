"""What each key does on the labeling page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from tomotutor.gui.keys import KeyFilter

if TYPE_CHECKING:
    from tomotutor.gui.label.page import LabelPage


def actions_of(page: LabelPage) -> dict[int, Callable[[], object]]:
    """Return what keys without Ctrl do."""
    key, particles = Qt.Key, page.particles
    actions: dict[int, Callable[[], object]] = {
        getattr(key, f"Key_{text.upper()}"): partial(page.label_by_key, name) for name, text in page.panel.keys.items()
    }
    actions |= {
        key.Key_S: page.skip,
        key.Key_U: page.unsure,
        key.Key_Z: page.undo,
        key.Key_Y: page.redo,
        key.Key_B: page.back,
        key.Key_M: particles.more_like,
        key.Key_A: particles.average,
        key.Key_Plus: particles.ask_class,
        key.Key_R: page.train_or_cancel,
        key.Key_V: page.view.next_rendering,
        key.Key_N: page.column.toggle_references,
        key.Key_Slash: lambda: page.panel.start_finding(),  # the panel changes with the classes
    }
    if page.session.denoised is not None:
        actions[key.Key_D] = page.view.denoised.toggle
    if page.painter:
        actions |= {key.Key_0: page.erase, key.Key_Return: page.done, key.Key_Enter: page.done}
    return actions


def keys_of(page: LabelPage, window: QWidget) -> KeyFilter:
    """Return what listens to the keys of a page in napari's window."""
    control: dict[int, Callable[[], object]] = {Qt.Key.Key_Z: page.undo}
    both: dict[int, Callable[[], object]] = {Qt.Key.Key_Z: page.redo}
    if page.painter:
        control, both = {}, {}  # Ctrl+Z is napari's: it takes back a stroke
    return KeyFilter(page, window, actions_of(page), control, both)
