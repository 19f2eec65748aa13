"""The labeling page: wires the pieces of the screen to one Session."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Progress
from tomotutor.gui import settings
from tomotutor.gui.canvas.item import ItemCanvas
from tomotutor.gui.canvas.painting import MaskPainter
from tomotutor.gui.canvas.stage import Stage
from tomotutor.gui.canvas.views import SHEET, CanvasViews
from tomotutor.gui.dialogs.opened import Dialogs
from tomotutor.gui.label.actions import actions_of, keys_of
from tomotutor.gui.label.answers import ClassPanel, MaskPanel
from tomotutor.gui.label.column import LabelColumn
from tomotutor.gui.label.reason import blind, contradiction
from tomotutor.gui.model.page import ModelPage
from tomotutor.gui.notice import Notice
from tomotutor.gui.particles.gallery import Gallery
from tomotutor.gui.particles.page import ParticlesPage
from tomotutor.gui.status_line import StatusLine
from tomotutor.gui.theme import colours_of
from tomotutor.session import Session
from tomotutor.session.status import CurvePoint, ItemView, Phase, PoolMap, Status


class LabelPage(QWidget):
    """Labels one session.

    Parameters
    ----------
    session : Session
        Opened for writing; the page closes it in `close_session`.
    viewer : Viewer
        Where the current item is drawn.
    """

    left = Signal()  # the person wants another session

    def __init__(self, session: Session, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._viewer = viewer
        self._notice = self._passing = ""
        # row and label on the screen, so that a reordered queue redraws nothing
        self._shown: tuple[int, str | None] | None = None
        self._is_open = True
        self._table = session.class_table
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._show_answer)
        self.dialogs = Dialogs(session, self, self._show_rows)
        self.stage = Stage(viewer, fold=session.one_class)
        self.canvas = ItemCanvas(viewer)
        self.views = CanvasViews(session, viewer, self.canvas)
        self.painter = None if session.one_class else MaskPainter(viewer, session.classes)
        self._build()
        self._wire()
        self._signals: dict[str, Callable[..., object]] = {
            "queue_changed": self._queue_changed,
            "answers_changed": self._answers_changed,
            "status_changed": self._show_status,
            "progressed": self._show_progress,
            "round_finished": self._round_finished,
            "failed": self.say,
            "notice": self._show_notice,
        }
        for name, slot in self._signals.items():
            getattr(session, name).connect(slot, thread="main")
        self.keys = keys_of(self, viewer.window._qt_window)

    def begin(self) -> None:
        """Show the first item, once the page has its place in the window."""
        session = self.session
        self.drawer.take_contrast(self._first_items())
        self._show_queue()
        self._show_status(session.status)
        self.model.attach(session)
        session.annotator = settings.annotator()
        self.say("\n".join(session.notices))
        if not session.annotator and not session.notices:
            self.notice.say("who labels? a name is kept with each label", "Give a name…", self.dialogs.ask_name)
        self.rounds.judge()

    # ---- what it is made of -------------------------------------------------------------------------------------

    def _build(self) -> None:
        session, colours = self.session, colours_of(self._viewer.theme)
        self.panel = self._make_panel()
        self.column = LabelColumn(session, self.canvas, self.painter, self.panel, colours, self.say)
        self.title, self.reason = self.column.opinion.title, self.column.opinion.reason
        self.slices, self.view, self.drawer = self.column.slices, self.column.view, self.column.drawer
        self.references, self.gallery = self.column.references, self.column.gallery
        self.model = ModelPage(session.classes, colours)
        session.automatic = settings.automatic_training(session.folder)
        self.rounds = StatusLine(session)
        self.particles = ParticlesPage(session, self.drawer.read, colours)
        self.bottom = QWidget()  # its place is below the canvas
        below = QVBoxLayout(self.bottom)
        below.setContentsMargins(6, 2, 6, 4)
        below.setSpacing(4)
        below.addWidget(self.particles, 1)
        below.addWidget(self.rounds)
        self.notice = Notice()
        self.tabs = QTabWidget()
        self.tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tabs.tabBar().setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tabs.addTab(self.column, "Label")
        self.tabs.addTab(self.model, "Model")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(5)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.notice)

    def _wire(self) -> None:
        self.view.rendering_changed.connect(self.canvas.set_rendering)
        self.view.density_changed.connect(self.canvas.set_density)
        self.view.sigma_changed.connect(self._set_sigma)
        self.view.mask_toggled.connect(self._set_masked)
        self.view.denoised_toggled.connect(self._look_at_others)
        self.view.blind_toggled.connect(lambda _: self._show_answer())
        self.views.follow_controls(self.view)
        self.views.said.connect(self.say)
        self.particles.said.connect(self._say_in_passing)
        self.particles.opened.connect(self._show_item)
        self.gallery.clicked.connect(self._show_item)
        self.model.item_wanted.connect(lambda row: self._show_item(self.session.pool.ids[row]))
        self.model.rows_chosen.connect(self._show_rows)
        self.particles.grid.selection_changed.connect(lambda: self.model.ring(self.particles.grid.selected))
        self.model.said.connect(self.say)
        self.rounds.train_wanted.connect(self.train_or_cancel)
        self.rounds.automatic_toggled.connect(self._set_automatic)
        self.rounds.close_wanted.connect(self.left)
        self.rounds.classes_wanted.connect(lambda: self.dialogs.show("classes"))
        self.rounds.import_wanted.connect(lambda: self.dialogs.show("import"))
        self.rounds.export_wanted.connect(lambda: self.dialogs.show("export"))
        self._viewer.events.theme.connect(self._follow_theme)

    def _make_panel(self) -> ClassPanel:
        table, colours = self.session.class_table, colours_of(self._viewer.theme)
        panel = MaskPanel(table, self.painter.colours, colours) if self.painter else ClassPanel(table, colours)
        panel.chosen.connect(self.label)
        panel.acted.connect(lambda name: getattr(self, name)())
        return panel

    def _follow_classes(self) -> None:
        """Make the classes' buttons and keys anew, after these changed."""
        self._table = self.session.class_table
        self.panel = self._make_panel()
        self.column.set_panel(self.panel)
        self.keys.set_actions(actions_of(self))
        self.particles.refresh_classes()
        self._show_queue()

    def _follow_theme(self) -> None:
        colours = colours_of(self._viewer.theme)
        for widget in (self.column, self.model, self.particles):
            widget.set_colours(colours)
        self._show_map(self.session.current)

    def fit(self, height: int) -> None:
        """Leave out what there is no room for, pixels."""
        self.column.fit(height)

    # ---- what the person does -----------------------------------------------------------------------------------

    def _try(self, function: Callable[..., object], *args: object) -> None:
        """Call the session; what went wrong is said, and the screen stays where it is."""
        try:
            function(*args)
        except TomoTutorError as problem:
            self.say(str(problem))

    def _seen(self) -> ItemView | None:
        """Return the current item if it is on the screen; else bring it back there, for the next key to answer it."""
        item = self.session.current
        if item is None or (self.views.is_seen and self.stage.is_clear):
            return item
        self.stage.clear()
        self._shown = None
        self._show_queue()
        self.views.bring_back()
        hidden = "the particle was hidden by another layer or gone: here it is again; nothing was answered"
        self.say(self.drawer.problem or hidden)
        return None

    def label(self, class_name: str) -> None:
        """Give the current item a class; in segmentation choose the class to paint."""
        if self.painter:
            self.painter.select(self.session.classes.index(class_name))
            self.panel.set_selected(class_name)
        elif (item := self._seen()) is not None:
            against = contradiction(self.session, item, class_name)
            self._try(self.session.label, item.id, class_name)
            if against or self.notice.text() == self._passing:
                self._say_in_passing(against)

    def label_by_key(self, class_name: str) -> None:
        """Give the selection in the grid a class, where the focus is on it; else the current item."""
        if self.particles.is_asked and self.painter is None:
            self.particles.label(class_name)
        else:
            self.label(class_name)

    def erase(self) -> None:
        """Paint void."""
        if self.painter:
            self.painter.select(len(self.session.classes))
            self.panel.set_selected(None)

    def done(self) -> None:
        """Save the mask of the current item and go on to the next."""
        item = self._seen()
        if item is None or self.painter is None:
            return
        mask_YX = self.painter.mask
        if mask_YX is None:
            self.say("nothing is painted yet: choose a class with a number key and paint on the image")
            return
        self.painter.keep_draft()  # Undo shows it again
        self.say("")
        self._try(self.session.label, item.id, mask_YX)

    def skip(self) -> None:
        """Go on to the next item; one without an answer comes again at the end."""
        if (item := self.session.current) is not None:
            self._try(self.session.skip, item.id)

    def unsure(self) -> None:
        """Say that the current item cannot be told."""
        if (item := self._seen()) is not None:
            self._try(self.session.unsure, item.id)

    def undo(self) -> None:
        """Take back the last answer."""
        self._try(self.session.undo)

    def redo(self) -> None:
        """Bring back what was undone last."""
        if self.session.redo() is None and self.session.class_table is self._table:
            self.say("there is nothing to bring back")

    def back(self) -> None:
        """Show the item before the current one."""
        before = self.session.current
        self._try(self.session.back)
        if before is not None and self.session.current == before:
            self.say("there is no item before this one")

    def _show_item(self, item_id: str) -> None:
        self._try(self.session.show, item_id)

    def _show_rows(self, rows: np.ndarray, what: str) -> None:
        """Show what was chosen on the Model tab in the grid, and on the sheet where that is shown."""
        self.particles.show_rows(rows, what)
        if self.views.shown == SHEET:
            self.views.follow(rows.tolist(), what)

    def train_or_cancel(self) -> None:
        """Start a training, or stop the one that runs; then none starts by itself until it is asked for."""
        if self.session.phase is not Phase.IDLE:
            self.rounds.set_automatic(False)
            self.session.cancel()
            self.say("the training stops; none starts by itself until you switch that on again")
        elif self.session.start_round():
            self.say("")
        else:
            self.say(f"a training needs {self.session.state.labels.needed} at least")

    def _set_automatic(self, on: bool) -> None:
        self.session.automatic = on
        try:
            settings.set_automatic_training(self.session.folder, on)
        except OSError as problem:
            self.say(f"the switch holds until the session is closed: {problem}")

    def _set_sigma(self, sigma: float) -> None:
        self.canvas.sigma = sigma
        self.drawer.take_contrast(self._first_items())
        self._redraw()

    def _set_masked(self, on: bool) -> None:
        self.canvas.masked = on
        self.canvas.forget_contrast()
        self.canvas.draw()

    def _look_at_others(self) -> None:
        self.gallery.forget()
        self.particles.look_anew()
        self.drawer.take_contrast(self._first_items())
        self._redraw()

    def _first_items(self) -> list[ItemView]:
        item = self.session.current
        return ([item] if item else []) + self.session.upcoming(Gallery.COUNT)

    def _redraw(self) -> None:
        self._shown = None
        self._show_queue()

    # ---- what the session tells ----------------------------------------------------------------------------------

    def _queue_changed(self) -> None:
        if self._is_open:
            self._show_queue()
            self.particles.refresh_soon()

    def _answers_changed(self, rows: np.ndarray) -> None:
        if self._is_open:
            self.particles.refresh_answers()
            self._soon.start(0)  # the queue that they order comes at once, and shows them as well
            self.rounds.judge()

    def _show_queue(self) -> None:
        if not self._is_open:  # told before it was closed, heard after it
            return
        item = self.session.current
        if item is None or self._shown is None or self._shown[0] != item.row:
            self.drawer.draw(item)
        self._shown = None if item is None else (item.row, item.label)
        self._show_answer()
        self._show_map(item)

    def _show_answer(self) -> None:
        """Show the newest answers for the item in front and those that come next."""
        self._soon.stop()
        item, is_early = self.session.current, not self.session.rounds and self.session.answers is None
        early = self.session.pool_map if is_early else None
        if item is not None and item.label is None and self.view.blind.isChecked():
            item = blind(item)
        self.column.show_item(item, early)
        self.panel.set_item(item, self._selected(item))

    def _show_map(self, item: ItemView | None) -> None:
        pool_map: PoolMap | None = self.session.pool_map
        self.model.curve.setVisible(self.painter is None)  # it draws accuracy on audit items, which masks have none of
        self.model.show_map(pool_map, self.session.labels(), item)

    def _selected(self, item: ItemView | None) -> str | None:
        if self.painter is None:
            return item.label if item else None
        number = self.painter.selected
        return self.session.classes[number] if number < len(self.session.classes) else None

    def _show_status(self, status: Status) -> None:
        if self._is_open:
            if self.session.class_table is not self._table:
                self._follow_classes()
            self.panel.set_counts(status.counts)
            self.rounds.set_status(status)
            self.dialogs.refresh()

    def _show_progress(self, progress: Progress) -> None:
        if self._is_open and self.session.phase is Phase.TRAINING:
            self.rounds.set_progress(progress)

    def _round_finished(self, point: CurvePoint) -> None:
        text = f"round {point.round} is done: trained on {point.metrics['trained_on']} labels; the queue has its order"
        self.say(f"{text}\n{self._notice}".strip())
        self._notice = ""
        self.model.curve.set_curve(self.session.curve)

    def _show_notice(self, text: str) -> None:
        self._notice = text  # a round that ends tells of itself next, which must not wipe it out
        self.say(text)

    def _say_in_passing(self, text: str) -> None:
        """Say what the next label wipes out."""
        self._passing = text
        self.say(text)

    def say(self, text: str) -> None:
        """Show one sentence."""
        self.notice.say(text)

    # ---- the end -------------------------------------------------------------------------------------------------

    def close_session(self) -> None:
        """Tell a training to stop and give the canvas back, at once; the session is free as soon as the training has
        stopped. All answers are on disk already.
        """
        self._is_open = False
        self._soon.stop()
        self.keys.remove()
        for part in (self.particles, self.rounds, self.references):
            part.stop()
        self.dialogs.close()
        self._viewer.events.theme.disconnect(self._follow_theme)
        for name, slot in self._signals.items():
            getattr(self.session, name).disconnect(slot, missing_ok=True)
        self.session.close(wait=False)
        if self.painter:
            self.painter.clear()
        self.views.close()
        self.model.detach()
        self.canvas.clear()
        self.stage.restore()
