"""The dock widget that napari's Plugins menu opens."""

from __future__ import annotations

from pathlib import Path

from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QScrollArea, QStackedLayout, QWidget
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.labeling import LabelingPage
from tomotutor.gui.start import StartPage
from tomotutor.session import Session


class TomoTutorDock(QWidget):
    """A start page, and a labeling page once a session is open.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer the dock belongs to.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._stack = QStackedLayout(self)
        self.start = StartPage()
        self.start.opened.connect(self.open)
        self._stack.addWidget(self.start)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._stack.addWidget(self._area)
        self.page: LabelingPage | None = None
        self.setMinimumWidth(470)
        application = QApplication.instance()
        assert application is not None
        application.installEventFilter(self)
        application.aboutToQuit.connect(self.leave)

    def open(self, folder: Path | str, note: str = "") -> bool:
        """Open a session and say `note`; what is wrong is said on the start page. Rounds start by themselves from here
        on.
        """
        self.leave()
        try:
            session = Session(folder, keep_core=True, automatic=True)
        except TomoTutorError as problem:
            self.start.say(str(problem))
            return False
        self.start.say("")
        self.page = LabelingPage(session, self._viewer)
        self.page.say(note)
        self.page.left.connect(self.leave)
        self._area.setWidget(self.page)
        self._stack.setCurrentWidget(self._area)
        return True

    def leave(self) -> None:
        """Close the session, if one is open, and show the start page."""
        page, self.page = self.page, None
        if page is not None:
            page.close_session()
            self._area.takeWidget()
            page.deleteLater()
            self._stack.setCurrentWidget(self.start)

    @override
    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        # napari deletes docks without closing them: the session must be closed while its thread can still be waited for
        if event.type() == QEvent.Type.Close and isinstance(target, QWidget) and target is self.window():
            self.leave()
        return False

    @override
    def closeEvent(self, event: QEvent) -> None:
        self.leave()
        super().closeEvent(event)  # type: ignore[arg-type]
