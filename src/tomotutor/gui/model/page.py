"""The Model tab: what the networks have learned, how sure that is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.background import Background, told
from tomotutor.gui.bulk_steps import BulkStep, bulk_steps
from tomotutor.gui.model.confusion import ConfusionTable
from tomotutor.gui.model.curve import CurveCanvas
from tomotutor.gui.model.pool_map import PoolMapCanvas
from tomotutor.gui.model.tables import BulkTable, ClassTable, DoubtTable, RoundTable
from tomotutor.gui.notice import Notice
from tomotutor.gui.theme import Colours
from tomotutor.session import Session
from tomotutor.session.report import ModelReport
from tomotutor.session.status import ItemView, PoolMap


class ModelPage(QWidget):
    """What the networks have learned, and how the pool looks to them.

    Parameters
    ----------
    classes : sequence of str
        Class names.
    colours : Colours
        Of the theme.
    """

    rows_chosen = Signal(object, str)  # pool rows to look at, and what they are
    item_wanted = Signal(int)  # pool row
    said = Signal(str)

    def __init__(self, classes: Sequence[str], colours: Colours) -> None:
        super().__init__()
        self._session: Session | None = None
        self._is_old = True  # whether something happened since the report was made
        self.report: ModelReport | None = None
        self.advice = Notice()
        self.curve, self.map = CurveCanvas(colours), PoolMapCanvas(classes, colours)
        self.confusion = ConfusionTable(colours)
        self.classes, self.doubts, self.bulk, self.rounds = ClassTable(), DoubtTable(), BulkTable(), RoundTable()
        overview = QWidget()
        column = QVBoxLayout(overview)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.curve, 1)
        column.addWidget(self.map, 1)
        self.tabs = QTabWidget()
        pages = (
            ("Overview", overview),
            ("Classes", self.classes),
            ("Confusion", self.confusion),
            ("Doubts", self.doubts),
            ("Bulk labels", self.bulk),
            ("Rounds", self.rounds),
        )
        for name, widget in pages:
            self.tabs.addTab(widget, name)
        self.tabs.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tabs.tabBar().setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self.advice)
        layout.addWidget(self.tabs, 1)
        self._computing = Background(
            lambda found: self.set_report(*found), lambda problem: self.said.emit(told(problem))
        )
        self.map.clicked.connect(self.item_wanted)
        self.map.lassoed.connect(lambda rows: self.rows_chosen.emit(rows, f"{len(rows)} of the map"))
        self.confusion.clicked_cell.connect(self._choose_cell)
        self.classes.chosen.connect(self._choose_class)
        self.classes.check_wanted.connect(self._check)
        self.doubts.chosen.connect(self.item_wanted)
        self.bulk.chosen.connect(lambda step: self.rows_chosen.emit(step.rows, f"labeled at once: {step.what}"))
        self.rounds.use_wanted.connect(self._use)

    def attach(self, session: Session) -> None:
        """Follow a session."""
        self._session = session
        for place in range(0 if session.one_class else self.tabs.count()):  # the others speak of classes of items
            self.tabs.setTabVisible(place, self.tabs.widget(place) is self.rounds)
        for name in ("answers_changed", "round_finished", "status_changed"):
            getattr(session, name).connect(self._grow_old, thread="main")
        self.curve.set_curve(session.curve)
        self._renew()

    def detach(self) -> None:
        """Follow no session any more."""
        self._computing.stop()
        session, self._session = self._session, None
        for name in ("answers_changed", "round_finished", "status_changed") if session else ():
            getattr(session, name).disconnect(self._grow_old, missing_ok=True)

    def _grow_old(self, what: object = None) -> None:
        self._is_old = True
        self._renew()

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._renew()

    def _renew(self) -> None:
        """Compute the report anew, off the main thread, where somebody looks and something happened."""
        if self._session is not None and self._is_old and self.isVisible():
            self._is_old = False
            session = self._session
            self._computing.ask(lambda: (session.model_report(), bulk_steps(session)))

    def set_report(self, report: ModelReport, steps: Sequence[BulkStep]) -> None:
        """Show a report, and the steps that labeled many at once."""
        self.report = report
        session = self._session
        if session is None:
            return
        self.curve.set_curve(session.curve)
        first = report.advice[0] if report.advice else None
        found = report.estimate
        share = (
            ""
            if found is None
            else f"about {100 * found.share:.0f} % of answers right ({100 * found.low:.0f}–{100 * found.high:.0f}) · "
        )
        self.advice.say("" if first is None else f"{share}{_NEXT[first.action]}: {first.reason}")
        self.advice.setToolTip("" if found is None else f"from {found.basis}")
        self.confusion.set_judged(report.judged, report.classes)
        self.classes.set_figures(report.by_class)
        self.doubts.set_report(report, session.ids)
        self.bulk.set_steps(steps)
        self.rounds.set_rounds(report.rounds)
        if report.pool_map is not None:
            self.show_map(report.pool_map, session.labels(), session.current)

    def show_map(self, first: PoolMap | None, labels: Mapping[int, str], item: ItemView | None) -> None:
        """Show the map of the newest round, before it the `first` one, with labels and the current item."""
        newest = None if self.report is None else self.report.pool_map
        pool_map = newest or first
        self.map.setVisible(pool_map is not None)
        if pool_map is not None:
            self.map.set_map(pool_map, labels, item)

    def ring(self, rows: np.ndarray) -> None:
        """Ring items on the map."""
        if len(rows) and self.map.isVisible():  # what the lasso chose stays ringed until something else is
            self.map.choose(rows)

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        for widget in (self.curve, self.map, self.confusion):
            widget.set_colours(colours)

    # ---- what the person does ---------------------------------------------------------------------------------------

    def _choose_cell(self, label: int, predicted: int) -> None:
        if self.report is not None:
            rows, names = self.report.judged.cell(label, predicted), self.report.classes
            if len(rows):
                self.rows_chosen.emit(rows, f"{len(rows)} labeled {names[label]}, predicted {names[predicted]}")

    def _choose_class(self, name: str) -> None:
        if self._session is not None:
            class_N, labeled_N = self._session.shown_classes()
            rows = np.flatnonzero((class_N == self._session.classes.index(name)) & ~labeled_N)
            self.rows_chosen.emit(rows, f"{len(rows)} predicted {name}")

    def _check(self, name: str) -> None:
        if self._session is None:
            return
        try:
            drawn = self._session.check_class(name)
            self.said.emit(
                f"{drawn} random predictions of {name} are asked singly and blind, one in three of what comes next"
            )
        except TomoTutorError as problem:
            self.said.emit(str(problem))

    def _use(self, number: int) -> None:
        if self._session is None:
            return
        try:
            self._session.use_round(number)
            self.said.emit(f"the model of round {number} answers now, until the next training")
        except TomoTutorError as problem:
            self.said.emit(str(problem))


_NEXT = {
    "label": "go on labeling",
    "doubts": "look at the doubted labels",
    "class": "a class has too few",
    "stop": "you could stop here",
}
