"""How far a round is, told between mini-batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a round is.

    Attributes
    ----------
    stage : {"train", "score", "densities"}
        What is running.
    done, total : int
        Mini-batches (train), items (score) or complexes (densities, of a pretraining).
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


def ignore(progress: Progress) -> None:
    """Report to nobody."""
