"""How far labeling is, and the controls of the training."""

from __future__ import annotations

import math

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QProgressBar, QWidget

from tomotutor.base.progress import Progress
from tomotutor.gui.keys import quiet_button
from tomotutor.session.status import Phase, Status

_WIDTHS = {1.0: "full width", 0.5: "half width", 0.25: "quarter width"}


class RoundControls(QWidget):
    """Status in words, and what starts and stops a training. Signals say what the person wants."""

    train_wanted = Signal()  # or, while it trains, cancel
    automatic_toggled = Signal(bool)
    close_wanted = Signal()

    def __init__(self, *, automatic: bool, masks: bool) -> None:
        super().__init__()
        self._masks = masks
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        self.text = QLabel()
        self.due = QProgressBar()
        self.due.setFormat("%v of %m labels to the next training")
        self.automatic = QCheckBox("Train automatically")
        self.automatic.setFocusPolicy(quiet_button("", "").focusPolicy())
        self.automatic.setToolTip("start a training by itself whenever enough new labels are there")
        self.automatic.setChecked(automatic)
        self.automatic.toggled.connect(self.automatic_toggled)
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.train = quiet_button("Train (R)", "train on all labels now")
        self.train.clicked.connect(lambda: self.train_wanted.emit())
        close = quiet_button("Close session", "everything is saved already")
        close.clicked.connect(lambda: self.close_wanted.emit())
        grid.addWidget(self.text, 0, 0)
        grid.addWidget(close, 0, 1)
        grid.addWidget(self.due, 1, 0)
        grid.addWidget(self.automatic, 1, 1)
        grid.addWidget(self.bar, 2, 0)
        grid.addWidget(self.train, 2, 1)
        grid.setColumnStretch(0, 1)

    def set_automatic(self, on: bool) -> None:
        """Set the switch."""
        self.automatic.setChecked(on)

    def set_status(self, status: Status, width: float, trained_on: int) -> None:
        """Show where the session stands."""
        unsure = f", {status.unsure} unsure" if status.unsure else ""
        name = _WIDTHS.get(width, "")
        accuracy = f"accuracy {status.audit.describe()}" if status.round else "no model yet"
        if self._masks and status.round:
            accuracy = f"trained on {trained_on} masks"
        self.text.setText(
            f"{status.labeled} of {status.items} labeled{unsure} · round "
            f"{status.round}{f' · {name}' if name else ''}\n{accuracy}"
        )
        self.due.setRange(0, status.due_at)
        self.due.setValue(min(status.since_round, status.due_at))
        training = status.phase is not Phase.IDLE
        self.train.setText("Cancel (R)" if training else "Train (R)")
        self.train.setEnabled(status.phase is not Phase.CANCELLING)
        if not training:
            self.bar.setValue(0)
            self.bar.setFormat("not training")
        elif status.phase is Phase.CANCELLING:
            self.bar.setFormat("cancelling …")
        elif self.bar.value() == 0:
            self.bar.setFormat("starting …")

    def set_progress(self, progress: Progress) -> None:
        """Show how far the training is."""
        self.bar.setValue(round(1000 * progress.done / max(1, progress.total)))
        left = "" if math.isnan(progress.eta_s) else f" · {progress.eta_s:.0f} s left"
        if progress.stage == "train":
            text = f"training · epoch {progress.epoch} of {progress.epochs} · loss {progress.loss:.2f}{left}"
        else:
            text = f"scoring · {progress.done} of {progress.total}{left}"
        self.bar.setFormat(text)
