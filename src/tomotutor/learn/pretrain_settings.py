"""What a pretraining does, free of torch: the command line reads its arguments here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.settings import declared, setting

BATCH = 32  # items simulated at a time


@dataclass(frozen=True)
class PretrainSettings:
    """What a pretraining does.

    Attributes
    ----------
    steps, batch_size : int
        Mini-batches, and items in one; all items are fresh.
    width : float
        Of the networks.
    learning_rate : float
        Highest rate of the one-cycle schedule.
    objective : {"classes", "metric"}
        Cross-entropy over the complexes, or the same on cosines of embedding and class centre (a metric: NormFace, Wang
        et al. 2017).
    workers : int
        Processes that simulate beside the training; without any, a GPU simulates what it trains on.
    seed : int
        Seeds everything that is random.
    """

    steps: int = setting(3000, low=1, help="mini-batches", metavar="N")
    batch_size: int = setting(64, low=BATCH, help=f"fresh items in each, a multiple of {BATCH}", metavar="N")
    width: float = setting(
        0.25,
        among=(0.25, 0.5, 1.0),
        help="of the networks; sessions that start from them have it too",
    )
    learning_rate: float = setting(0.1, above=0, help="highest of the one-cycle schedule", metavar="X")
    objective: Literal["classes", "metric"] = setting(
        "classes", help="cross-entropy of the classes, or of cosines to their centres"
    )
    workers: int = setting(1, low=0, help="processes that simulate beside the training", metavar="N")
    seed: int = setting(0, low=0, help="of items and weights", metavar="K")

    def __post_init__(self) -> None:
        for name, it in declared(type(self)).items():
            it.checked(getattr(self, name), "pretraining")
        if self.batch_size % BATCH:
            raise TomoTutorError(f"pretraining: batch_size is {self.batch_size}; expected a multiple of {BATCH}")
