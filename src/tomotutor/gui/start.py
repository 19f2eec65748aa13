"""The start page: open, make or try a session."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, Label, LineEdit, SpinBox
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from tomotutor.base.progress import Report
from tomotutor.data.source import OPTIONS, Source, offered
from tomotutor.gui.bridge import Task
from tomotutor.session import Session
from tomotutor.session.create import PRESETS, Created, create_session
from tomotutor.session.sample import create_sample_session

log = logging.getLogger(__name__)

KINDS = {
    "particle list (RELION, Dynamo, EM, IMOD, CSV, copick)": "particles",
    "MRC stack": "stack",
    "folder of MRC files": "mrc_dir",
    "NumPy array": "array",
    "folder of 2D images": "images",
}
TASKS = {"a class for each item": "classification", "a mask for each image": "segmentation"}
_PRETRAINED, _SCRATCH, _CHOSEN = "pretrained networks (volumes)", "from scratch", "weights or session…"
STARTS = {_PRETRAINED: "", _SCRATCH: "scratch", _CHOSEN: None}  # as `create_session` takes them; None is a path
_HINT = (
    "Pretrained networks know complexes at 6–16 Å a voxel; start from scratch where your items are something else: "
    "2D images, other sizes of voxel, no single particles."
)
_BOX = OPTIONS["box"]
_FOLDERS = ("mrc_dir", "images")


class NewSessionDialog(QDialog):
    """Asks what a new session is made of."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("New session")
        self.kind = ComboBox(label="input", choices=list(KINDS))
        self.path = FileEdit(label="file or folder", mode=FileDialogMode.EXISTING_FILE)
        self.tomograms = FileEdit(label="tomograms.star", mode=FileDialogMode.EXISTING_FILE, nullable=True)
        self.tomogram_dir = FileEdit(label="folder of tomograms", mode=FileDialogMode.EXISTING_DIRECTORY, nullable=True)
        self.pixel_size = FloatSpinBox(
            label="coordinate pixel, Å (0: from the list)", value=0, min=0, max=1000, step=0.1
        )
        self.box = SpinBox(label="box, voxels", value=_BOX.default, min=_BOX.bounds[0], max=_BOX.bounds[1])
        self.voxel_size = FloatSpinBox(label="voxel size, Å (0: from the file)", value=0, min=0, max=1000, step=0.1)
        self.protein = ComboBox(label="protein is", choices=["as usual for this input", *offered("protein")])
        self.task = ComboBox(label="asked for", choices=list(TASKS))
        self.classes = LineEdit(label="classes, with commas", value="ribosome, proteasome")
        self.junk = CheckBox(label="add a class junk", value=True)
        self.recipe = ComboBox(label="recipe", choices=list(PRESETS))
        self.start = ComboBox(label="start", choices=list(STARTS))
        self.weights = FileEdit(label="weights or session", mode=FileDialogMode.EXISTING_DIRECTORY)
        self._start_wanted = _PRETRAINED
        hint = Label(label=" ", value=_HINT)
        hint.native.setWordWrap(True)
        hint.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.folder = FileEdit(label="new session folder", mode=FileDialogMode.OPTIONAL_FILE)
        self.form = Container(widgets=[self.kind, self.path, self.tomograms, self.tomogram_dir, self.pixel_size])
        self.form.extend([self.box, self.voxel_size, self.protein])
        self.form.extend([self.task, self.classes, self.junk, self.recipe])
        self.form.extend([self.start, self.weights, hint, self.folder])
        self.kind.changed.connect(self._kind_changed)
        self._kind_changed(self.kind.value)
        for widget in (self.kind, self.task, self.recipe, self.start):
            widget.changed.connect(self._settle_start)
        self._settle_start()
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.form.native)
        layout.addWidget(self.buttons)
        self.setMinimumWidth(520)

    def _kind_changed(self, name: str) -> None:
        kind = KINDS[name]
        self.path.mode = FileDialogMode.EXISTING_DIRECTORY if kind in _FOLDERS else FileDialogMode.EXISTING_FILE
        for widget in (self.tomograms, self.tomogram_dir, self.pixel_size, self.box):
            widget.enabled = kind == "particles"
        self.task.enabled = kind in ("array", "images")

    @property
    def _task(self) -> str:
        return TASKS[self.task.value] if KINDS[self.kind.value] in ("array", "images") else ""

    def _settle_start(self) -> None:
        """Leave the choice of a start where there is one: pretrained are networks for volumes with a class for each,
        and no paper's.
        """
        free = KINDS[self.kind.value] != "images" and self._task != "segmentation" and self.recipe.value != "paper"
        if free and self.start.enabled:
            self._start_wanted = self.start.value
        self.start.enabled = free
        self.start.value = self._start_wanted if free else _SCRATCH
        self.weights.enabled = free and self.start.value == _CHOSEN

    @property
    def answer(self) -> dict[str, Any]:
        """Arguments of `create_session`."""
        kind = KINDS[self.kind.value]
        path, tomogram_set = Path(str(self.path.value)), Path(str(self.tomograms.value or ""))
        tomograms = str(tomogram_set) if kind == "particles" and tomogram_set.is_file() else ""
        protein = self.protein.value if self.protein.value in offered("protein") else ""
        start = STARTS[self.start.value]
        folder = str(self.tomogram_dir.value or "") if kind == "particles" else ""
        source = Source(
            kind,
            str(path),
            tomograms,
            str(path.parent),
            folder if folder not in ("", ".") else "",
            box=self.box.value,
            voxel_size=self.voxel_size.value,
            protein=protein,
            coordinate_pixel_size=self.pixel_size.value,
        )
        return {
            "folder": Path(str(self.folder.value)),
            "source": source,
            "classes": self.classes.value.split(","),
            "junk": self.junk.value,
            "recipe": self.recipe.value,
            "task": self._task,
            "start": str(self.weights.value) if start is None else start,
        }


