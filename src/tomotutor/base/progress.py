"""How far a round is, told between mini-batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a round is.

    Attributes
    ----------
    stage : {"read", "train", "score", "embed", "densities"}
        What is running.
    done, total : int
        Mini-batches (train), items (read, score, embed) or complexes (densities, of a pretraining).
    epoch, epochs : int
        Passes over the labeled set, counted from 1; 0 while scoring.
    loss : float
        Teacher's loss of the last mini-batch; NaN while scoring.
    eta_s : float
        Seconds left of this stage.
    busy : bool
        Whether other programs take a good part of the processor, which makes all of it slower.
    """

    stage: str
    done: int
    total: int
    epoch: int = 0
    epochs: int = 0
    loss: float = math.nan
    eta_s: float = math.nan
    busy: bool = False


Report = Callable[[Progress], None]


class Clock:
    """Tells how far a stage is and, by the time it took so far, how long the rest of it takes.

    Parameters
    ----------
    report : callable
        Who is told.
    stage, total : str, int
        As in `Progress`; the stage begins now.
    """

    def __init__(self, report: Report, stage: str, total: int) -> None:
        self._report, self._stage, self._total = report, stage, total
        self._start = time.perf_counter()

    def tell(self, done: int, *, epoch: int = 0, epochs: int = 0, loss: float = math.nan, busy: bool = False) -> None:
        """Report that `done` of the total is done."""
        eta_s = (time.perf_counter() - self._start) / done * (self._total - done) if done else math.nan
        self._report(Progress(self._stage, done, self._total, epoch, epochs, loss, eta_s, busy))


def ignore(progress: Progress) -> None:
    """Report to nobody."""
