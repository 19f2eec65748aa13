"""The dock widget that napari's Plugins menu opens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from napari.settings import get_settings
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QFileDialog, QScrollArea, QStackedLayout, QWidget
from typing_extensions import override

from tomotutor.base.errors import LockedError, MovedInputError, TomoTutorError
from tomotutor.gui import settings
from tomotutor.gui.background import breathe, hear_threads, wait_for
from tomotutor.gui.canvas.stage import OURS
from tomotutor.gui.label.page import LabelPage
from tomotutor.gui.welcome.page import WelcomePage
from tomotutor.session import Session
from tomotutor.session.relocate import relocate_session

_BELOW, _LEAST = 0.28, 640  # share of the window that Particles takes, and pixels that it leaves for the rest
_BESIDE, _WIDE = 0.4, 660  # share of its width that the dock takes, and the most pixels: slices of 200
_SAME = 12  # pixels of difference from these that nobody dragged
_stopping: dict[Path, Session] = {}  # closed sessions whose training has not stopped yet


def _usual_below(height: int) -> int:
    return min(round(_BELOW * height), height - _LEAST)


def _usual_beside(width: int) -> int:
    return min(_WIDE, round(_BESIDE * width))


def _open(folder: Path) -> tuple[Session, str]:
    """Open a session, to look at where another program holds it, and return why; make ready what the page and napari
    need for the first item. Each takes up to a second, in this thread.
    """
    with contextlib.suppress(ImportError, AttributeError):
        import pint

        _ = pint.get_application_registry().pixel  # reads its list of units when it is first asked
    try:
        session = Session(folder, keep_core=True, automatic=True, live=True)
        _ = session.overlaps_N
        return session, ""
    except LockedError as problem:
        session = Session(folder, write=False)
        session.refresh_answers()
        return session, str(problem)


def _share(pixels: int, whole: int, usual: Callable[[int], int]) -> float:
    """Return which share of the window a dock takes, 0 where that is what it usually takes."""
    return 0.0 if abs(pixels - usual(whole)) < _SAME else pixels / whole


class TomoTutorDock(QWidget):
    """A welcome page, and a labeling page once a session is open.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer the dock belongs to.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._title = ""
        self._opening: Path | None = None
        self._asks = False  # napari asks whether to close the window
        self._stack = QStackedLayout(self)
        self.welcome = WelcomePage()
        self.welcome.opened.connect(self.open)
        self._stack.addWidget(self.welcome)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._stack.addWidget(self._area)
        self.page: LabelPage | None = None
        self.setMinimumWidth(480)
        hear_threads()
        application = QApplication.instance()
        assert application is not None
        application.installEventFilter(self)
        application.aboutToQuit.connect(self._quit)

    def open(self, folder: Path | str, note: str = "") -> bool:
        """Open a session and say `note`; what is wrong is said on the page that shows. Rounds start by themselves where
        the session's switch says so.
        """
        folder = Path(folder)
        again = partial(self.open, folder, note)
        holder = next((dock for dock in docks_of(self._viewer) if dock.page is not None), None)
        if holder is not None and holder.page is not None:
            name = holder.page.session.folder.name
            text = (
                f"the session {name} is open in this window, which shows one at a time; close it to open {folder.name}"
            )
            self._say(text, f"Close {name}", partial(self._replace, holder, again))
            return False
        if (stopping := _stopping.get(folder.resolve())) is not None:
            self._say("the session is still stopping its training; it opens as soon as that has ended")
            stopping.closed.connect(again, thread="main")
            return False
        if self._opening is not None:
            return False  # one at a time; what is opened says so
        self._opening = folder
        self._say(f"opening {folder.name} …")
        try:
            session, held = wait_for(partial(_open, folder))
        except MovedInputError as problem:
            self._say(str(problem), "Where is it now?", partial(self._find, folder, problem.gone, again))
            return False
        except TomoTutorError as problem:
            self._say(str(problem))
            return False
        finally:
            quits, self._opening = self._opening is None, None
        if quits:  # the window was closed meanwhile
            session.close()
            return False
        self._say("")
        settings.add_recent(folder)
        self._show(session, note)
        if held and self.page is not None:
            self._say(f"{held}. Until then it is here to look at", "Try again", partial(self._replace, self, again))
        return True

    def _find(self, folder: Path, gone: str, again: Callable[[], object]) -> None:
        """Ask where the input of a session is now, and open the session with it."""
        place = QFileDialog.getExistingDirectory(self, f"Where is {Path(gone).name} now?")
        if not place:
            return
        old = gone if Path(place).name == Path(gone).name else str(Path(gone).parent)
        try:
            wait_for(partial(relocate_session, folder, old, place))
        except TomoTutorError as problem:
            self._say(str(problem), "Where is it now?", partial(self._find, folder, gone, again))
            return
        again()

    def _show(self, session: Session, note: str) -> None:
        folder = session.folder
        self.page = page = LabelPage(session, self._viewer)
        page.left.connect(self.leave)
        self._title, self._viewer.title = self._viewer.title, f"TomoTutor: {folder.resolve().name}"
        self._below = self._viewer.window.add_dock_widget(page.bottom, name="Particles", area="bottom")
        page.fit(self.height())
        self._area.setWidget(page)
        self._stack.setCurrentWidget(self._area)
        self._arrange(page)
        breathe()
        if self.page is None:  # the window was closed meanwhile
            return
        page.begin()
        if note:
            page.say(note)
        breathe()

    def _arrange(self, page: LabelPage) -> None:
        """Arrange the screen as it was when a session was last closed."""
        kept = settings.arrangement()
        window = self._viewer.window._qt_window
        height = round(kept.below * window.height()) or _usual_below(window.height())
        if height > 0:
            window.resizeDocks([self._below], [height], Qt.Orientation.Vertical)
        if self._held is not None:
            width = round(kept.beside * window.width()) or _usual_beside(window.width())
            window.resizeDocks([self._held], [width], Qt.Orientation.Horizontal)
        page.tabs.setCurrentIndex(kept.page)

    def _keep_arrangement(self, page: LabelPage) -> None:
        kept = settings.arrangement()
        below, beside = kept.below, kept.beside
        with contextlib.suppress(RuntimeError):  # the window may be gone already
            window, held = self._viewer.window._qt_window, self._held
            if self._below.isVisible() and not self._below.isFloating():
                below = _share(self._below.height(), window.height(), _usual_below)
            if held is not None and held.isVisible() and not held.isFloating():
                beside = _share(held.width(), window.width(), _usual_beside)
        settings.set_arrangement(settings.Arrangement(page.tabs.currentIndex(), below, beside))

    @property
    def _held(self) -> QDockWidget | None:
        """What napari holds this widget in."""
        docks = self._viewer.window._qt_window.findChildren(QDockWidget)
        return next((dock for dock in docks if dock.isAncestorOf(self)), None)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.page is not None:
            self.page.fit(self.height())

    def _replace(self, holder: TomoTutorDock, again: Callable[[], object]) -> None:
        holder.leave()
        again()

    def _say(self, text: str, button: str = "", function: Callable[[], object] | None = None) -> None:
        notice = self.page.notice if self.page is not None else self.welcome.notice
        notice.say(text, button, function)

    def leave(self) -> None:
        """Close the session, if one is open, and show the welcome page; a training stops in its own time."""
        page, self.page = self.page, None
        if page is None:
            return
        self._keep_arrangement(page)
        session, folder = page.session, page.session.folder.resolve()
        _stopping[folder] = session
        session.closed.connect(lambda: _stopping.pop(folder, None))
        page.close_session()
        self._area.takeWidget()
        page.deleteLater()
        self.welcome.show_home()
        self._stack.setCurrentWidget(self.welcome)
        with contextlib.suppress(LookupError, RuntimeError):  # the window may be gone already
            self._viewer.window.remove_dock_widget(page.bottom)
        page.bottom.deleteLater()
        self._viewer.title = self._title

    def _quit(self) -> None:
        self._opening = None
        self.welcome.cancel()
        self.leave()

    @override
    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        # napari deletes docks without closing them, so that the window is watched
        kind = event.type()
        if kind in (QEvent.Type.Close, QEvent.Type.Hide) and isinstance(target, QWidget) and target is self.window():
            if kind == QEvent.Type.Close:
                self._asks = self._napari_asks(event)
                if self._asks and self.page is not None:
                    self.page.stage.unfold()  # napari saves its arrangement before the window goes
            if (kind == QEvent.Type.Close and not self._asks) or (kind == QEvent.Type.Hide and self._asks):
                self._quit()
        return False

    def _napari_asks(self, event: QEvent) -> bool:
        """Whether napari asks before it closes the window, as it does for layers of others; the session stays open
        until that is answered.
        """
        others = any(OURS not in layer.metadata for layer in self._viewer.layers)
        return event.spontaneous() and others and get_settings().application.confirm_close_window

    @override
    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:  # the dock's ✕
            self.leave()
        return super().event(event)

    @override
    def closeEvent(self, event: QEvent) -> None:
        self.leave()
        super().closeEvent(event)  # type: ignore[arg-type]


def docks_of(viewer: Viewer) -> list[TomoTutorDock]:
    """Return the docks in a viewer's window."""
    return viewer.window._qt_window.findChildren(TomoTutorDock)


def dock_in(viewer: Viewer) -> TomoTutorDock:
    """Return the dock of a viewer, which is made where there is none."""
    found = docks_of(viewer)
    if found:
        return found[0]
    dock = TomoTutorDock(viewer)
    viewer.window.add_dock_widget(dock, name="TomoTutor", area="right")
    return dock
