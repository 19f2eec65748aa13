"""How the current item is looked at: rendering, surface, smoothing, mask, denoised, with or without predictions."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QHBoxLayout, QLabel, QRadioButton, QSlider, QVBoxLayout, QWidget


class ViewControls(QWidget):
    """Each signal carries the new setting.

    Parameters
    ----------
    renderings : list of str
        Ways to draw a volume, the one in use first.
    density_percent, sigma : float
        Share of the voxels inside the surface, and smoothing in voxels.
    volumes : bool
        Whether items are volumes.
    denoised : bool
        Whether there are denoised tomograms to look at.
    """

    rendering_changed = Signal(str)
    density_changed = Signal(float)
    sigma_changed = Signal(float)
    mask_toggled = Signal(bool)
    denoised_toggled = Signal(bool)
    blind_toggled = Signal(bool)

    def __init__(
        self, renderings: list[str], density_percent: float, sigma: float, *, volumes: bool, denoised: bool
    ) -> None:
        super().__init__()
        first, second = QHBoxLayout(), QHBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(first)
        layout.addLayout(second)
        self._group = QButtonGroup(self)
        for number, name in enumerate(renderings):
            button = QRadioButton(name)
            button.setChecked(number == 0)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setToolTip("key V changes")
            button.toggled.connect(lambda on, n=name: self.rendering_changed.emit(n) if on else None)
            self._group.addButton(button)
            first.addWidget(button)
        self.masked = self._box(first, "Mask corners", "fade the corners of the box out, where neighbours lie", True)
        self.masked.toggled.connect(self.mask_toggled)
        self.denoised = self._box(
            first, "Denoised (D)", "look at the denoised tomogram; the networks are trained on the raw one", denoised
        )
        self.denoised.setVisible(denoised)
        self.denoised.toggled.connect(self.denoised_toggled)
        self.blind = self._box(first, "Blind", "hide what the program says of an item until it is answered", False)
        self.blind.toggled.connect(self.blind_toggled)
        first.addStretch(1)
        self.level = self._slider(
            second, "surface", 1, 20, round(density_percent), "densest share of the voxels inside the surface, %"
        )
        self.level.valueChanged.connect(lambda value: self.density_changed.emit(float(value)))
        tip = "smoothing for the eye, in tenths of a voxel; not trained on"
        self.smoothing = self._slider(second, "smooth", 0, 30, round(10 * sigma), tip)
        self.smoothing.valueChanged.connect(lambda value: self.sigma_changed.emit(value / 10))
        self.setVisible(volumes)

    def _box(self, row: QHBoxLayout, text: str, tip: str, on: bool) -> QCheckBox:
        box = QCheckBox(text)
        box.setToolTip(tip)
        box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        box.setChecked(on)
        row.addWidget(box)
        return box

    def _slider(self, row: QHBoxLayout, text: str, low: int, high: int, value: int, tip: str) -> QSlider:
        label, slider = QLabel(text), QSlider(Qt.Orientation.Horizontal)
        slider.setRange(low, high)
        slider.setValue(value)
        slider.setToolTip(tip)
        slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        row.addWidget(label)
        row.addWidget(slider, 1)
        return slider

    def next_rendering(self) -> None:
        """Choose the other way to draw a volume."""
        next(button for button in self._group.buttons() if not button.isChecked()).setChecked(True)
