"""Sessions opened last."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from tomotutor.gui.settings import recent_sessions


class RecentSessions(QWidget):
    """A button for each session opened last that is still there; `chosen` carries its folder."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 8, 0, 0)
        self._layout.addWidget(QLabel("Recent sessions"))
        self.buttons: list[QPushButton] = []
        self.refresh()

    def refresh(self) -> None:
        """Look again which there are."""
        for button in self.buttons:
            self._layout.removeWidget(button)
            button.deleteLater()
        self.buttons = []
        for folder in recent_sessions():
            button = QPushButton()
            button.setText(button.fontMetrics().elidedText(str(folder), Qt.TextElideMode.ElideMiddle, 400))
            button.setToolTip(str(folder))
            button.clicked.connect(lambda _=False, f=str(folder): self.chosen.emit(f))
            self._layout.addWidget(button)
            self.buttons.append(button)
        self.setVisible(bool(self.buttons))
