"""Import…: another person's labels beside one's own: how far they agree, where they differ, and what is new."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDialog, QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from tomotutor.base.errors import TomoTutorError
from tomotutor.export.lists import read_answers
from tomotutor.gui.background import Background, told
from tomotutor.gui.notice import Notice
from tomotutor.session import Session
from tomotutor.session.agreement import Agreement, compare

_WHAT = "A CSV file of labels: item,class or item,class,annotator, as Export… writes it."


class ImportDialog(QDialog):
    """Compares a file of labels with a session before anything of it is taken.

    Parameters
    ----------
    session : Session
        Open.
    """

    rows_chosen = Signal(object, str)  # pool rows to look at, and what they are

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._found: Agreement | None = None
        self.setWindowTitle("Import labels")
        self.path = QLineEdit()
        self.path.setPlaceholderText("file")
        self.path.returnPressed.connect(self.look)
        browse = QPushButton("…")
        browse.setAutoDefault(False)
        browse.setMaximumWidth(30)
        browse.clicked.connect(self._browse)
        self.notice = Notice()
        self.notice.say(_WHAT)
        self.show_button, self.take_button, close = (QPushButton(text) for text in ("Show", "Take", "Close"))
        for button in (self.show_button, self.take_button, close):
            button.setAutoDefault(False)
        self.show_button.clicked.connect(self._show)
        self.take_button.clicked.connect(self._take)
        close.clicked.connect(self.close)
        first, last = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.path, 1)
        first.addWidget(browse)
        last.addStretch(1)
        for button in (self.show_button, self.take_button, close):
            last.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addLayout(first)
        layout.addWidget(self.notice)
        layout.addStretch(1)
        layout.addLayout(last)
        self.resize(560, 160)
        self._comparing = Background(self._have, lambda problem: self.notice.say(told(problem)))
        self._offer()

    def _browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Labels", self.path.text(), "labels (*.csv)")
        if name:
            self.path.setText(name)
            self.look()

    def look(self) -> None:
        """Compare the file with the session."""
        self._found = None
        self._offer()
        self.notice.say("reading …")
        self._comparing.ask(self._compare, Path(self.path.text().strip()).expanduser())

    def _compare(self, path: Path) -> Agreement:
        return compare(self._session, read_answers(path, self._session))

    def _have(self, found: Agreement) -> None:
        self._found = found
        self.notice.say(found.describe())
        self._offer()

    def _offer(self) -> None:
        differ, new = (0, 0) if self._found is None else (len(self._found.rows), len(self._found.new))
        self.show_button.setText(f"Show the {differ:,} that differ" if differ else "Show")
        self.show_button.setEnabled(differ > 0)
        self.take_button.setText(f"Take the {new:,} new ones" if new else "Take")
        self.take_button.setEnabled(new > 0)

    def _show(self) -> None:
        if self._found is not None:
            self.rows_chosen.emit(self._found.rows, f"labeled otherwise in {Path(self.path.text()).name}")

    def _take(self) -> None:
        if self._found is None:
            return
        try:
            count = self._session.import_labels(self._found.new)
        except TomoTutorError as problem:
            self.notice.say(str(problem))
            return
        self.look()
        self.notice.say(f"{count:,} labels were taken; yours stay as they are")

    def stop(self) -> None:
        """Compare nothing more, and go."""
        self._comparing.stop()
        self.close()
