"""A trained model of a session, by itself: it scores items without the session's pool, queue or lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomotutor.data.pool import Pool
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.results import PoolScores, Predictions, predictions_from
from tomotutor.session.database import RoundRecord
from tomotutor.session.round_folder import round_folder

if TYPE_CHECKING:
    from tomotutor.base.progress import Report

GiveMask = Callable[[int, np.ndarray], None]


@dataclass(frozen=True)
class TrainedModel:
    """The networks of a round.

    Attributes
    ----------
    folder : Path
        The session.
    record : RoundRecord
        Of the round.
    classes : tuple of str
        As they were called when it was trained.
    shape : tuple of int
        (C, ...spatial) of what it was trained on.
    names_today : tuple of str
        The classes of the session.
    number_C : tuple of int
        The number of each class of the model among those, −1 where it is gone.
    """

    folder: Path
    record: RoundRecord
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    names_today: tuple[str, ...]
    number_C: tuple[int, ...]

    @property
    def recipe(self) -> Recipe:
        """The recipe that trained it."""
        return Recipe.from_dict(self.record.record["recipe"])

    @property
    def voxel_size_angst(self) -> float:
        """Voxel size of what it was trained on; 0 where unknown."""
        return float(self.record.record.get("voxel_size_angst", 0.0))

    def score(
        self,
        pool: Pool,
        report: Report | None = None,
        *,
        threads: int = 0,
        memory: Path | None = None,
        each: Callable[[np.ndarray, np.ndarray], None] | None = None,
    ) -> PoolScores:
        """Run the networks over every item of a pool; the scores are in the classes of the model, see `today`.

        Parameters
        ----------
        pool : Pool
            Items of the shape that was trained on.
        report : callable
            Progress.
        threads : int
            CPU threads; 0 takes all cores.
        memory : Path, optional
            JSON file that keeps how this machine computes best; None measures it anew.
        each : callable
            Where the networks give masks, called with the rows of each batch and their masks, (N, y, x).

        Raises
        ------
        TomoTutorError
            The items have another shape, or the weights are missing or damaged.
        """
        from tomotutor.base.progress import ignore
        from tomotutor.learn.compute import available_threads
        from tomotutor.learn.inference import compute_for, load_pair, score_pool

        recipe = self.recipe
        pair = load_pair(self.shape, len(self.classes), recipe, round_folder(self.folder, self.record.number))
        compute = compute_for(self.shape, len(self.classes), recipe, threads or available_threads(), memory)
        temperatures = self.record.record.get("temperatures")
        return score_pool(
            pair, self.shape, pool, recipe, compute, temperatures=temperatures, each=each, report=report or ignore
        )

    def score_masks(self, pool: Pool, each: GiveMask, report: Report | None = None, **how: Any) -> PoolScores:
        """Score a pool of images, and give the predicted mask of every item, (y, x) class numbers, to `each`."""

        def tell(rows: np.ndarray, masks_NYX: np.ndarray) -> None:
            for row, mask in zip(rows.tolist(), masks_NYX.astype(np.uint8), strict=True):
                each(row, mask)

        return self.score(pool, report, each=tell, **how)

    def today(self, scores: PoolScores) -> PoolScores:
        """Return scores in the classes that the session has today."""
        return scores.renumbered(self.number_C, len(self.names_today))

    def predict(self, pool: Pool, report: Report | None = None, **how: Any) -> Predictions:
        """Return the predicted class of every item of a pool, none of which has a label."""
        return predictions_from(self.today(self.score(pool, report, **how)), np.full(len(pool), -1))
