"""Export…: the answers for other programs, while labeling goes on."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import psygnal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from tomotutor.base.errors import CancelledError
from tomotutor.base.progress import Progress
from tomotutor.export.answers import answers_for, export
from tomotutor.formats.particles import EXPORTED
from tomotutor.formats.particles.lists import LISTS
from tomotutor.gui.background import Background, told
from tomotutor.gui.dialogs.counts import Counted, CountTable
from tomotutor.gui.model.tables import checked_share
from tomotutor.gui.notice import Notice
from tomotutor.session import Session

_ALL, _LABELED = "labels and predictions", "labels only"


class ExportDialog(QDialog):
    """Chooses what is written and where to. It stays open while it runs, and so does the session.

    Parameters
    ----------
    session : Session
        Open; what is written is read from its folder by a session of its own, which only looks.
    """

    _progressed = psygnal.Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._cancelled = threading.Event()
        self._gone = threading.Event()
        self._counted_answers: Counted | None = None
        self.setWindowTitle("Export")
        self.format = QComboBox()
        self.format.addItem("CSV table: any program", "csv")
        if any(source.kind == "particles" for _, source, _ in session.inputs) and session.one_class:
            for kind in EXPORTED:
                if kind != "csv":
                    self.format.addItem(LISTS[kind].summary, kind)
        if session.pool.ndim == 3:
            self.format.addItem("an average of each class (MRC)", "averages")
        self.folder = QLineEdit(str(session.folder.resolve() / "export"))
        browse = QPushButton("…")
        browse.setAutoDefault(False)
        browse.setMaximumWidth(30)
        browse.clicked.connect(self._browse)
        where = QHBoxLayout()
        where.addWidget(self.folder, 1)
        where.addWidget(browse)
        self.which = QComboBox()
        self.which.addItems([_ALL, _LABELED])
        self.threshold = QDoubleSpinBox()
        self.threshold.setRange(0, 1)
        self.threshold.setSingleStep(0.05)
        self.threshold.setToolTip("predictions that are less sure are left out; labels stay")
        self.per_class = QCheckBox("also a list for each class")
        self.counts = CountTable()
        self.counts.empty_text = "counting …"
        self.bar = QProgressBar()
        self.bar.hide()
        self.notice = Notice()
        self.start = QPushButton("Export")
        self.start.setDefault(True)
        self.cancel = QPushButton("Close")
        self.cancel.setAutoDefault(False)
        self.start.clicked.connect(self.run)
        self.cancel.clicked.connect(self._cancel)
        form = QFormLayout()
        form.addRow("format", self.format)
        form.addRow("folder", where)
        form.addRow("what", self.which)
        form.addRow("least confidence", self.threshold)
        form.addRow("", self.per_class)
        buttons = QHBoxLayout()
        buttons.addWidget(self.bar, 1)
        buttons.addStretch(1)
        buttons.addWidget(self.start)
        buttons.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.counts, 1)
        layout.addWidget(self.notice)
        layout.addLayout(buttons)
        self.resize(560, 440)
        for signal in (self.which.currentTextChanged, self.threshold.valueChanged):
            signal.connect(lambda _: self._tell_counts())
        self.format.currentIndexChanged.connect(lambda _: self.per_class.setEnabled(self._kind in LISTS))
        self.per_class.setEnabled(self._kind in LISTS)
        self._progressed.connect(self._show_progress, thread="main")
        self._counting = Background(self._counted, self._not_counted)
        self._exporting = Background(self._exported, self._failed)
        self._counting.ask(self._count)

    @property
    def _kind(self) -> str:
        return str(self.format.currentData())

    @property
    def runs(self) -> bool:
        """Whether something is being written."""
        return self._exporting.runs

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if folder:
            self.folder.setText(folder)

    # ---- what stays ------------------------------------------------------------------------------------------------

    def _count(self) -> Counted | None:
        session = self._session
        if not session.one_class:
            return None
        # scores of the open session are kept with its round, so that what is written needs none of its own
        known = bool(session.rounds or session.answers is not None)
        found = answers_for(session, labeled_only=not known, report=self._tell_counting)
        pure = [session.class_purity(name) for name in session.classes]
        checked = tuple(checked_share(one.right, one.n, one.low, one.high) for one in pure)
        return Counted(found.class_N, np.where(found.labeled_N, np.inf, found.confidence_N), checked)

    def _tell_counting(self, progress: Progress) -> None:
        if self._gone.is_set():
            raise CancelledError
        self._progressed.emit(progress)

    def _counted(self, found: Counted | None) -> None:
        if found is None:
            self.counts.say(f"{len(self._session.ids):,} masks are written")
            return
        self._counted_answers = found
        self._tell_counts()

    def _not_counted(self, problem: Exception) -> None:
        if not isinstance(problem, CancelledError):
            self.counts.say(told(problem))

    def _tell_counts(self) -> None:
        found, classes = self._counted_answers, self._session.classes
        if found is None or len(found.checked) != len(classes):  # a class was added meanwhile
            return
        least = np.inf if self.which.currentText() == _LABELED else self.threshold.value()
        self.counts.set_counted(found, classes, least)
        if not (self._session.rounds or self._session.answers):
            self.notice.say("nothing is predicted yet, so that only labels can be written")

    # ---- writing ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Write in the background."""
        if not self.folder.text().strip():
            self.notice.say("folder: found nothing; expected where to write to")
            return
        self._answer = {
            "folder": Path(self.folder.text().strip()).expanduser(),
            "kind": self._kind,
            "per_class": self.per_class.isChecked(),
            "labeled_only": self.which.currentText() == _LABELED,
            "min_confidence": self.threshold.value(),
        }
        self._cancelled.clear()
        self.notice.say("")
        self.bar.setRange(0, 0)
        self._set_running(True)
        self._exporting.ask(self._export)

    def _set_running(self, on: bool) -> None:
        self.bar.setVisible(on)
        self.start.setEnabled(not on)
        self.cancel.setText("Cancel" if on else "Close")

    def _report(self, progress: Progress) -> None:
        if self._cancelled.is_set():
            raise CancelledError
        self._progressed.emit(progress)

    def _export(self) -> list[Path]:
        with Session(self._session.folder, write=False) as looking:
            return export(looking, report=self._report, **self._answer)  # type: ignore[arg-type]

    def _show_progress(self, progress: Progress) -> None:
        if self.runs:
            self.bar.setRange(0, progress.total)
            self.bar.setValue(progress.done)
        elif self._counted_answers is None:
            self.counts.say(f"looking at all particles … {100 * progress.done // max(1, progress.total)} %")

    def _exported(self, written: list[Path]) -> None:
        self._set_running(False)
        names = ", ".join(path.name for path in written[:4]) + (
            f" and {len(written) - 4} more" if len(written) > 4 else ""
        )
        self.notice.say(f"written to {self._answer['folder']}: {names}")

    def _failed(self, problem: Exception) -> None:
        self._set_running(False)
        self.notice.say("cancelled" if isinstance(problem, CancelledError) else told(problem))

    def _cancel(self) -> None:
        if self.runs:
            self._cancelled.set()
        else:
            self.close()

    def stop(self) -> None:
        """Stop writing at the next particle, and go."""
        self._cancelled.set()
        self._gone.set()
        self._counting.stop()
        self._exporting.stop()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.close()
