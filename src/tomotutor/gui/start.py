"""The start page: open, make or try a session."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, LineEdit, SpinBox
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from tomotutor.gui.bridge import Task
from tomotutor.recipe import PRESETS
from tomotutor.sample import create_sample_session
from tomotutor.session_file import create_session
from tomotutor.sources import Source

KINDS = {
    "particle list (RELION, Dynamo, EM, IMOD, CSV, copick)": "particles",
    "MRC stack": "stack",
    "folder of MRC files": "mrc_dir",
    "NumPy array": "array",
    "folder of 2D images": "images",
}
TASKS = {"a class for each item": "classification", "a mask for each image": "segmentation"}
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
        self.pixel_size = FloatSpinBox(label="coordinate pixel, Å (0: from the list)", value=0, min=0, max=1000, step=0.1)
        self.box = SpinBox(label="box, voxels", value=32, min=8, max=256)
        self.voxel_size = FloatSpinBox(label="voxel size, Å (0: from the file)", value=0, min=0, max=1000, step=0.1)
        self.protein = ComboBox(label="protein is", choices=["as usual for this input", "dark", "bright"])
        self.task = ComboBox(label="asked for", choices=list(TASKS))
        self.classes = LineEdit(label="classes, with commas", value="ribosome, proteasome")
        self.junk = CheckBox(label="add a class junk", value=True)
        self.recipe = ComboBox(label="recipe", choices=list(PRESETS))
        self.folder = FileEdit(label="new session folder", mode=FileDialogMode.OPTIONAL_FILE)
        self.form = Container(widgets=[self.kind, self.path, self.tomograms, self.tomogram_dir, self.pixel_size])
        self.form.extend([self.box, self.voxel_size, self.protein])
        self.form.extend([self.task, self.classes, self.junk, self.recipe, self.folder])
        self.kind.changed.connect(self._kind_changed)
        self._kind_changed(self.kind.value)
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
    def answer(self) -> dict[str, Any]:
        """Arguments of `create_session`."""
        kind = KINDS[self.kind.value]
        path, tomogram_set = Path(str(self.path.value)), Path(str(self.tomograms.value or ""))
        tomograms = str(tomogram_set) if kind == "particles" and tomogram_set.is_file() else ""
        protein = self.protein.value if self.protein.value in ("dark", "bright") else ""
        folder = str(self.tomogram_dir.value or "") if kind == "particles" else ""
        source = Source(
            kind, str(path), tomograms, str(path.parent), folder if folder not in ("", ".") else "", self.box.value, self.voxel_size.value,
            protein, coordinate_pixel_size=self.pixel_size.value,
        )  # fmt: skip
        return {
            "folder": Path(str(self.folder.value)), "source": source, "classes": self.classes.value.split(","), "junk": self.junk.value,
            "recipe": self.recipe.value, "task": TASKS[self.task.value] if kind in ("array", "images") else "",
        }  # fmt: skip


class StartPage(QWidget):
    """Three ways to a session; `opened` carries its folder."""

    opened = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setAlignment(Qt.AlignmentFlag.AlignTop)
        text = QLabel(
            "<h3>TomoTutor</h3>Label only the particles that matter: two networks learn from your labels and ask where they disagree. "
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
            self.opened.emit(folder)

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

    def make(self, folder: Path, function: Callable[[Callable[[int, int], None]], Any]) -> None:
        """Run `function` in a thread, then open `folder`."""
        self._task = Task(self, function)
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
        self.say("reading every item once …" if busy else "")

    def _progressed(self, done: int, total: int) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def _failed(self, text: str) -> None:
        self._set_busy(False)
        self.say(text)

    def _made(self, folder: Path, made: Any) -> None:
        self._set_busy(False)
        notes = []
        if made.padded:
            notes.append(f"{made.padded} boxes leave their tomogram (filled with the mean, flagged)")
        if made.duplicates:
            notes.append(f"{made.duplicates} items are exact duplicates (asked once, labels shared)")
        self.opened.emit(str(folder))
        self.say("; ".join(notes))
