"""The labeling page: the current item, the classes, the queue and the round, over one Session."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Progress
from tomotutor.export.figures import thumbnail
from tomotutor.gui.bridge import SessionBridge
from tomotutor.gui.canvas import ItemCanvas, Rendering, smooth
from tomotutor.gui.gallery import Gallery
from tomotutor.gui.keys import KeyFilter
from tomotutor.gui.opinion import Opinion
from tomotutor.gui.orthoslices import OrthoSlices
from tomotutor.gui.painting import MaskPainter
from tomotutor.gui.plots import CurveCanvas, LookMap
from tomotutor.session import Session
from tomotutor.session.classes import JUNK
from tomotutor.session.status import CurvePoint, ItemView, Phase, PoolMap, Status

log = logging.getLogger(__name__)


def class_keys(classes: tuple[str, ...]) -> dict[str, str]:
    """Return the key of each class: 1 to 9 in their order, 0 for junk; classes beyond have none."""
    plain = [name for name in classes if name != JUNK]
    keys = {name: str(number) for number, name in enumerate(plain[:9], start=1)}
    if JUNK in classes:
        keys[JUNK] = "0"
    return keys


def paint_keys(classes: tuple[str, ...]) -> dict[str, str]:
    """Return the key that chooses each class to paint: 1 to 9 in their order; 0 is the eraser."""
    return {name: str(number) for number, name in enumerate(classes[:9], start=1)}


class LabelingPage(QWidget):
    """Labels one session.

    Parameters
    ----------
    session : Session
        Opened for writing; the page closes it in `close_session`.
    viewer : ViewerModel
        Where the current item is drawn.
    """

    left = Signal()  # the person wants another session

    def __init__(self, session: Session, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.canvas = ItemCanvas(viewer)
        self.painter = MaskPainter(viewer, session.classes) if session.is_segmentation else None
        self.class_keys = (paint_keys if session.is_segmentation else class_keys)(session.classes)
        self._notice = ""
        self._shown: tuple[int, str | None] | None = (
            None  # row and label on the screen, so that a reordered queue redraws nothing
        )
        self._build()
        self.bridge = SessionBridge(session, self)
        self.bridge.queue_changed.connect(self._show_queue)
        self.bridge.status_changed.connect(self._show_status)
        self.bridge.progressed.connect(self._show_progress)
        self.bridge.round_finished.connect(self._round_finished)
        self.bridge.failed.connect(self.say)
        self.bridge.notice.connect(self._show_notice)
        self.keys = self._make_keys()
        self._show_queue()
        self._show_status(session.status)
        self.curve.set_curve(session.curve)

    # ---- what it is made of -------------------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(5)
        self.title = QLabel()
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.title.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout.addWidget(self.title)
        self.slices = OrthoSlices()
        layout.addWidget(self.slices, 2)
        layout.addLayout(self._build_view_row())
        layout.addLayout(self._build_classes())
        layout.addLayout(self._build_actions())
        self.opinion = Opinion(self.session.classes, "(mean squared)" if self.painter else "nats")
        layout.addWidget(self.opinion)
        self.gallery = Gallery(lambda row: thumbnail(self._read(row)))
        self.gallery.clicked.connect(self._show_item)
        layout.addWidget(self.gallery)
        layout.addLayout(self._build_round())
        self.curve = CurveCanvas()
        layout.addWidget(self.curve, 1)
        self.map = LookMap(self.session.classes)
        self.map.clicked.connect(lambda row: self._show_item(self.session.pool.ids[row]))
        layout.addWidget(self.map, 1)

    def _build_view_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.renderings = QButtonGroup(self)
        self.view_controls: list[QWidget] = []
        for rendering in Rendering:
            button = QRadioButton(rendering.value)
            button.setChecked(rendering is self.canvas.rendering)
            button.toggled.connect(lambda on, r=rendering: self._set_rendering(r) if on else None)
            self.renderings.addButton(button)
            row.addWidget(button)
            self.view_controls.append(button)
        self.level = self._slider(
            row,
            "surface",
            1,
            20,
            round(self.canvas.density_percent),
            "densest share of the voxels inside the surface, %",
        )
        self.level.valueChanged.connect(self._set_level)
        self.smoothing = self._slider(
            row,
            "smooth",
            0,
            30,
            round(10 * self.canvas.sigma),
            "smoothing for the eye, in tenths of a voxel; not trained on",
        )
        self.smoothing.valueChanged.connect(self._set_smoothing)
        self.denoised = QCheckBox("Denoised (D)")
        self.denoised.setToolTip("look at the denoised tomogram; the networks are trained on the raw one")
        self.denoised.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.denoised.setChecked(self.session.denoised is not None)
        self.denoised.setVisible(self.session.denoised is not None)
        self.denoised.toggled.connect(self._redraw)
        row.addWidget(self.denoised)
        for control in self.view_controls:
            control.setVisible(self.session.pool.ndim == 3)
        return row

    def _slider(self, row: QHBoxLayout, text: str, low: int, high: int, value: int, tip: str) -> QSlider:
        label, slider = QLabel(text), QSlider(Qt.Orientation.Horizontal)
        slider.setRange(low, high)
        slider.setValue(value)
        slider.setToolTip(tip)
        slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        row.addWidget(label)
        row.addWidget(slider)
        self.view_controls += [label, slider]
        return slider

    def _build_classes(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(3)
        keys = self.class_keys
        columns = 2 if len(self.session.classes) <= 20 else 4
        self.class_buttons: dict[str, QPushButton] = {}
        for number, name in enumerate(self.session.classes):
            what = f"paint {name}" if self.painter else f"label this particle as {name}"
            button = self._button("", what + (f" (key {keys[name]})" if name in keys else ""))
            colour = f"border-left: 12px solid {self.painter.colours[number]};" if self.painter else ""
            button.setStyleSheet(f"QPushButton {{ text-align: left; padding: 3px 8px; {colour} }}")
            button.clicked.connect(lambda _=False, n=name: self.label(n))
            button.setCheckable(True)
            self.class_buttons[name] = button
            grid.addWidget(button, number // columns, number % columns)
        return grid

    def _button(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys label; they never press a focused button
        return button

    def _build_actions(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(3)
        self.action_buttons: dict[str, QPushButton] = {}
        actions: dict[str, tuple[Callable[[], None], str]] = {
            "Skip (S)": (self.skip, "put it to the end of the queue"),
            "Unsure (U)": (self.unsure, "it cannot be told: not asked again, not trained on"),
            "Undo (Z)": (self.undo, "take back the last answer"),
            "Back (B)": (self.back, "see the item before this one again"),
        }
        if self.painter:
            actions = {
                "Done (Enter)": (self.done, "the mask is as it should be: save it; what is not painted counts as void"),
                "Erase (0)": (self.erase, "paint nothing: void"),
                **actions,
            }
        for text, (function, tip) in actions.items():
            button = self._button(text, tip)
            button.clicked.connect(lambda _=False, f=function: f())
            self.action_buttons[text] = button
            row.addWidget(button)
        return row

    def _build_round(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(3)
        self.round_text = QLabel()
        self.round_bar = QProgressBar()
        self.round_bar.setFormat("%v of %m labels to the next training")
        self.retrain_button = self._button("Retrain (R)", "train on all labels now")
        self.retrain_button.clicked.connect(lambda: self.retrain_or_cancel())
        self.train_bar = QProgressBar()
        self.train_bar.setRange(0, 1000)
        self.message = QLabel()
        self.message.setWordWrap(True)
        leave = self._button("Close session", "everything is saved already")
        leave.clicked.connect(self.left.emit)
        grid.addWidget(self.round_text, 0, 0, 1, 2)
        grid.addWidget(self.round_bar, 1, 0)
        grid.addWidget(self.retrain_button, 1, 1)
        grid.addWidget(self.train_bar, 2, 0)
        grid.addWidget(leave, 2, 1)
        grid.addWidget(self.message, 3, 0, 1, 2)
        grid.setColumnStretch(0, 1)
        return grid

    def _make_keys(self) -> KeyFilter:
        key = Qt.Key
        actions: dict[int, Callable[[], None]] = {}
        for name, text in self.class_keys.items():
            actions[getattr(key, f"Key_{text}")] = partial(self.label, name)
        actions |= {
            key.Key_S: self.skip,
            key.Key_U: self.unsure,
            key.Key_Z: self.undo,
            key.Key_B: self.back,
            key.Key_R: self.retrain_or_cancel,
            key.Key_V: self.toggle_rendering,
        }
        if self.session.denoised is not None:
            actions[key.Key_D] = self.denoised.toggle
        if self.painter:
            actions |= {key.Key_0: self.erase, key.Key_Return: self.done, key.Key_Enter: self.done}
            return KeyFilter(self, actions, {})  # Ctrl+Z is napari's: it takes back a stroke
        return KeyFilter(self, actions, {key.Key_Z: self.undo})

    # ---- what the person does -----------------------------------------------------------------------------------

    def _try(self, function: Callable[..., object], *args: str) -> None:
        """Call the session; what went wrong is said, and the screen stays where it is."""
        try:
            function(*args)
        except TomoTutorError as problem:
            self.say(str(problem))

    def label(self, class_name: str) -> None:
        """Give the current item a class; in segmentation choose the class to paint."""
        if self.painter:
            self.painter.select(self.session.classes.index(class_name))
            self._check_button(class_name)
        elif (item := self.session.current) is not None:
            self._try(self.session.label, item.id, class_name)

    def erase(self) -> None:
        """Paint void."""
        if self.painter:
            self.painter.select(len(self.session.classes))
            self._check_button(None)

    def done(self) -> None:
        """Save the mask of the current item and go on to the next."""
        item = self.session.current
        if item is None or self.painter is None:
            return
        mask_YX = self.painter.mask
        if mask_YX is None:
            self.say("nothing is painted yet: choose a class with a number key and paint on the image")
            return
        self.painter.keep_draft()  # Undo shows it again
        self.say("")
        try:
            self.session.label(item.id, mask_YX)
        except TomoTutorError as problem:
            self.say(str(problem))

    def _check_button(self, class_name: str | None) -> None:
        for name, button in self.class_buttons.items():
            button.setChecked(name == class_name)

    def skip(self) -> None:
        """Put the current item to the end of the queue."""
        if (item := self.session.current) is not None:
            self._try(self.session.skip, item.id)

    def unsure(self) -> None:
        """Say that the current item cannot be told."""
        if (item := self.session.current) is not None:
            self._try(self.session.unsure, item.id)

    def undo(self) -> None:
        """Take back the last answer."""
        self._try(self.session.undo)

    def back(self) -> None:
        """Show the item before the current one."""
        self._try(self.session.back)

    def _show_item(self, item_id: str) -> None:
        self._try(self.session.show, item_id)

    def retrain_or_cancel(self) -> None:
        """Start a training, or stop the one that runs."""
        if self.session.phase is Phase.IDLE:
            if self.session.start_round():
                self.say("")
            else:
                needed = "two masks and two classes in them" if self.painter else "four labels and two classes"
                self.say(f"a training needs {needed} at least")
        else:
            self.session.cancel()

    def toggle_rendering(self) -> None:
        """Change between volume and isosurface."""
        buttons = self.renderings.buttons()
        next(b for b in buttons if not b.isChecked()).setChecked(True)

    def _set_rendering(self, rendering: Rendering) -> None:
        self.canvas.rendering = rendering
        self.canvas.draw()

    def _set_level(self, percent: int) -> None:
        self.canvas.density_percent = float(percent)
        if self.canvas.rendering is Rendering.ISOSURFACE:
            self.canvas.draw()

    def _set_smoothing(self, tenths: int) -> None:
        self.canvas.sigma = tenths / 10
        self.canvas.draw()
        self._shown = None
        self._show_queue()

    def _redraw(self) -> None:
        self.gallery.forget()
        self._shown = None
        self._show_queue()

    # ---- what the session tells ----------------------------------------------------------------------------------

    def _show_queue(self) -> None:
        item = self.session.current
        if item is None or self._shown is None or self._shown[0] != item.row:
            self._draw_item(item)
        self._shown = None if item is None else (item.row, item.label)
        self._describe(item)
        look = self._look
        self.opinion.set_item(item, has_model=bool(self.session.rounds), look=look)
        self.gallery.set_items(self.session.upcoming(Gallery.COUNT), look)
        self.curve.setVisible(
            look is None and self.painter is None
        )  # it draws accuracy on audit items, which masks have none of
        self.map.setVisible(look is not None)
        if look is not None:
            self.map.set_look(look, self.session.labels(), item)

    @property
    def _look(self) -> PoolMap | None:
        """What pretrained networks saw of the pool; the first round takes its place."""
        return None if self.session.rounds else self.session.pool_map

    def _read(self, row: int) -> np.ndarray:
        """Return an item as it is to be looked at."""
        pool = self.session.denoised if self.denoised.isChecked() and self.session.denoised else self.session.pool
        return pool.read(np.array([row]))[0]

    def _draw_item(self, item: ItemView | None) -> None:
        try:
            x_C = None if item is None else self._read(item.row)
        except TomoTutorError as problem:
            self.say(str(problem))
            x_C = None
        self.canvas.show(x_C)
        if self.painter:
            self.painter.show(None if item is None else item.row, self.session.pool.shape[1:], self._mask(item))
        if x_C is None or x_C.ndim == 4:
            self.slices.show_volume(None if x_C is None else smooth(x_C, self.canvas.sigma))
        else:
            self.slices.show_picture(thumbnail(x_C))

    def _mask(self, item: ItemView | None) -> np.ndarray | None:
        try:
            return None if item is None else self.session.mask(item.row)
        except TomoTutorError as problem:
            self.say(str(problem))
            return None

    def _describe(self, item: ItemView | None) -> None:
        if item is None:
            self.title.setText("<b>every item has an answer</b>")
            return
        notes = []
        if item.label:
            notes.append("has a mask" if self.painter else f"labeled {item.label}")
        elif item.action:
            notes.append("unsure" if item.action == "unsure" else "skipped before")
        if item.is_audit:
            notes.append("audit item")
        if item.padded:
            notes.append("box leaves the tomogram")
        self.title.setText(f"<b>{item.id}</b>" + (f" · {' · '.join(notes)}" if notes else ""))
        selected = item.label
        if self.painter:
            number = self.painter.selected
            selected = self.session.classes[number] if number < len(self.session.classes) else None
        self._check_button(selected)

    def _show_status(self, status: Status) -> None:
        keys = self.class_keys
        for name, button in self.class_buttons.items():
            button.setText(f"{keys.get(name, ' ')}   {name}   ({status.counts[name]})")
        unsure = f", {status.unsure} unsure" if status.unsure else ""
        width = {1.0: "full width", 0.5: "half width", 0.25: "quarter width"}.get(self.session.recipe.network.width, "")
        accuracy = f"accuracy {status.audit.describe()}" if status.round else "no model yet"
        if self.painter and status.round:
            accuracy = f"trained on {self.session.curve[-1].labels} masks"
        self.round_text.setText(
            f"{status.labeled} of {status.items} labeled{unsure} · round "
            f"{status.round}{f' · {width}' if width else ''}\n{accuracy}"
        )
        self.round_bar.setRange(0, status.due_at)
        self.round_bar.setValue(min(status.since_round, status.due_at))
        training = status.phase is not Phase.IDLE
        self.retrain_button.setText("Cancel (R)" if training else "Retrain (R)")
        self.retrain_button.setEnabled(status.phase is not Phase.CANCELLING)
        if not training:
            self.train_bar.setValue(0)
            self.train_bar.setFormat("not training")
        elif status.phase is Phase.CANCELLING:
            self.train_bar.setFormat("cancelling …")
        elif self.train_bar.value() == 0:
            self.train_bar.setFormat("starting …")

    def _show_progress(self, progress: Progress) -> None:
        if self.session.phase is not Phase.TRAINING:
            return
        self.train_bar.setValue(round(1000 * progress.done / max(1, progress.total)))
        left = "" if math.isnan(progress.eta_s) else f" · {progress.eta_s:.0f} s left"
        if progress.stage == "train":
            self.train_bar.setFormat(
                f"training · epoch {progress.epoch} of {progress.epochs} · loss {progress.loss:.2f}{left}"
            )
        else:
            self.train_bar.setFormat(f"scoring · {progress.done} of {progress.total}{left}")

    def _round_finished(self, point: CurvePoint) -> None:
        text = f"round {point.round} is done: trained on {point.metrics['trained_on']} labels; the queue has its order"
        self.say(f"{text}\n{self._notice}".strip())
        self._notice = ""
        self.curve.set_curve(self.session.curve)

    def _show_notice(self, text: str) -> None:
        self._notice = text  # a round that ends tells of itself next, which must not wipe it out
        self.say(text)

    def say(self, text: str) -> None:
        """Show one sentence."""
        self.message.setText(text)

    # ---- the end -------------------------------------------------------------------------------------------------

    def close_session(self) -> None:
        """Stop training and give the session free; all answers are on disk already."""
        self.keys.remove()
        self.bridge.disconnect_all()
        self.session.close()
        if self.painter:
            self.painter.clear()
        self.canvas.clear()
