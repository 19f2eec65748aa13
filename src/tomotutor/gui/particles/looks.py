"""How a particle looks as a small picture. Plain arrays, no Qt widgets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomotutor.export.figures import thumbnail
from tomotutor.gui.canvas.sheet import FIRST_TURN, prepare_sheet

_EDGE, _SIGMA = 48, 1.0  # pixels of a volume's picture, and smoothing in voxels


def summed(x_C: np.ndarray) -> np.ndarray:
    """Return the whole box summed up along z; of an image itself."""
    return thumbnail(np.broadcast_to(x_C.mean(1, keepdims=True), (1, 5, *x_C.shape[2:])) if x_C.ndim == 4 else x_C)


def volume(x_C: np.ndarray) -> np.ndarray:
    """Return the box in 3D, seen as the sheet shows it at first; of an image itself."""
    if x_C.ndim != 4:
        return thumbnail(x_C)
    from tomotutor.export.rendering import project

    return project(prepare_sheet(lambda _: x_C[None], [0], _SIGMA, masked=True), FIRST_TURN, _EDGE)[0]


LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"slice": thumbnail, "sum": summed, "3D": volume}
