"""The average of a selection: single boxes can hardly be named where their average can."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

from tomotutor.export.averages import average_of_rows
from tomotutor.gui.canvas.item import smooth
from tomotutor.gui.label.slices import OrthoSlices
from tomotutor.session import Session

MOST = 500  # particles of a larger selection that are averaged
MOST_ALIGNED = 100  # likewise, where they must be aligned: some milliseconds each
_SIGMA = 1.0  # voxels, for the eye


def average_of(session: Session, rows: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the average (z, y, x) of some particles, and how it was made; it takes a while."""
    pool = session.pool
    some = rows[: MOST if np.isfinite(pool.angles_deg_N3[rows]).all() else MOST_ALIGNED]
    volume_zyx, how = average_of_rows(pool, some)
    return volume_zyx, f"average of {len(some)} of {len(rows)} particles · {how}"


class AverageDialog(QDialog):
    """Three slices through an average."""

    def __init__(self, volume_zyx: np.ndarray, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Average")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = QLabel(f"{text} · smoothed for the eye")
        self.slices = OrthoSlices()
        volume_zyx = smooth(volume_zyx[None], _SIGMA)
        low, high = np.percentile(volume_zyx, (1, 99.8)).tolist()
        self.slices.set_limits(low, max(high, low + 1e-6))
        self.slices.show_volume(volume_zyx)
        layout = QVBoxLayout(self)
        layout.addWidget(self.slices, 1)
        layout.addWidget(self.text)
        self.resize(640, 250)
