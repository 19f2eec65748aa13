"""What an export leaves of each class, and how right that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomotutor.gui.model.tables import Table


@dataclass(frozen=True)
class Counted:
    """The answers that may be written.

    Attributes
    ----------
    class_N : ndarray of int
        Class number of each item, −1 for none.
    confidence_N : ndarray
        Confidence of predictions; inf for labels, which always stay.
    checked : tuple of str
        For each class, what *Check this class* found, "–" for nothing.
    """

    class_N: np.ndarray
    confidence_N: np.ndarray
    checked: tuple[str, ...]


class CountTable(Table):
    """A row for each class: how much of it is written, and how right that is."""

    def __init__(self) -> None:
        super().__init__(
            [
                ("class", ""),
                ("written", "particles of this class in the export"),
                ("of", "answers of this class, labels and predictions"),
                ("expected right", "by the confidence of what is written; labels count as right"),
                (
                    "checked",
                    "right ones of those that were asked singly and blind, 95 % interval: Model, Classes, Check",
                ),
            ]
        )
        self.setMinimumHeight(120)

    def set_counted(self, found: Counted, classes: Sequence[str], least: float) -> None:
        """Show what stays of the answers where predictions below a confidence are left out."""
        rows = []
        for number, name in enumerate(classes):
            own = found.confidence_N[found.class_N == number]
            kept = np.minimum(own[own >= least], 1.0)
            right = f"{100 * kept.mean():.0f} %" if len(kept) else "–"
            rows.append((name, f"{len(kept):,}", f"{len(own):,}", right, found.checked[number]))
        self._fill(rows)
