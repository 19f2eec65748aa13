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
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from tomotutor.base.errors import CancelledError
from tomotutor.base.progress import Progress
from tomotutor.export.answers import answers_for, export
from tomotutor.formats.particles.lists import LISTS
from tomotutor.gui.background import Background, told
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
        self._confidence_N: np.ndarray | None = None
        self._class_N: np.ndarray | None = None
        self.setWindowTitle("Export")
        self.format = QComboBox()
        self.format.addItem("CSV table: any program", "csv")
        if any(source.kind == "particles" for _, source, _ in session.inputs) and not session.is_segmentation:
            for kind, one in LISTS.items():
                if kind != "csv":
                    self.format.addItem(one.summary, kind)
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
        self.counts = QLabel("counting …")
        self.counts.setWordWrap(True)
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
        form.addRow("stays", self.counts)
        buttons = QHBoxLayout()
        buttons.addWidget(self.bar, 1)
        buttons.addStretch(1)
        buttons.addWidget(self.start)
        buttons.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addStretch(1)
        layout.addWidget(self.notice)
        layout.addLayout(buttons)
        self.resize(520, 330)
        for signal in (self.which.currentTextChanged, self.threshold.valueChanged):
            signal.connect(lambda _: self._tell_counts())
        self.format.currentIndexChanged.connect(lambda _: self.per_class.setEnabled(self._kind in LISTS))
        self.per_class.setEnabled(self._kind in LISTS)
        self._progressed.connect(self._show_progress, thread="main")
        self._counting = Background(self._counted, lambda problem: self.counts.setText(told(problem)))
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

    def _count(self) -> tuple[np.ndarray, np.ndarray] | None:
        with Session(self._session.folder, write=False) as looking:
            if looking.is_segmentation:
                return None
            found = answers_for(looking, labeled_only=not (looking.rounds or looking.refresh_answers()))
            return found.class_N, np.where(found.labeled_N, np.inf, found.confidence_N)

    def _counted(self, found: tuple[np.ndarray, np.ndarray] | None) -> None:
        if found is None:
            self.counts.setText(f"{len(self._session.ids)} masks")
            return
        self._class_N, self._confidence_N = found
        self._tell_counts()

    def _tell_counts(self) -> None:
        if self._class_N is None or self._confidence_N is None:
            return
        least = np.inf if self.which.currentText() == _LABELED else self.threshold.value()
        stays_N = self._confidence_N >= least
        lines = []
        for number, name in enumerate(self._session.classes):
            own_N = self._class_N == number
            lines.append(f"{name}: {int((own_N & stays_N).sum())} of {int(own_N.sum())}")
        found = self._session.rounds or self._session.answers
        none = "" if found else "; nothing is predicted yet, so that only labels can be written"
        self.counts.setText(", ".join(lines) + none)

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
        self._counting.stop()
        self._exporting.stop()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.close()
