"""The page that asks what a new session is made of."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, FileEdit, FloatSpinBox, LineEdit, SpinBox
from magicgui.widgets.bases import BaseValueWidget
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.data.options import OPTIONS, Source, offered
from tomotutor.gui.background import Background, told
from tomotutor.gui.welcome.mistakes import FieldError, field_of, in_words
from tomotutor.gui.welcome.preview import Preview, PreviewView, look
from tomotutor.session.classes import check_classes
from tomotutor.session.create import PRESETS

KINDS = {
    "particle list (RELION, Dynamo, IMOD, …)": "particles",
    "MRC stack": "stack",
    "folder of MRC files": "mrc_dir",
    "NumPy array": "array",
    "folder of 2D images": "images",
}
TASKS = {"a class for each item": "classification", "a mask for each image": "segmentation"}
_PRETRAINED, _SCRATCH, _CHOSEN = "pretrained networks (volumes)", "from scratch", "weights or session…"
_LITE = "EfficientNet-Lite0 (images)"
# as `create_session` takes them; None is a path
STARTS = {_PRETRAINED: "", _SCRATCH: "scratch", _CHOSEN: None, _LITE: "efficientnet-lite0"}
_HINT = (
    "Pretrained networks know complexes at 6–16 Å a voxel; start from scratch where your items are something else: "
    "other sizes of voxel, no single particles. Of 2D images EfficientNet-Lite0 knows photographs (a package of 17 "
    "MB), as does a .safetensors file with a ResNet-18 of torchvision or timm, if you have one."
)
_FOLDERS = ("mrc_dir", "images")
_OF_LIST = ("tomograms", "tomogram_dir", "coordinate_pixel_size", "box", "denoised_dir", "tilt_dir", "centre")
_MORE = ("denoised_dir", "tilt_range", "tilt_dir", "low_pass", "rescale", "normalise", "centre", "ndim", "key", "size")
_USUAL = "as usual"
_WAIT_MS = 300  # after the last change, before the input is looked at
_WRONG = "border: 2px solid #e5484d; border-radius: 3px;"


class NewSessionPage(QWidget):
    """Asks what a new session is made of, and shows what it would be. What was typed stays."""

    create_wanted = Signal()
    back_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._images = False  # whether the starts on offer are those of images
        self._start_wanted = {False: _PRETRAINED, True: _SCRATCH}
        self._found_set: Path | None = None  # a tomogram set that lay beside the list
        self._unwanted = threading.Event()  # set when what is looked at was changed
        self._looking = Background(self._have_look, lambda problem: self.preview.say(told(problem)))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)
        self._make_fields()
        self._build()
        for name, widget in self.fields.items():
            widget.changed.connect(lambda _, n=name: self._changed(n))
        self._settle()

    # ---- what it is made of -------------------------------------------------------------------------------------

    def _make_fields(self) -> None:
        self.kind = ComboBox(label="input", choices=list(KINDS))
        self.path = FileEdit(label="file or folder", mode=FileDialogMode.EXISTING_FILE)
        self.tomograms = FileEdit(label="tomograms.star", mode=FileDialogMode.EXISTING_FILE, nullable=True)
        self.tomogram_dir = FileEdit(label="folder of tomograms", mode=FileDialogMode.EXISTING_DIRECTORY, nullable=True)
        self.pixel_size = FloatSpinBox(
            label="coordinate pixel, Å", value=0, min=0, max=1000, step=0.1, tooltip="0: from the list"
        )
        box = OPTIONS["box"]
        self.box = SpinBox(label="box, voxels", value=box.default, min=box.bounds[0], max=box.bounds[1])
        self.voxel_size = FloatSpinBox(
            label="voxel size, Å", value=0, min=0, max=1000, step=0.1, tooltip="0: from the file"
        )
        for size in (self.pixel_size, self.voxel_size):
            size.native.setSpecialValueText("as the files say")  # in place of 0
        self.protein = ComboBox(label="protein is", choices=["as usual for this input", *offered("protein")])
        self.task = ComboBox(label="asked for", choices=list(TASKS))
        self.classes = LineEdit(
            label="classes", value="ribosome, proteasome", tooltip="with commas; empty: those that the file names"
        )
        self.junk = CheckBox(label="", text="add a class junk", value=True)
        self.recipe = ComboBox(label="recipe", choices=list(PRESETS))
        self.start = ComboBox(label="start", choices=list(STARTS), tooltip=_HINT)
        self.weights = FileEdit(label="weights or session", mode=FileDialogMode.EXISTING_DIRECTORY)
        self.folder = FileEdit(label="new session folder", mode=FileDialogMode.OPTIONAL_FILE)
        self._more = {name: _option(name) for name in _MORE}
        self._of_source = {
            "kind": self.kind,
            "path": self.path,
            "tomograms": self.tomograms,
            "tomogram_dir": self.tomogram_dir,
            "coordinate_pixel_size": self.pixel_size,
            "box": self.box,
            "voxel_size": self.voxel_size,
            "protein": self.protein,
            **self._more,
        }
        self.fields: dict[str, BaseValueWidget] = {
            **{name: widget for name, widget in self._of_source.items() if name not in self._more},
            "task": self.task,
            "classes": self.classes,
            "junk": self.junk,
            "recipe": self.recipe,
            "start": self.start,
            "weights": self.weights,
            "folder": self.folder,
            **self._more,
        }

    def _build(self) -> None:
        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.more = QPushButton("More options")
        self.more.setCheckable(True)
        self.more.toggled.connect(self._show_more)
        for name, widget in self.fields.items():
            if name == _MORE[0]:
                self._form.addRow("", self.more)
            self._form.addRow(widget.label, widget.native)
        self._show_more(False)
        self.mistake = QLabel()
        self.mistake.setWordWrap(True)
        self.marked = ""  # the field with the mistake
        for box in [w.native for w in self.fields.values() if isinstance(w, ComboBox)]:
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)  # a long choice makes the page no wider
        inner = QWidget()
        inner.setLayout(self._form)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QScrollArea.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setWidget(inner)
        self.preview = PreviewView()
        self.create_button = QPushButton("Create session")
        self.create_button.clicked.connect(lambda: self.create_wanted.emit())
        self.back = QPushButton("Back")
        self.back.clicked.connect(lambda: self.back_wanted.emit())
        buttons = QHBoxLayout()
        buttons.addWidget(self.back)
        buttons.addWidget(self.create_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("<h3>New session</h3>"))
        layout.addWidget(self._area, 1)
        layout.addWidget(self.preview)
        layout.addLayout(buttons)

    def _show_more(self, on: bool) -> None:
        self.more.setChecked(on)
        for widget in self._more.values():
            self._form.setRowVisible(widget.native, on)
        if on:
            self._scroll_to(self._more[_MORE[-1]].native)
            self._scroll_to(self.more)

    def _scroll_to(self, widget: QWidget) -> None:
        QApplication.sendPostedEvents(self._area.widget())  # it takes its new height first
        self._area.ensureWidgetVisible(widget)

    # ---- what goes with what ------------------------------------------------------------------------------------

    def _changed(self, name: str) -> None:
        if name == self.marked or {name, self.marked} <= set(self._of_source):
            self.unmark()
        if name == "path":
            self._find_set()
        self._settle()
        if name in self._of_source:
            self._unwanted.set()
            self._timer.start(_WAIT_MS)

    def _find_set(self) -> None:
        """Take the tomogram set that lies beside a list, where none was chosen."""
        chosen = _path(self.tomograms)
        if self._kind != "particles" or chosen not in (None, self._found_set):
            return
        beside = _path(self.path)
        found = None if beside is None else beside.parent / "tomograms.star"
        self._found_set = found if found is not None and found != beside and found.is_file() else None
        self.tomograms.value = self._found_set

    def _settle(self) -> None:
        """Leave the choices there are. Pretrained are networks for volumes."""
        kind = self._kind
        self.path.mode = FileDialogMode.EXISTING_DIRECTORY if kind in _FOLDERS else FileDialogMode.EXISTING_FILE
        for name in _OF_LIST:
            self.fields[name].enabled = kind == "particles"
        self.task.enabled = kind in ("array", "images")
        free = self._task != "segmentation" and self.recipe.value != "paper"
        if self.start.enabled:
            self._start_wanted[self._images] = self.start.value
        self._images = kind == "images"
        with self.start.changed.blocked():
            self.start.choices = [name for name in STARTS if name != (_PRETRAINED if self._images else _LITE)]
            self.start.value = self._start_wanted[self._images] if free else _SCRATCH
        self.start.enabled = free
        self.weights.mode = FileDialogMode.EXISTING_FILE if self._images else FileDialogMode.EXISTING_DIRECTORY
        self.weights.enabled = free and self.start.value == _CHOSEN

    @property
    def _kind(self) -> str:
        return KINDS[self.kind.value]

    @property
    def _task(self) -> str:
        return TASKS[self.task.value] if self._kind in ("array", "images") else ""

    # ---- what was typed -----------------------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """The input that the page describes; raises TomoTutorError where it cannot be one."""
        path = _path(self.path)
        if path is None:
            raise FieldError("path", "choose the file or folder that the items come from")
        found: dict[str, Any] = {"voxel_size": self.voxel_size.value, "root": str(path.parent)}
        if self.protein.value in offered("protein"):
            found["protein"] = self.protein.value
        found |= {name: str(_path(self.fields[name]) or "") for name in ("tomograms", "tomogram_dir")}
        found |= {"coordinate_pixel_size": self.pixel_size.value, "box": self.box.value}
        found |= {name: _value(name, widget) for name, widget in self._more.items()}
        for name in _OF_LIST if self._kind != "particles" else ():
            del found[name]
        for name, value in found.items():
            if value and OPTIONS.get(name, OPTIONS["box"]).more.get("path") and not Path(value).exists():
                raise FieldError(name, f"{value}: no such file or folder; choose another, or leave it empty")
        return Source(self._kind, str(path), **{name: value for name, value in found.items() if value != ""})

    @property
    def answer(self) -> dict[str, Any]:
        """Arguments of `create_session`.

        Raises
        ------
        TomoTutorError
            A field has a mistake that can be seen without reading files; of a FieldError it is known which.
        """
        source, folder, names = self.source, _path(self.folder), self.classes.value.strip()
        classes = names.split(",") if names else []
        if classes:
            check_classes(classes, junk=self.junk.value)
        start: Any = STARTS[self.start.value]
        if start is None:
            start = _path(self.weights)
            if start is None:
                raise FieldError(
                    "weights", "choose a folder of weights, or a session whose networks are taken; for images a file"
                )
        if folder is None:
            raise FieldError("folder", "say which folder the session is to be made in; it is new, or empty")
        return {
            "folder": folder,
            "source": source,
            "classes": classes,
            "junk": self.junk.value,
            "recipe": self.recipe.value,
            "task": self._task,
            "start": str(start),
        }

    # ---- mistakes -----------------------------------------------------------------------------------------------

    def show_mistake(self, problem: Exception) -> bool:
        """Mark the field that a mistake is in, and say beside it what is wrong; False where no field is at fault."""
        self.unmark()
        typed = {name: _path(widget) for name, widget in self.fields.items() if isinstance(widget, FileEdit)}
        paths = {name: path for name, path in typed.items() if path is not None}
        name = field_of(problem, paths)
        if name not in self.fields:
            return False
        self.marked = name
        if name in self._more:
            self._show_more(True)
        native = self.fields[name].native
        self._typed_in(name).setStyleSheet(_WRONG)
        self.mistake.setText(in_words(str(problem), {n: w.label for n, w in self.fields.items()}))
        position: Any = self._form.getWidgetPosition(native)
        self._form.insertRow(position[0] + 1, self.mistake)
        self.mistake.show()
        self._scroll_to(native)
        self._scroll_to(self.mistake)
        return True

    def _typed_in(self, name: str) -> QWidget:
        """Return what of a field is marked: of a path the line, without its button."""
        widget = self.fields[name]
        native: QWidget = widget.line_edit.native if isinstance(widget, FileEdit) else widget.native
        return native

    def unmark(self) -> None:
        """Take the mark and the sentence away."""
        if self.marked:
            self._typed_in(self.marked).setStyleSheet("")
            self.marked = ""
            self._form.takeRow(self.mistake)
            self.mistake.hide()

    # ---- the look ahead -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._unwanted = unwanted = threading.Event()
        if _path(self.path) is None:
            self.preview.say("")
            return
        try:
            source = self.source
        except TomoTutorError as problem:
            self._have_look((unwanted, problem))
            return
        self.preview.say("looking …")
        self._looking.ask(_looked, source, unwanted)

    def _have_look(self, found: tuple[threading.Event, Preview | Exception]) -> None:
        unwanted, preview = found
        if unwanted.is_set() or unwanted is not self._unwanted:
            return
        if isinstance(preview, Preview):
            self.preview.show_preview(preview)
            return
        self.preview.say("" if self.show_mistake(preview) else told(preview))

    def stop_looking(self) -> None:
        """Look at nothing more until something is changed."""
        self._timer.stop()
        self._unwanted.set()


def _looked(source: Source, unwanted: threading.Event) -> tuple[threading.Event, Preview | Exception]:
    """Return a preview, or why there is none, with the event that says whether it is still wanted."""
    try:
        return unwanted, look(source, unwanted.is_set)
    except (TomoTutorError, CancelledError) as problem:
        return unwanted, problem


def _path(widget: BaseValueWidget) -> Path | None:
    """Return the path in a field, None where it is empty."""
    text = str(widget.value or "").strip()
    return Path(text).expanduser().absolute() if text not in ("", ".") else None


def _option(name: str) -> BaseValueWidget:
    """Return the field of an option, as it is declared."""
    option = OPTIONS[name]
    label, tip = name.replace("_", " "), option.help
    if option.more.get("path"):
        return FileEdit(label=label, mode=FileDialogMode.EXISTING_DIRECTORY, nullable=True, tooltip=tip)
    if option.choices:
        return ComboBox(label=label, choices=[_USUAL, *map(str, offered(name))], tooltip=tip)
    return LineEdit(label=label, value="", tooltip=tip)


def _value(name: str, widget: BaseValueWidget) -> Any:
    """Return what was typed for an option, "" for nothing."""
    option = OPTIONS[name]
    if isinstance(widget, FileEdit):
        return str(_path(widget) or "")
    text = str(widget.value).strip()
    if text in ("", _USUAL):
        return ""
    if "read" in option.more:
        return option.more["read"](text)
    if option.is_tuple:
        return tuple(option.read(word, "input") for word in text.replace(",", " ").split())
    return option.read(text, "input")
