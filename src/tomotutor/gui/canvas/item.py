"""The current item in napari's canvas: a volume or an isosurface in 3D, an image in 2D. One layer of
each kind, reused.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Surface
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from tomotutor.gui.canvas.stage import OURS

_VOLUME, _ISOSURFACE = "particle", "particle surface"
_LOW_3D, _LOW_2D, _HIGH = 88, 1, 99.9  # percentiles that contrast is taken from


class Rendering(enum.Enum):
    """How a volume is drawn."""

    VOLUME = "Volume"
    ISOSURFACE = "Isosurface"


def smooth(x_C: np.ndarray, sigma: float) -> np.ndarray:
    """Return (z, y, x) or (y, x) of the first channel, smoothed for the eye by a Gaussian of `sigma` voxels."""
    return gaussian_filter(x_C[0], sigma) if sigma > 0 else x_C[0]


@cache
def soft_sphere(shape: tuple[int, ...]) -> np.ndarray:
    """Return 1 in the middle of a box and 0 beyond its inscribed sphere; a cosine over the outer eighth of the edge
    joins them.
    """
    away = np.sqrt(sum((2 * x / n) ** 2 for x, n in zip(_centred(shape), shape, strict=True)))
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((away - 0.75) / 0.25, 0, 1)).astype(np.float32)


def _centred(shape: tuple[int, ...]) -> list[np.ndarray]:
    return [
        np.arange(n).reshape([-1 if i == axis else 1 for i in range(len(shape))]) - n // 2
        for axis, n in enumerate(shape)
    ]


def prepared(x_C: np.ndarray, sigma: float, *, masked: bool) -> np.ndarray:
    """Return what is drawn of an item: smoothed, and without the corners of its box, where neighbours lie."""
    if x_C.ndim == 3:
        return np.moveaxis(x_C, 0, -1) if len(x_C) == 3 else x_C[0]
    volume = smooth(x_C, sigma)
    if not masked:
        return volume
    ground = float(volume.mean())
    return (volume - ground) * soft_sphere(volume.shape) + ground


def surface(volume: np.ndarray, density_percent: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices, faces and values of the surface around the densest `density_percent` of the voxels."""
    level = float(np.percentile(volume, 100 - density_percent))
    if not volume.min() < level < volume.max():
        return np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]), np.zeros(3, np.float32)
    vertices, faces, _, values = marching_cubes(volume, level)
    return vertices, faces, values


def limits_of(pictures: Sequence[np.ndarray], low: float, high: float) -> tuple[float, float]:
    """Return the contrast limits that suit several pictures or volumes: medians of their percentiles."""
    a, b = np.median([np.percentile(picture, (low, high)) for picture in pictures], axis=0).tolist()
    return a, max(b, a + 1e-6)