class StartPage(QWidget):
    """Three ways to a session; `opened` carries its folder, and what is to be said of it."""

    opened = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setAlignment(Qt.AlignmentFlag.AlignTop)
        text = QLabel(
            "<h3>TomoTutor</h3>Label only the particles that matter: two networks learn from your labels and ask where "
            "they disagree. "
            "Every answer is on disk at once; there is nothing to save."
        )
        text.setWordWrap(True)
        layout.addWidget(text)
        self.buttons: dict[str, QPushButton] = {}
        for name, tip, function in (
            ("Open session…", "go on with a session folder", self.open_session),
            ("New session…", "from particles, volumes, arrays or images", self.new_session),
            ("Try the sample", "simulated tomograms, in a temporary folder", self.open_sample),
        ):
            button = QPushButton(name)
            button.setToolTip(tip)
            button.clicked.connect(lambda _=False, f=function: f())
            layout.addWidget(button)
            self.buttons[name] = button
        self.bar = QProgressBar()
        self.bar.hide()
        layout.addWidget(self.bar)
        self.message = QLabel()
        self.message.setWordWrap(True)
        layout.addWidget(self.message)

    def say(self, text: str) -> None:
        """Show one sentence."""
        self.message.setText(text)

    def open_session(self) -> None:
        """Ask for a session folder."""
        folder = QFileDialog.getExistingDirectory(self, "Open session")
        if folder:
            self.opened.emit(folder, "")

    def new_session(self) -> None:
        """Ask what a new session is made of, and make it in the background."""
        dialog = NewSessionDialog(self)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return
        answer = dialog.answer
        self.make(answer["folder"], lambda report: create_session(**answer, report=report))

    def open_sample(self) -> None:
        """Make a session on the sample data."""
        folder = Path(tempfile.mkdtemp(prefix="tomotutor-")) / "sample-session"
        self.make(folder, lambda report: create_sample_session(folder, report))

    def make(self, folder: Path, function: Callable[[Report], Created]) -> None:
        """Run `function`, which makes the session `folder`, in a thread; look around in it, then open it."""
        self._task = Task(self, lambda report: _make(folder, function, report))
        self._task.progressed.connect(self._progressed)
        self._task.failed.connect(self._failed)
        self._task.done.connect(lambda made: self._made(folder, made))
        self._set_busy(True)
        self._task.start()

    def _set_busy(self, busy: bool) -> None:
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0)
        for button in self.buttons.values():
            button.setEnabled(not busy)
        self.say("")

    def _progressed(self, text: str, done: int, total: int) -> None:
        self.say(text)
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def _failed(self, text: str) -> None:
        self._set_busy(False)
        self.say(text)

    def _made(self, folder: Path, result: tuple[Created, str]) -> None:
        self._set_busy(False)
        made, problem = result
        notes = [problem] if problem else []
        if made.padded:
            notes.append(f"{made.padded} boxes leave their tomogram (filled with the mean, flagged)")
        if made.duplicates:
            notes.append(f"{made.duplicates} items are exact duplicates (asked once, labels shared)")
        self.opened.emit(str(folder), "; ".join(notes))


def _make(
    folder: Path, function: Callable[[Report], Created], report: Callable[[str, int, int], None]
) -> tuple[Created, str]:
    """Make a session and look around in it; return what was made, and what went wrong with the look, which it can do
    without.
    """
    report("reading every item once …", 0, 0)
    made = function(lambda progress: report("reading every item once …", progress.done, progress.total))
    looking = "looking at every item …"
    report(looking, 0, 0)
    try:
        with Session(folder, opened=made.opened) as session:
            session.map_pool(lambda progress: report(looking, progress.done, progress.total))
    except Exception as problem:
        log.exception("no look around in %s", folder)
        return made, str(problem) or type(problem).__name__
    return made, ""
