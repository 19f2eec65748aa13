"""The welcome page: open, make or try a session."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import psygnal
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.base.progress import Report
from tomotutor.gui.background import Background, told
from tomotutor.gui.notice import Notice
from tomotutor.gui.welcome.new_session import NewSessionPage
from tomotutor.gui.welcome.recent import RecentSessions
from tomotutor.session import Session
from tomotutor.session.create import Created, create_session
from tomotutor.session.sample import create_sample_session

log = logging.getLogger(__name__)

_TEXT = (
    "<h3>TomoTutor</h3>Label only the particles that matter: two networks learn from your labels and ask where "
    "they disagree. Every answer is on disk at once; there is nothing to save."
)


class WelcomePage(QWidget):
    """Ways to a session; `opened` carries its folder, and what is to be said of it."""

    opened = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._making: _Making | None = None
        self._work = Background(self._made, self._failed)
        self.destroyed.connect(self._work.stop)
        self.buttons: dict[str, QPushButton] = {}
        self.recent = RecentSessions()
        self.recent.chosen.connect(lambda folder: self.opened.emit(folder, ""))
        self.new = NewSessionPage()
        self.new.create_wanted.connect(self.create_session)
        self.new.back_wanted.connect(self.show_home)
        self._pages = QStackedLayout()
        self._pages.addWidget(self._build_home())
        self._pages.addWidget(self.new)
        self.bar = QProgressBar()
        self.stop = QPushButton("Cancel")
        self.stop.clicked.connect(lambda: self.cancel())
        busy = QHBoxLayout()
        busy.addWidget(self.bar, 1)
        busy.addWidget(self.stop)
        self.notice = Notice()
        layout = QVBoxLayout(self)
        layout.addLayout(self._pages, 1)
        layout.addLayout(busy)
        layout.addWidget(self.notice)
        self._set_busy(False)

    def _build_home(self) -> QWidget:
        home = QWidget()
        layout = QVBoxLayout(home)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setAlignment(Qt.AlignmentFlag.AlignTop)
        text = QLabel(_TEXT)
        text.setWordWrap(True)
        layout.addWidget(text)
        for name, tip, function in (
            ("Open session…", "go on with a session folder", self.open_session),
            ("New session…", "from particles, volumes, arrays or images", self.new_session),
            ("Try the sample", "simulated tomograms, in a temporary folder", self.open_sample),
        ):
            button = self.buttons[name] = QPushButton(name)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, f=function: f())
            layout.addWidget(button)
        layout.addWidget(self.recent)
        return home

    def say(self, text: str) -> None:
        """Show one sentence."""
        self.notice.say(text)

    def show_home(self) -> None:
        """Show the ways to a session."""
        self.new.stop_looking()
        self.recent.refresh()
        self._pages.setCurrentIndex(0)
        self.say("")

    def open_session(self) -> None:
        """Ask for a session folder."""
        folder = QFileDialog.getExistingDirectory(self, "Open session")
        if folder:
            self.opened.emit(folder, "")

    def new_session(self) -> None:
        """Ask what a new session is made of."""
        self._pages.setCurrentWidget(self.new)
        self.say("")

    def create_session(self) -> None:
        """Make the session that the page describes, in the background."""
        self.new.stop_looking()
        self.new.unmark()
        try:
            answer = self.new.answer
        except TomoTutorError as problem:
            self._failed(problem)
            return
        self.make(answer["folder"], lambda report: create_session(**answer, report=report))

    def open_sample(self) -> None:
        """Make a session on the sample data."""
        folder = Path(tempfile.mkdtemp(prefix="tomotutor-")) / "sample-session"
        self.make(folder, lambda report: create_sample_session(folder, report))

    def make(self, folder: Path, function: Callable[[Report], Created]) -> None:
        """Run `function`, which makes the session `folder`, off the main thread; look around in it, then open it."""
        making = self._making = _Making(folder)
        making.progressed.connect(self._progressed, thread="main")
        self._set_busy(True)
        self.say("")
        self._work.ask(making.make, function)

    def cancel(self) -> None:
        """Stop making a session, if one is made, and looking at what one would be."""
        self.new.stop_looking()
        if self._making is not None:
            self._making.cancelled.set()

    def _set_busy(self, busy: bool) -> None:
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0)
        self.stop.setVisible(busy)
        for number in range(self._pages.count()):
            page = self._pages.widget(number)
            assert page is not None
            page.setEnabled(not busy)

    def _progressed(self, text: str, done: int, total: int) -> None:
        if self._work.runs:
            self.say(text)
            self.bar.setRange(0, total)
            self.bar.setValue(done)

    def _failed(self, problem: Exception) -> None:
        self._making = None
        self._set_busy(False)
        if isinstance(problem, CancelledError):
            self.say("cancelled")
        elif self._pages.currentWidget() is self.new and self.new.show_mistake(problem):
            self.say("nothing was made yet: one field needs another look")
        else:
            self.say(told(problem))

    def _made(self, result: tuple[Path, Created, str]) -> None:
        self._making = None
        self._set_busy(False)
        folder, made, problem = result
        notes = [problem] if problem else []
        if made.padded:
            notes.append(f"{made.padded} boxes leave their tomogram (filled with the mean, flagged)")
        if made.duplicates:
            notes.append(f"{made.duplicates} items are exact duplicates (asked once, labels shared)")
        self.opened.emit(str(folder), "; ".join(notes))


class _Making:
    """Makes a session off the main thread, tells how far it is, and can be cancelled."""

    progressed = psygnal.Signal(str, int, int)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cancelled = threading.Event()

    def _report(self, text: str, done: int, total: int) -> None:
        if self.cancelled.is_set():
            raise CancelledError
        self.progressed.emit(text, done, total)

    def make(self, function: Callable[[Report], Created]) -> tuple[Path, Created, str]:
        """Make the session and look around in it; return its folder, what was made, and what went wrong with the look,
        which it can do without.
        """
        reading, looking, problem = "reading every item once …", "looking at every item …", ""
        self._report(reading, 0, 0)
        made = function(lambda progress: self._report(reading, progress.done, progress.total))
        try:
            self._report(looking, 0, 0)
            with Session(self._folder, opened=made.opened) as session:
                session.map_pool(lambda progress: self._report(looking, progress.done, progress.total))
        except CancelledError:
            problem = "the look at every item was cancelled: the queue begins at random"
        except Exception as found:
            log.exception("no look around in %s", self._folder)
            problem = str(found) or type(found).__name__
        return self._folder, made, problem