class ItemCanvas:
    """Draws items into a viewer. Contrast and view stay from item to item.

    Parameters
    ----------
    viewer : ViewerModel
        napari's viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._volume: Image | None = None
        self._surface: Surface | None = None
        self._item: np.ndarray | None = None
        self._sample: list[np.ndarray] = []
        self._limits: tuple[float, float] | None = None
        self._view: tuple[float, ...] = ()  # zoom and centre as we set them; others are the person's
        viewer.canvas.events.size.connect(self._fit_again)
        self.rendering = Rendering.VOLUME
        self.sigma = 1.2
        self.density_percent = 4.0
        self.masked = True
        self._is_away = False

    def put_away(self, away: bool) -> None:
        """Take our layers out of the viewer while it shows something else, or bring them back, the view as it was."""
        if away == self._is_away:
            return
        self._is_away = away
        camera = self._viewer.scene.camera
        if away:
            self._angles, self._kept = camera.angles, self._camera()
            self._remove()
            return
        if self._item is not None:
            self._viewer.dims.ndisplay = self._item.ndim - 1
            self.draw()
            camera.angles = self._angles
            if self._kept == self._view:
                self._fit()
            else:
                camera.zoom, camera.center = self._kept[0], self._kept[1:]

    @property
    def is_seen(self) -> bool:
        """Whether the item is on the screen."""
        layer = self._surface if self._is_surface else self._volume
        return self._item is not None and layer is not None and self._alive(layer) and layer.visible

    @property
    def _is_surface(self) -> bool:
        return self._item is not None and self._item.ndim == 4 and self.rendering is Rendering.ISOSURFACE

    def set_sample(self, items: Sequence[np.ndarray]) -> None:
        """Take the contrast from these items, as `Pool.read` gives them, from here on."""
        self._sample = list(items)
        self.forget_contrast()

    def forget_contrast(self) -> None:
        """Take the contrast anew, after what is drawn changed; until then it stays, whoever set it."""
        self._limits = None

    def show(self, x_C: np.ndarray | None) -> None:
        """Draw an item as `Pool.read` gives it; None draws nothing."""
        first = self._item is None
        self._item = x_C
        if self._is_away:
            return
        if first and x_C is not None and self._viewer.dims.ndisplay != x_C.ndim - 1:
            self._viewer.dims.ndisplay = x_C.ndim - 1
        self.draw()
        if first and x_C is not None:
            if x_C.ndim == 4:  # a little from the side: looking straight along the beam, a volume looks flat
                self._viewer.scene.camera.angles = (0, 15, -15)
            self._fit()

    def _fit(self) -> None:
        self._viewer.fit_to_view(layers=[layer for layer in (self._volume, self._surface) if self._alive(layer)])
        self._view = self._camera()

    def _camera(self) -> tuple[float, ...]:
        camera = self._viewer.scene.camera
        return (camera.zoom, *camera.center)

    def _fit_again(self) -> None:
        """Fit the item to a canvas that changed its size, as while a window is laid out, unless the person has zoomed
        or moved it since.
        """
        if self._item is not None and self._camera() == self._view:
            self._fit()

    def set_rendering(self, name: str) -> None:
        """Draw a volume or an isosurface."""
        self.rendering = Rendering(name)
        self.draw()

    def set_density(self, percent: float) -> None:
        """Set the densest share of the voxels inside the surface, %."""
        self.density_percent = percent
        if self.rendering is Rendering.ISOSURFACE:
            self.draw()

    def draw(self) -> None:
        """Draw the item again, after a setting changed."""
        if self._is_away:
            return
        x_C = self._item
        is_surface = self._is_surface
        for layer, visible in ((self._volume, x_C is not None and not is_surface), (self._surface, is_surface)):
            if (
                layer is not None and self._alive(layer) and layer.visible != visible
            ):  # setting it costs a refresh, changed or not
                layer.visible = visible
        if x_C is None:
            return
        if is_surface:
            self._draw_surface(surface(self._prepare(x_C), self.density_percent))
        else:
            self._draw_volume(x_C)

    def _prepare(self, x_C: np.ndarray) -> np.ndarray:
        return prepared(x_C, self.sigma, masked=self.masked)

    def _draw_volume(self, x_C: np.ndarray) -> None:
        shown = self._prepare(x_C)
        is_colour = x_C.ndim == 3 and len(x_C) == 3
        is_new = self._limits is None
        if self._limits is None:
            percent = _LOW_3D if x_C.ndim == 4 else _LOW_2D
            self._limits = limits_of([self._prepare(x) for x in self._sample or [x_C]], percent, _HIGH)
        low, high = self._limits
        if is_colour:
            shown = np.clip((shown - low) / (high - low), 0, 1)
        limits = (0.0, 1.0) if is_colour else self._limits
        if not self._alive(self._volume):
            options: dict[str, Any] = {"name": _VOLUME, "contrast_limits": limits, "rgb": is_colour}
            if x_C.ndim == 4:
                options |= {"rendering": "attenuated_mip", "attenuation": 0.1}
            self._volume = self._viewer.add_image(shown, metadata={OURS: True}, **options)
            self._take_longer_steps()
            return
        layer = self._volume
        assert layer is not None
        layer.data = shown
        if is_new and not is_colour:
            layer.contrast_limits = limits

    def _take_longer_steps(self) -> None:
        """Follow each ray in steps of 1.5 voxels: a smoothed volume looks the same, and software OpenGL draws it in two
        thirds of the time.

        napari has no public way to say so; where the private one changes, drawing is only slower.
        """
        with contextlib.suppress(AttributeError, KeyError):
            canvas = self._viewer.window._qt_viewer.canvas
            canvas.layer_to_visual[self._volume].node.relative_step_size = 1.5

    def _draw_surface(self, data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        if not self._alive(self._surface):
            self._surface = self._viewer.add_surface(
                data, name=_ISOSURFACE, colormap="gray", shading="smooth", opacity=1.0, metadata={OURS: True}
            )
            self._surface.contrast_limits = (-1.0, float(data[2].max()))
            return
        assert self._surface is not None
        self._surface.data = data

    def _alive(self, layer: Any) -> bool:
        """Whether a layer of ours is still there; a person may have deleted it."""
        return layer is not None and layer in self._viewer.layers

    def clear(self) -> None:
        """Take our layers out of the viewer, and hear no more of it."""
        self._viewer.canvas.events.size.disconnect(self._fit_again)
        self._remove()
        self._item = None
        self._sample = []

    def _remove(self) -> None:
        for layer in (self._volume, self._surface):
            if self._alive(layer):
                self._viewer.layers.remove(layer)
        self._volume = self._surface = None
