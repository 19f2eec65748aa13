"""The page that asks what a new session is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, Label, LineEdit, SpinBox
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from tomotutor.data.source import OPTIONS, Source, offered
from tomotutor.session.create import PRESETS

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


class NewSessionPage(QWidget):
    """Asks what a new session is made of. What was typed stays."""

    create_wanted = Signal()
    back_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = ComboBox(label="input", choices=list(KINDS))
        self.path = FileEdit(label="file or folder", mode=FileDialogMode.EXISTING_FILE)
        self.tomograms = FileEdit(label="tomograms.star", mode=FileDialogMode.EXISTING_FILE, nullable=True)
        self.tomogram_dir = FileEdit(label="folder of tomograms", mode=FileDialogMode.EXISTING_DIRECTORY, nullable=True)
        self.pixel_size = FloatSpinBox(
            label="coordinate pixel, Å", value=0, min=0, max=1000, step=0.1, tooltip="0: from the list"
        )
        self.box = SpinBox(label="box, voxels", value=_BOX.default, min=_BOX.bounds[0], max=_BOX.bounds[1])
        self.voxel_size = FloatSpinBox(
            label="voxel size, Å", value=0, min=0, max=1000, step=0.1, tooltip="0: from the file"
        )
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
        self.create_button = QPushButton("Create session")
        self.create_button.clicked.connect(lambda: self.create_wanted.emit())
        self.back = QPushButton("Back")
        self.back.clicked.connect(lambda: self.back_wanted.emit())
        buttons = QHBoxLayout()
        buttons.addWidget(self.back)
        buttons.addWidget(self.create_button, 1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for box in self.form.native.findChildren(QComboBox):  # a long choice makes the page no wider
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            box.setMinimumWidth(0)
        area.setWidget(self.form.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("<h3>New session</h3>"))
        layout.addWidget(area, 1)
        layout.addLayout(buttons)

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
