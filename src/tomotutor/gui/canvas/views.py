"""[Particle] [Sheet] [Tomogram]: what the canvas shows, and the row of buttons above it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.canvas.item import ItemCanvas
from tomotutor.gui.canvas.sheet import COUNT, Sheet
from tomotutor.gui.canvas.tomogram import TomogramView
from tomotutor.gui.keys import quiet_button
from tomotutor.gui.label.view_controls import ViewControls
from tomotutor.session import Session
from tomotutor.session.status import ItemView

PARTICLE, SHEET, TOMOGRAM = "Particle", "Sheet", "Tomogram"
QUEUE, DISPUTE = "queue", "dispute"
_TIPS = {
    PARTICLE: "the current particle as a volume or an isosurface",
    SHEET: f"the next {COUNT} as volumes side by side, turned together by the mouse",
    TOMOGRAM: "the current particle in its tomogram, with its neighbours",
    QUEUE: "in the order in which they are asked",
    DISPUTE: "those first that the two networks differ on most",
}


class CanvasViews(QObject):
    """Chooses what the canvas shows, and keeps it up to date with the session.

    Parameters
    ----------
    session : Session
        The session.
    viewer : Viewer
        napari's viewer.
    item : ItemCanvas
        Draws the current particle.
    """

    said = Signal(str)

    def __init__(self, session: Session, viewer: Viewer, item: ItemCanvas) -> None:
        super().__init__()
        self._session, self._viewer, self._item = session, viewer, item
        self._denoised = False
        self._followed: list[int] | None = None
        self.shown, self.order = PARTICLE, QUEUE
        self.sheet = Sheet(session.classes)
        self.tomogram = TomogramView(session, viewer, self)
        self.bar = QWidget()
        self.buttons = {name: self._button(name) for name in (PARTICLE, SHEET, TOMOGRAM)}
        self.orders = {name: self._button(name) for name in (QUEUE, DISPUTE)}
        self._build()
        self.sheet.clicked.connect(self._show_item)
        self.tomogram.clicked.connect(lambda row: self._show_item(session.ids[row]))
        for view in (self.sheet, self.tomogram):
            view.failed.connect(self.said)
        session.queue_changed.connect(self._follow_queue, thread="main")
        session.answers_changed.connect(self._follow_answers, thread="main")

    def _button(self, name: str) -> QPushButton:
        button = quiet_button(name, _TIPS[name])
        button.setCheckable(True)
        return button

    def _build(self) -> None:
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _=False, n=name: self.show(n))
        for name, button in self.orders.items():
            button.clicked.connect(lambda _=False, n=name: self.sort(n))
        volumes = self._session.pool.ndim == 3
        if not volumes:
            self.buttons[PARTICLE].setText("Image")
            self.buttons[PARTICLE].setToolTip("the current image")
            self._refuse(SHEET, "images have no volumes to turn")
        if not volumes or not self._session.has_tomograms:
            self._refuse(TOMOGRAM, "these items were not cut from tomograms, so there is none to show")
        row = QHBoxLayout()
        row.setContentsMargins(6, 2, 6, 2)
        for button in self.buttons.values():
            row.addWidget(button)
        row.addStretch(1)
        self._what, self._sorted = QLabel(), QLabel("sort")
        row.addWidget(self._what)
        for widget in (self._sorted, *self.orders.values()):
            row.addWidget(widget)
        column = QVBoxLayout(self.bar)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(row)
        column.addWidget(self.tomogram.controls)
        self._native: QWidget | None = None
        with contextlib.suppress(AttributeError):  # napari has no public way; without it the canvas stays as it was
            self._native = self._viewer.window._qt_viewer.canvas.native
            parent = self._native.parentWidget()
            layout = None if parent is None else parent.layout()
            assert isinstance(layout, QVBoxLayout)
            layout.insertWidget(0, self.bar)
            layout.insertWidget(1, self.sheet, 1)
            self._native.installEventFilter(self.tomogram)
        self.sheet.hide()
        self._check()

    def _refuse(self, name: str, why: str) -> None:
        self.buttons[name].setEnabled(False)
        self.buttons[name].setToolTip(why)

    def _check(self) -> None:
        for name, button in self.buttons.items():
            button.setChecked(name == self.shown)
        for name, button in self.orders.items():
            button.setChecked(name == self.order and self._followed is None)
            button.setVisible(self.shown == SHEET)
        self._sorted.setVisible(self.shown == SHEET)
        self._what.setVisible(self.shown == SHEET)

    # ---- what is shown --------------------------------------------------------------------------------------------

    @property
    def is_seen(self) -> bool:
        """Whether the current particle is on the screen."""
        if self.shown == SHEET:
            current = self._session.current
            return current is not None and self.sheet.isVisible() and self.sheet.shows(current.row)
        return self.tomogram.is_seen if self.shown == TOMOGRAM else self._item.is_seen

    def show(self, name: str) -> None:
        """Show the particle, the sheet or the tomogram."""
        self.shown = name
        self._check()
        if name != TOMOGRAM:
            self.tomogram.hide()
        self._item.put_away(name == TOMOGRAM)  # behind the sheet it stays: remaking it takes long
        self.sheet.setVisible(name == SHEET)
        if self._native is not None:
            self._native.setVisible(name != SHEET)
        self.update()

    def bring_back(self) -> None:
        """Bring the current particle into sight."""
        if self.shown == TOMOGRAM:
            self.tomogram.go_to_particle()
        self.update()

    def sort(self, order: str) -> None:
        """Sort the sheet by the queue or by dispute."""
        if order == DISPUTE and not self._session.disputed(1):
            self.said.emit("there is no dispute yet: it comes with labels of two classes")
            order = QUEUE
        self.order, self._followed = order, None
        self._what.setText("")
        self._check()
        self.update()

    def follow(self, rows: Sequence[int] | None, what: str = "") -> None:
        """Show these pool rows on the sheet, in this order, and say what they are; None goes back to its own order."""
        self._followed = None if rows is None else [int(row) for row in rows]
        self._what.setText("" if rows is None else what)
        if rows is not None and self.buttons[SHEET].isEnabled():
            self.show(SHEET)
        else:
            self._check()
            self.update()

    def follow_controls(self, view: ViewControls) -> None:
        """Look at what the controls of the view say."""
        view.denoised_toggled.connect(self.set_denoised)
        view.sigma_changed.connect(lambda _: self.update())
        view.mask_toggled.connect(lambda _: self.update())

    def set_denoised(self, on: bool) -> None:
        """Look at the denoised tomograms, or at the raw ones."""
        self._denoised = on
        self.update()

    def update(self) -> None:
        """Show what the session knows now."""
        try:
            if self.shown == SHEET:
                pool = self._session.denoised if self._denoised and self._session.denoised else self._session.pool
                current = self._session.current
                row = None if current is None else current.row
                self.sheet.set_items(self._items(current), row, pool.read, self._item.sigma, self._item.masked)
            elif self.shown == TOMOGRAM:
                current = self._session.current
                self.tomogram.show(
                    None if current is None else current.row, denoised=self._denoised, sigma=self._item.sigma
                )
        except TomoTutorError as problem:
            self.said.emit(str(problem))

    def _items(self, current: ItemView | None) -> list[ItemView]:
        """The current item, and what comes next in the order of the sheet."""
        if self._followed is not None:
            following = [self._session.view(row) for row in self._followed[: COUNT + 1]]
        elif self.order == DISPUTE:
            following = self._session.disputed(COUNT + 1)
        else:
            following = self._session.upcoming(COUNT)
        first = [] if current is None else [current]
        return [*first, *(item for item in following if current is None or item.row != current.row)][:COUNT]

    def _show_item(self, item_id: str) -> None:
        try:
            self._session.show(item_id)
        except TomoTutorError as problem:
            self.said.emit(str(problem))

    def _follow_queue(self) -> None:
        self.update()

    def _follow_answers(self, rows: object) -> None:
        self.update()

    def close(self) -> None:
        """Give the canvas back."""
        self._session.queue_changed.disconnect(self._follow_queue, missing_ok=True)
        self._session.answers_changed.disconnect(self._follow_answers, missing_ok=True)
        self.tomogram.stop()
        self.sheet.stop()
        if self._native is not None:
            self._native.removeEventFilter(self.tomogram)
            self._native.show()
        for widget in (self.bar, self.sheet):
            widget.hide()
            widget.deleteLater()
