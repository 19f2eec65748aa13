"""Particles: what is known of all of them, many judged at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QInputDialog, QLineEdit, QSlider, QVBoxLayout, QWidget

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.background import Background, told
from tomotutor.gui.bulk_steps import bulk_steps, contradicted
from tomotutor.gui.dialogs.average import AverageDialog, average_of
from tomotutor.gui.keys import quiet_button
from tomotutor.gui.notice import Line, Notice
from tomotutor.gui.particles.grid import ParticleGrid
from tomotutor.gui.particles.listing import DOUBTED, SHOWS, SORTS, Group, Section, Wanted, groups_of, known_of, sections
from tomotutor.gui.particles.looks import LOOKS
from tomotutor.gui.particles.thumbnails import Thumbnails
from tomotutor.gui.theme import Colours, class_colours
from tomotutor.session import Session
from tomotutor.session import classes as changes

T = TypeVar("T")

_EVERY = "all tomograms"
_LIKE = 5000  # particles that are sorted by likeness
_NOTHING = {
    "queue": "nothing left in the queue",
    "groups": "no groups yet: they come after the first training, or where a session starts pretrained",
    "class": "no particle of this class yet",
    "labeled": "nothing is labeled yet",
    "doubted": "no label looks wrong; before labels in two classes none can",
    "unsure": "nothing is marked unsure",
    "chosen": "nothing is chosen: click a class or a cell of the Model tab, or draw around points of its map",
    "all": "no particle fits",
}


class ParticlesPage(QWidget):
    """The grid, and what chooses what it shows. `said` carries a sentence, `opened` the id of an item to show.

    Parameters
    ----------
    session : Session
        Its labels are given here, many at a time.
    read : callable
        Pool row to the item as it is looked at.
    colours : Colours
        Of the theme.
    """

    said = Signal(str)
    opened = Signal(str)

    def __init__(self, session: Session, read: Callable[[int], np.ndarray], colours: Colours) -> None:
        super().__init__()
        self._session, self._read = session, read
        self._groups: list[Group] = []
        self._doubted: np.ndarray | None = None
        self._nearest: np.ndarray | None = None
        self._chosen: Section | None = None
        self._look = next(iter(LOOKS))
        self.thumbnails = Thumbnails(self._picture)
        self.grid = ParticleGrid(self.thumbnails, len(session.ids), colours)
        self._finding_groups, self._doubting, self._averaging, self._comparing, self._rechecking = (
            Background(found, self._failed)
            for found in (
                self._have_groups,
                self._have_doubts,
                self._have_average,
                self._have_like,
                self._have_rechecks,
            )
        )
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.refresh)
        self._build()
        self.refresh()

    def _build(self) -> None:
        self.show_box = self._combo(SHOWS, "which particles", 7)
        self.class_box = self._combo(self._session.classes, "of which class: labels and predictions")
        self.sort_box = self._combo(SORTS, "in which order", 10)
        tomograms = sorted({str(name) for name in np.unique(self._session.pool.tomogram_N)} - {""})
        self.tomogram_box = self._combo([_EVERY, *tomograms], "of which tomogram", 11)
        self.tomogram_box.setVisible(len(tomograms) > 1)
        self.text = QLineEdit()
        self.text.setPlaceholderText("name has …")
        self.text.setMaximumWidth(90)
        self.text.textChanged.connect(self.refresh)
        self.look_box = self._combo(LOOKS, "pictures: middle slices, the whole box summed up, or the volume in 3D", 4)
        self.look_box.setVisible(self._session.pool.ndim == 3)
        self.look_box.currentTextChanged.connect(self._set_look)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(32, 160)
        self.slider.setValue(64)
        self.slider.setFixedWidth(60)
        self.slider.setToolTip("size of the pictures")
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slider.valueChanged.connect(self.grid.set_size)
        self.accept_button = quiet_button("Accept (⏎)", "Enter: make the predictions of the selected particles labels")
        self.like_button = quiet_button("Like this (M)", "sort by likeness to the selected or current particle")
        self.average_button = quiet_button("Average (A)", "show the average of the selected particles")
        self.new_button = quiet_button("New class (+)", "none of these: the selected particles become a class")
        self.count = Line()
        self.contradicted = Notice()
        self.contradicted.hide()
        bar = QHBoxLayout()
        bar.setSpacing(4)
        boxes = (self.show_box, self.class_box, self.sort_box, self.tomogram_box, self.text, self.look_box, self.slider)
        for widget in boxes:
            bar.addWidget(widget)
        bar.addWidget(self.count, 1)
        for button in (self.accept_button, self.new_button, self.like_button, self.average_button):
            bar.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(bar)
        layout.addWidget(self.contradicted)
        layout.addWidget(self.grid, 1)
        for box in (self.show_box, self.class_box, self.sort_box, self.tomogram_box):
            box.currentTextChanged.connect(self._choose)
        self.grid.selection_changed.connect(self._selection_changed)
        self.grid.opened.connect(lambda row: self.opened.emit(self._session.ids[row]))
        self.grid.accepted.connect(self.accept)
        self.accept_button.clicked.connect(lambda: self.accept())
        self.new_button.clicked.connect(lambda: self.ask_class())
        self.like_button.clicked.connect(lambda: self.more_like())
        self.average_button.clicked.connect(lambda: self.average())
        masks = not self._session.one_class
        self.average_button.setVisible(self._session.pool.ndim == 3)
        for button in (self.accept_button, self.new_button):
            button.setVisible(not masks)

    def _combo(self, names: object, tip: str, width: int = 9) -> QComboBox:
        box = QComboBox()
        box.addItems(list(names))  # type: ignore[call-overload]
        box.setToolTip(tip)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(width)
        box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return box

    # ---- what it shows ---------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> Wanted:
        """What the person wants to see."""
        tomogram = self.tomogram_box.currentText()
        return Wanted(
            self.show_box.currentText(),
            self.sort_box.currentText(),
            self.class_box.currentText(),
            "" if tomogram == _EVERY else tomogram,
            self.text.text().strip(),
        )

    def refresh_soon(self) -> None:
        """Show what is known when the next particle is on the screen: a key brings several pieces of news."""
        if not self._soon.isActive():
            self._soon.start(0)

    def refresh(self) -> None:
        """Show what is known now."""
        self._soon.stop()
        session, wanted = self._session, self.wanted
        self.class_box.setVisible(wanted.show == "class")
        known = known_of(session)
        table = session.class_table
        colours = class_colours(table.names, table.colours)
        self.grid.set_known(known, [QColor.fromRgbF(*colours[name]) for name in table.names], table.names)
        waits = {"groups": self._finding_groups.runs, "doubted": self._doubting.runs}.get(wanted.show, False)
        self.grid.empty_text = "looking …" if waits else _NOTHING[wanted.show]
        self.grid.set_sections(
            sections(
                session,
                wanted,
                known,
                groups=self._groups,
                doubted=self._doubted,
                nearest=self._nearest,
                chosen=self._chosen,
            )
        )
        if session.state.rechecks or self.contradicted.text():
            self._rechecking.ask(lambda: contradicted(bulk_steps(session)))
        self._tell_count()

    def refresh_answers(self) -> None:
        """Show new answers; what takes long is found again in the background, if it is shown."""
        show = self.show_box.currentText()
        if show == "groups":
            self._finding_groups.ask(groups_of, self._session)
        elif show == "doubted":
            self._doubting.ask(self._find_doubts)
        self.refresh_soon()

    def refresh_classes(self) -> None:
        """Follow a change of the classes."""
        chosen = self.class_box.currentText()
        self.class_box.blockSignals(True)
        self.class_box.clear()
        self.class_box.addItems(list(self._session.classes))
        self.class_box.setCurrentText(chosen)
        self.class_box.blockSignals(False)
        self.refresh_answers()

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        self.grid.set_colours(colours)

    def look_anew(self) -> None:
        """Make all pictures anew."""
        self.thumbnails.forget()
        self.grid.viewport().update()

    def show_rows(self, rows: np.ndarray, what: str) -> None:
        """Show pool rows that were chosen elsewhere, and say what they are."""
        self._chosen = Section(what, np.asarray(rows, np.int64))
        self._set_boxes("chosen", "queue order")

    def _set_boxes(self, show: str, sort: str) -> None:
        for box, text in ((self.show_box, show), (self.sort_box, sort)):
            box.blockSignals(True)
            box.setCurrentText(text)
            box.blockSignals(False)
        self.refresh()
        self.grid.verticalScrollBar().setValue(0)

    def _choose(self) -> None:
        self.refresh_answers()
        self.refresh()
        self.grid.verticalScrollBar().setValue(0)

    def _selection_changed(self) -> None:
        self._tell_count()

    def _tell_count(self) -> None:
        shown, chosen = len(self.grid.rows), len(self.grid.selected)
        asked = "a key labels" if self.grid.is_focused else "click to label"  # short: a small window cuts more
        self.count.say(f"{asked} {chosen:,}" if chosen else f"{shown:,} shown")

    def _set_look(self, look: str) -> None:
        self._look = look
        self.look_anew()

    def _picture(self, row: int) -> np.ndarray:
        return LOOKS[self._look](self._read(row))

    # ---- what the person does --------------------------------------------------------------------------------------

    @property
    def is_asked(self) -> bool:
        """Whether keys are meant for the selection."""
        return self.grid.is_focused and len(self.grid.selected) > 0

    def label(self, class_name: str) -> None:
        """Give the selection a class, as one step of undo."""
        rows = self.grid.selected
        if len(rows) == 1:
            self._try(lambda: self._session.label(self._session.ids[rows[0]], class_name))
            return
        wanted = self.wanted
        origin = "group" if wanted.show == "groups" else "similar" if wanted.sort == "likeness" else "selection"
        self._many(lambda: self._session.label_many(rows.tolist(), class_name, origin=origin), f"labeled {class_name}")

    def accept(self) -> None:
        """Make the predictions of the selection labels."""
        rows = self.grid.selected
        if len(rows):
            self._many(lambda: self._session.accept(rows.tolist()), "accepted as predicted")

    def ask_class(self) -> None:
        """Ask what the class of the selection is called, which none of those there are fits."""
        if not self._session.one_class or not len(self.grid.selected):
            self.said.emit("select particles in the grid first: + makes them a class of their own")
            return
        self.asked = QInputDialog(self)
        self.asked.setWindowTitle("New class")
        self.asked.setLabelText(f"name of the class of the {len(self.grid.selected):,} selected")
        self.asked.textValueSelected.connect(self._label_new)
        self.asked.open()

    def _label_new(self, name: str) -> None:
        def add() -> bool:
            self._session.change_classes(changes.add(self._session.class_table, name.strip()))
            return True

        if self._try(add):
            self.label(name.strip())

    def _many(self, function: Callable[[], int], text: str) -> None:
        chosen = len(self.grid.selected)
        done = self._try(function)
        if done is None:
            return
        passed = f"; {chosen - done} passed over (check particles, or nothing to accept)" if done < chosen else ""
        again = "; some are asked again singly, to see whether labels of many hold" if done else ""
        self.said.emit(f"{done} {text}{passed}{again}")
        self.grid.select(np.zeros(0, np.int64))

    def _try(self, function: Callable[[], T]) -> T | None:
        try:
            return function()
        except TomoTutorError as problem:
            self.said.emit(str(problem))
            return None

    def more_like(self) -> None:
        """Sort by likeness to the first selected particle, else to the current one."""
        rows, current = self.grid.selected, self._session.current
        if len(rows):
            self._comparing.ask(self._find_like, int(rows[0]))
        elif current is not None:
            self._comparing.ask(self._find_like, current.row)

    def average(self) -> None:
        """Show the average of the selection."""
        rows = self.grid.selected
        if len(rows) and self._session.pool.ndim == 3:
            self.said.emit(f"averaging {len(rows)} particles …")
            self._averaging.ask(average_of, self._session, rows)
        elif not len(rows):
            self.said.emit("select particles in the grid first: A shows their average")

    # ---- what takes long -------------------------------------------------------------------------------------------

    def _find_doubts(self) -> np.ndarray:
        found = self._session.answering.doubts()
        return np.zeros(0, np.int64) if found is None else found.wrong(DOUBTED)

    def _find_like(self, row: int) -> np.ndarray:
        return np.concatenate([[row], self._session.answering.similar(row, _LIKE)])

    def _have_groups(self, groups: list[Group]) -> None:
        self._groups = groups
        self.refresh()

    def _have_doubts(self, rows: np.ndarray) -> None:
        self._doubted = rows
        self.refresh()

    def _have_rechecks(self, text: str) -> None:
        self.contradicted.say(text)
        self.contradicted.setVisible(bool(text))

    def _have_like(self, rows: np.ndarray) -> None:
        self._nearest = rows
        self._set_boxes("all", "likeness")

    def _have_average(self, found: tuple[np.ndarray, str]) -> None:
        self.said.emit("")
        self.popup = AverageDialog(*found, parent=self)
        self.popup.show()

    def _failed(self, problem: Exception) -> None:
        self.said.emit(told(problem))
        self.refresh()

    def stop(self) -> None:
        """End what runs in the background."""
        self._soon.stop()
        self.thumbnails.stop()
        for work in (self._finding_groups, self._doubting, self._averaging, self._comparing, self._rechecking):
            work.stop()
