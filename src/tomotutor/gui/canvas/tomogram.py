"""The particle in its place: a slab through its tomogram, and its other particles in the colour of their class."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Points
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSlider, QWidget
from typing_extensions import override

from tomotutor.data.sources.parent import Tomogram
from tomotutor.gui.background import Background, told
from tomotutor.gui.canvas.item import smooth
from tomotutor.gui.canvas.stage import OURS
from tomotutor.gui.theme import class_colours
from tomotutor.session import Session
from tomotutor.session.tomograms import crowded

SLICES = 5  # that the slab is the mean of
_SLAB, _PICKS = "tomogram slab", "particles of the tomogram"
_ALL, _NONE = "all classes", "no answer"
_UNKNOWN = (0.75, 0.75, 0.75)
_FILL = 0.4  # opacity of a labeled particle, through which it is still seen
_FAST = 5  # slices for a turn of the wheel with Shift


class TomogramView(QObject):
    """Draws a tomogram into a viewer. Filled: labeled; ring: answered by the model; square: close to another pick;
    large and white-edged: the current particle.

    Parameters
    ----------
    session : Session
        Where tomograms and answers come from.
    viewer : ViewerModel
        napari's viewer.
    """

    clicked = Signal(int)  # pool row
    failed = Signal(str)

    def __init__(self, session: Session, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._viewer = session, viewer
        self._tomogram: Tomogram | None = None
        self._image: Image | None = None
        self._points: Points | None = None
        self._row: int | None = None
        self._of_denoised = False
        self._sigma = 0.0
        self._is_shown = False
        self._crowded_N = np.zeros(0, bool)
        self._drawn_z, self._drawn_N = -1, np.zeros(0, bool)
        self._opening, self._reading, self._crowding = (
            Background(found, lambda problem: self.failed.emit(told(problem)))
            for found in (self._opened, self._draw_slab, self._mark)
        )
        self.controls = QWidget()
        self._build()

    def _build(self) -> None:
        layout = QHBoxLayout(self.controls)
        layout.setContentsMargins(6, 0, 6, 2)
        self.depth, self.place = _slider("slice of the tomogram; the wheel moves it, too"), QLabel()
        self.depth.valueChanged.connect(self._read)
        self.filter = QComboBox()
        self.filter.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.filter.setToolTip("particles of one class, or those without an answer")
        self.filter.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.filter.setMinimumContentsLength(9)
        self.filter.addItems([_ALL, *self._session.classes, _NONE])
        self.filter.currentTextChanged.connect(lambda _: self._draw_points())
        self.radius = _slider("picks that lie closer than this to each other are squares: two picks of one particle?")
        self.radius.valueChanged.connect(self._find_crowded)
        self._radius_text = QLabel()
        layout.addWidget(self.place)
        layout.addWidget(self.depth, 3)
        layout.addWidget(self.filter)
        layout.addWidget(self._radius_text)
        layout.addWidget(self.radius, 1)
        self.controls.hide()

    # ---- what is shown --------------------------------------------------------------------------------------------

    @property
    def slab(self) -> Image | None:
        """The layer of the slab."""
        return self._image

    @property
    def picks(self) -> Points | None:
        """The layer of the particles."""
        return self._points

    @property
    def tomogram(self) -> Tomogram | None:
        """The tomogram that is shown."""
        return self._tomogram

    @property
    def is_seen(self) -> bool:
        """Whether the current particle is on the screen."""
        if self._tomogram is None or self._row is None or not self._alive(self._image) or not self._alive(self._points):
            return False
        assert self._image is not None
        is_here = self._row in self._tomogram.rows and self._drawn_z == self.depth.value()
        return is_here and self._image.visible and bool(self._tomogram.within(self.depth.value())[self._at(self._row)])

    def _at(self, row: int) -> int:
        assert self._tomogram is not None
        return int(np.flatnonzero(self._tomogram.rows == row)[0])

    def show(self, row: int | None, *, denoised: bool, sigma: float) -> None:
        """Show a particle in its tomogram, smoothed for the eye by a Gaussian of `sigma` voxels; when it becomes the
        current one, the slab goes to it.
        """
        smoothed, self._sigma = sigma != self._sigma, sigma
        self._is_shown = True
        changed, self._row = row != self._row or not self._alive(self._image), row
        self.controls.show()
        if row is None:
            self._draw_points()
        elif self._tomogram is None or row not in self._tomogram.rows or denoised != self._of_denoised:
            session = self._session
            self._opening.ask(lambda: (session.tomogram_of(row, denoised=denoised), denoised))
        elif changed:
            self.go_to_particle()
        elif smoothed:
            self._read()
        else:
            self._draw_points()

    def go_to_particle(self) -> None:
        """Move the slab to the current particle."""
        if self._tomogram is None or self._row is None or self._row not in self._tomogram.rows:
            return
        z = round(float(self._tomogram.zyx_N3[self._at(self._row), 0]))
        if z == self.depth.value():
            self._read()
        self.depth.setValue(z)

    def _opened(self, found: tuple[Tomogram | None, bool]) -> None:
        tomogram, self._of_denoised = found
        if tomogram is None or self._row is None:
            return
        is_other = self._tomogram is None or tomogram.name != self._tomogram.name
        self._tomogram = tomogram
        self._drawn_z = -1
        box = round(tomogram.box)
        for slider, top in ((self.depth, tomogram.data.shape[0] - 1), (self.radius, 2 * box)):
            slider.blockSignals(True)
            slider.setRange(0, top)
            slider.blockSignals(False)
        if is_other:
            self._remove()
            if not self.radius.value():
                self.radius.blockSignals(True)
                self.radius.setValue(box // 2)
                self.radius.blockSignals(False)
        self._find_crowded()
        self.go_to_particle()

    def _read(self) -> None:
        tomogram, z, sigma = self._tomogram, self.depth.value(), self._sigma
        if tomogram is None or not self._is_shown:
            return
        self.place.setText(f"{tomogram.name} · z {z} of {tomogram.data.shape[0]}")
        self._reading.ask(lambda: (tomogram, z, smooth(tomogram.slab(z, SLICES)[None], sigma)))

    def _draw_slab(self, found: tuple[Tomogram, int, np.ndarray]) -> None:
        tomogram, z, slab_YX = found
        if not self._is_shown or tomogram is not self._tomogram:
            return
        self._drawn_z = z
        if self._alive(self._image):
            assert self._image is not None
            self._image.data = slab_YX
            self._draw_points()
            return
        self._viewer.dims.ndisplay = 2
        low, high = np.percentile(slab_YX, (1, 99.8)).tolist()
        self._image = self._viewer.add_image(
            slab_YX, name=_SLAB, contrast_limits=(low, max(high, low + 1e-6)), metadata={OURS: True}
        )
        self._draw_points()
        self._viewer.fit_to_view(layers=[self._image])

    def _find_crowded(self) -> None:
        tomogram, radius = self._tomogram, self.radius.value()
        self._radius_text.setText(f"close < {radius} voxels")
        if tomogram is not None:
            self._crowding.ask(lambda: (tomogram, crowded(tomogram, radius)))

    def _mark(self, found: tuple[Tomogram, np.ndarray]) -> None:
        if found[0] is self._tomogram:
            self._crowded_N = found[1]
            self._draw_points()

    @property
    def drawn_rows(self) -> np.ndarray:
        """Pool rows of the particles that are drawn."""
        if self._tomogram is None or not self._alive(self._points):
            return np.zeros(0, np.int64)
        return self._tomogram.rows[self._drawn_N]

    @property
    def crowded_rows(self) -> np.ndarray:
        """Pool rows of the picks that are marked as close to another one."""
        is_known = self._tomogram is not None and len(self._crowded_N) == len(self._tomogram.rows)
        return self._tomogram.rows[self._crowded_N] if is_known and self._tomogram else np.zeros(0, np.int64)

    def _draw_points(self) -> None:
        """Draw the particles that the slab meets, as far as the filter lets them through."""
        tomogram = self._tomogram
        if tomogram is None or not self._alive(self._image):
            return
        class_N, labeled_N = (values[tomogram.rows] for values in self._session.shown_classes())
        names = self._session.classes
        passed_N = tomogram.within(self._drawn_z)
        if self.filter.currentText() == _NONE:
            passed_N &= class_N < 0
        elif self.filter.currentText() in names:
            passed_N &= class_N == names.index(self.filter.currentText())
        current_N = tomogram.rows == self._row
        passed_N |= current_N & tomogram.within(self._drawn_z)
        table = np.array([(*c, 1.0) for c in class_colours(names).values()] + [(*_UNKNOWN, 1.0)], np.float32)
        # where every dimension is displayed napari shows points whatever `shown` says: others are transparent
        colours_N4 = table[class_N] * np.where(passed_N, [[1], [1], [1], [1]], [[1], [1], [1], [0]]).T
        crowded_N = self._crowded_N if len(self._crowded_N) == len(tomogram.rows) else np.zeros(len(current_N), bool)
        look: dict[str, Any] = {
            "face_color": colours_N4 * np.array([1, 1, 1, _FILL]) * labeled_N[:, None],
            "border_color": np.where((current_N & passed_N)[:, None], 1.0, colours_N4),
            "size": np.where(current_N, 0.9, 0.5) * tomogram.box,
            "symbol": np.where(crowded_N, "square", "disc"),
        }
        self._drawn_N = passed_N
        if self._alive(self._points):
            for name, value in look.items():
                setattr(self._points, name, value)
            return
        self._points = self._viewer.add_points(
            tomogram.zyx_N3[:, 1:], name=_PICKS, border_width=0.14, opacity=0.85, metadata={OURS: True}, **look
        )
        self._points.mouse_drag_callbacks.append(self._press)
        self._points.mode = "pan_zoom"

    # ---- the mouse ------------------------------------------------------------------------------------------------

    def _press(self, layer: Points, event: Any) -> Generator[None, None, None]:
        """Make the particle under a click current; a drag moves the picture as ever."""
        at = np.array(event.position[-2:])
        yield
        while event.type == "mouse_move":
            yield
            if np.abs(np.array(event.position[-2:]) - at).max() > 2:
                return
        if self._tomogram is None:
            return
        away_N = np.where(self._drawn_N, np.hypot(*(np.asarray(layer.data) - at).T), np.inf)
        nearest = int(away_N.argmin())
        if away_N[nearest] <= self._tomogram.box / 2:
            self.clicked.emit(int(self._tomogram.rows[nearest]))

    @override
    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.Wheel or not self._is_shown or self._tomogram is None:
            return False
        assert isinstance(event, QWheelEvent)
        step = event.angleDelta().y() or event.angleDelta().x()
        up = (step > 0) - (step < 0)
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._viewer.scene.camera.zoom *= 1.15**up
        else:
            self.depth.setValue(
                self.depth.value() + up * (_FAST if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
            )
        return True

    # ---- the end --------------------------------------------------------------------------------------------------

    def _alive(self, layer: Any) -> bool:
        return layer is not None and layer in self._viewer.layers

    def _remove(self) -> None:
        for layer in (self._points, self._image):
            if self._alive(layer):
                self._viewer.layers.remove(layer)
        self._image = self._points = None

    def hide(self) -> None:
        """Take the layers out of the viewer."""
        self._is_shown = False
        self.controls.hide()
        self._remove()

    def stop(self) -> None:
        """Hide, and read nothing more."""
        for job in (self._opening, self._reading, self._crowding):
            job.stop()
        self.hide()
        self._tomogram = None


def _slider(tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setToolTip(tip)
    slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return slider
