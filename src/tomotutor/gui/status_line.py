"""The status line: how far labeling is, how right the answers are, and what to do next, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from tomotutor.base.progress import Progress
from tomotutor.gui.background import Background
from tomotutor.gui.keys import quiet_button
from tomotutor.gui.notice import Line
from tomotutor.session import Session
from tomotutor.session.status import Phase, Status

_SHORT = 20  # characters of a class name
_PAUSE_MS = 250  # without a new label, before it is found out how right the answers are
_WIDTHS = {1.0: "full width", 0.5: "half width", 0.25: "quarter width"}


def advised(advice: Any, classes: Sequence[str]) -> str:
    """Return what to do next in a few words."""
    if advice.action == "stop":
        return "you could stop here"
    if advice.action == "label":
        return "go on labeling"
    if advice.class_number is None:
        return str(advice.reason).split(":")[0]
    name = classes[advice.class_number]
    return f"{name if len(name) <= _SHORT else name[: _SHORT - 1] + '…'} has too few labels"


def judged(found: Any, advice: Any, classes: Sequence[str]) -> str:
    """Return how right the answers are and what to do next; "" where nothing can be said."""
    if found is None:
        return ""
    right = f"about {found.share:.0%} of all answers right ({100 * found.low:.0f}–{100 * found.high:.0f})"
    return f"{right.replace('%', ' %')} · {advised(advice, classes)}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class StatusLine(QWidget):
    """Status in words, and what starts and stops a training. Signals say what the person wants."""

    train_wanted = Signal()  # or, while it trains, cancel
    automatic_toggled = Signal(bool)
    close_wanted = Signal()
    classes_wanted = Signal()
    export_wanted = Signal()
    import_wanted = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session, self._masks = session, not session.one_class
        self._status = session.status
        self._judgement, self._reason = "", ""
        self._judging = Background(self._have_judgement, lambda _: None)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(lambda: self._judging.ask(self._judge))
        self.text = Line()
        self.text.setMinimumWidth(120)
        self.automatic = QCheckBox("automatic")
        self.automatic.setFocusPolicy(quiet_button("", "").focusPolicy())
        self.automatic.setToolTip("start a training by itself whenever enough new labels are there")
        self.automatic.setChecked(session.automatic)
        self.automatic.toggled.connect(self.automatic_toggled)
        self.bar = QProgressBar()
        self.bar.setMinimumWidth(230)
        self.train = quiet_button("Train now (R)", "train on all labels now")
        self.train.clicked.connect(lambda: self.train_wanted.emit())
        self.classes = quiet_button("Classes…", "add, rename, merge, recolour or reorder classes")
        self.classes.clicked.connect(lambda: self.classes_wanted.emit())
        self.classes.setVisible(not self._masks)
        self.export = quiet_button("Export…", "write the answers for other programs")
        self.export.clicked.connect(lambda: self.export_wanted.emit())
        self.imports = quiet_button("Import…", "compare with labels of another person, and take them")
        self.imports.clicked.connect(lambda: self.import_wanted.emit())
        self.imports.setVisible(not self._masks)
        self.close_button = quiet_button("Close", "close the session; everything is saved already")
        self.close_button.clicked.connect(lambda: self.close_wanted.emit())
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.bar, 1)
        for widget in (self.train, self.automatic, self.classes, self.imports, self.export, self.close_button):
            row.addWidget(widget)
        rows = QVBoxLayout(self)  # beside the buttons the words would be cut in a small window
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(2)
        rows.addWidget(self.text)
        rows.addLayout(row)

    def set_automatic(self, on: bool) -> None:
        """Set the switch."""
        self.automatic.setChecked(on)

    def set_status(self, status: Status) -> None:
        """Show where the session stands."""
        self._status = status
        training = status.phase is not Phase.IDLE
        self.train.setText("Cancel (R)" if training else "Train now (R)")
        self.train.setEnabled(status.phase is not Phase.CANCELLING)
        if not training:
            self._fill(min(max(status.since_round, 0), status.due_at), status.due_at)
            self.bar.setFormat("%v of %m labels to training")
        else:
            if self.bar.maximum() != 1000:
                self._fill(0, 1000)
            if status.phase is Phase.CANCELLING:
                self.bar.setFormat("cancelling …")
            elif self.bar.value() == 0:
                self.bar.setFormat("starting …")
        self._write()

    def _fill(self, value: int, most: int) -> None:
        """Fill the bar. By itself it paints at once, and with it the whole window, before the key that filled it has
        shown the next particle; so it is painted when the window is.
        """
        self.bar.setUpdatesEnabled(False)
        self.bar.setRange(0, most)
        self.bar.setValue(value)
        self.bar.setUpdatesEnabled(True)

    def _write(self) -> None:
        status, unsure = self._status, f", {self._status.unsure} unsure" if self._status.unsure else ""
        said = self._judgement
        if not said and status.round:
            said = "" if self._masks else f"accuracy {status.audit.describe()}"
        if not said:
            answered = self._session.answers is not None  # and how right that is comes in a moment
            said = "" if status.round or answered else "no model yet: label a few of each class"
        self.text.say(" · ".join(p for p in (f"{status.labeled:,} of {status.items:,} labeled{unsure}", said) if p))
        width = _WIDTHS.get(self._session.recipe.network.width, "")
        curve = self._session.curve
        trained = f"trained on {curve[-1].labels} labels" if curve else "no training yet"
        details = [self.text.text(), f"round {status.round} · {trained}{f' · {width}' if width else ''}"]
        if status.round and not self._masks:
            details.append(f"accuracy {status.audit.describe()}")
        self.text.setToolTip("\n".join([*details, self._reason]).strip())

    def set_progress(self, progress: Progress) -> None:
        """Show how far the training is."""
        self._fill(round(1000 * progress.done / max(1, progress.total)), 1000)
        left = "" if math.isnan(progress.eta_s) else f" · {_duration(progress.eta_s)} left"
        busy = " · machine busy" if progress.busy else ""
        stages = {"train": "training", "score": "scoring", "embed": "looking at all", "read": "reading"}
        self.bar.setFormat(f"{stages.get(progress.stage, progress.stage)}{left}{busy}")
        loss = f" · epoch {progress.epoch} of {progress.epochs} · loss {progress.loss:.2f}" if progress.epochs else ""
        slow = "\nother programs take a good part of the processor, which makes this slower" if progress.busy else ""
        self.bar.setToolTip(f"{progress.done} of {progress.total}{loss}{slow}")

    def judge(self) -> None:
        """Find out, in the background, how right the answers are, as soon as keys pause: it takes the processor from
        the answers themselves.
        """
        if not self._masks:
            self._pause.start(_PAUSE_MS)

    def _judge(self) -> tuple[str, str]:
        found = self._session.answering.estimate()
        if found is None:
            return "", ""
        advice = self._session.answering.advice()[0]
        return judged(found, advice, self._session.classes), f"{advice.reason}\n{found.basis}"

    def _have_judgement(self, found: tuple[str, str]) -> None:
        self._judgement, self._reason = found
        self._write()

    def stop(self) -> None:
        """End what runs in the background."""
        self._pause.stop()
        self._judging.stop()
