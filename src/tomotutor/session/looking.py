"""Looking: all that an open session tells. `Session` adds what changes it."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report
from tomotutor.data.pool import Pool
from tomotutor.data.sources import Opened, Source
from tomotutor.data.sources.parent import Tomogram
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.results import PoolMap, PoolScores, Predictions, predictions_from
from tomotutor.session import rounds, tomograms
from tomotutor.session.asking import compose, first_order
from tomotutor.session.classes import Classes
from tomotutor.session.core import Core
from tomotutor.session.database import RoundRecord
from tomotutor.session.label_log import NO_ITEM
from tomotutor.session.model import GiveMask, TrainedModel
from tomotutor.session.queue import Queue
from tomotutor.session.round_folder import read_pool_map, read_pool_scores, write_pool_scores
from tomotutor.session.state import State
from tomotutor.session.status import CurvePoint, ItemView
from tomotutor.session.training import Training

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


class Looking:
    """What an open session tells of itself.

    Parameters
    ----------
    folder : Path
        A folder that `create_session` made.
    write : bool
        False takes no lock, changes nothing on disk, and opens the input on first use.
    keep_core : bool
        Leave one CPU core to the screen.
    opened : Opened or None
        The input of a session that was just made, as `create_session` opened it.
    """

    def __init__(self, folder: Path | str, *, write: bool, keep_core: bool, opened: Opened | None) -> None:
        self.folder = Path(folder)
        self._core = Core.open(self.folder, write=write, opened=opened)
        try:
            self._queue = Queue(self.state.is_open, [e.item for e in self.state.log.active if e.item != NO_ITEM])
            self.pool_map = self._read_pool_map()
            self._core.lost(rounds.take_scores(self.state, self.folder))
            self._compose_queue()
        except BaseException:
            self._core.database.close()
            raise
        self._training = Training(self._core, keep_core=keep_core)

    def _read_pool_map(self) -> PoolMap | None:
        try:
            return read_pool_map(self.folder, len(self.state.ids))
        except TomoTutorError as problem:
            self._core.lost(f"{problem}; without it the items come in random order until the first training")
            return None

    def _compose_queue(self) -> None:
        self._queue.refill(compose(self.state, first_order(self.state, self.pool_map), self._queue.current))

    @property
    def state(self) -> State:
        """What it knows; to look at."""
        return self._core.state

    @property
    def write(self) -> bool:
        """Whether it may be changed."""
        return self._core.write

    @property
    def notices(self) -> list[str]:
        """What was lost, a sentence each."""
        return self._core.notices

    @property
    def pool(self) -> Pool:
        """The items of all inputs."""
        return self._core.pool

    @property
    def overlaps_N(self) -> np.ndarray:
        """How many other picks overlap each: they lie nearer to it than a quarter of the box, or a chain of such picks
        joins them.
        """
        return self._core.overlaps_N

    @property
    def denoised(self) -> Pool | None:
        """The same items from denoised tomograms, to look at; None where there are none."""
        return self._core.denoised

    def tomogram_of(self, row: int, *, denoised: bool = False) -> Tomogram | None:
        """Return the tomogram of an item with the places of all its particles; None where it was cut from none."""
        return tomograms.tomogram_of(self._core, row, denoised=denoised)

    @property
    def has_tomograms(self) -> bool:
        """Whether any items were cut from tomograms."""
        return any(opened.particles is not None for opened in self._core.opened)

    @property
    def ids(self) -> tuple[str, ...]:
        """Item ids, in pool order."""
        return self.state.ids

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; class n of an export is the n-th, from 1."""
        return self.state.classes.names

    @property
    def class_table(self) -> Classes:
        """The classes with their colours and keys."""
        return self.state.classes

    @property
    def recipe(self) -> Recipe:
        """Settings in force."""
        return self._core.recipe

    @property
    def source(self) -> Source:
        """Where the items come from that the session was made with; of a list the session's own copy."""
        return self._core.inputs[0].source_in(self.folder)

    @property
    def inputs(self) -> list[tuple[str, Source, slice]]:
        """All inputs: the prefix of their ids ("" for the first), the source, and which rows of the pool they hold."""
        bounds = zip(self._core.inputs, itertools.pairwise(self.state.start_N.tolist()), strict=True)
        return [(one.prefix, one.source_in(self.folder), slice(*rows)) for one, rows in bounds]

    @property
    def array_file(self) -> Path | None:
        """The NumPy file the items come from, None for other input."""
        first = self._core.inputs[0].source
        return first.file if first.kind == "array" else None

    @property
    def one_class(self) -> bool:
        """Whether a label is one class for a whole item, not a mask."""
        return self.state.labels.one_class

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """The learning curve so far; the audit figures use all answers known today."""
        with self._core.guard:
            return tuple(self.state.point(record) for record in self.state.rounds)

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """All finished rounds with what traces them."""
        return tuple(self.state.rounds)

    @property
    def held_out(self) -> np.ndarray:
        """Rows set apart as a test set."""
        return np.flatnonzero(self.state.held_out_N)

    def row(self, item_id: str) -> int:
        """Return the pool row of an item id."""
        return self.state.row(item_id)

    def labels(self) -> dict[int, str]:
        """Return the labels given: row to class name, in segmentation to the mask's file; duplicates not repeated."""
        with self._core.guard:
            return self.state.given()

    def mask(self, row: int) -> np.ndarray | None:
        """Return the mask given to an item, (y, x) uint8 with 255 for void; None if it has none."""
        with self._core.guard:
            label = self.state.given().get(int(self.state.twin_N[row]))
            return None if label is None else self.state.labels.mask(label)

    def view(self, row: int) -> ItemView:
        """Return an item as the screen shows it."""
        with self._core.guard:
            padded, overlaps = (bool(self.pool.padded_N[row]), int(self.overlaps_N[row])) if self.write else (False, 0)
            return self.state.view(row, padded=padded, overlaps=overlaps)

    # ---- the queue -------------------------------------------------------------------------------------------------

    @property
    def current(self) -> ItemView | None:
        """The item in front of the annotator; None when nothing is left to ask."""
        with self._core.guard:
            return None if self._queue.current is None else self.view(self._queue.current)

    def waiting(self, n: int) -> np.ndarray:
        """Return the pool rows of the current item and the next ones of the queue, n at most."""
        with self._core.guard:
            current = [] if self._queue.current is None else [self._queue.current]
            return np.array([*current, *self._queue.upcoming(n - len(current))], np.int64)

    def upcoming(self, n: int) -> list[ItemView]:
        """Return the next n items of the queue after the current one."""
        with self._core.guard:
            return [self.view(row) for row in self._queue.upcoming(n)]

    # ---- the answer ------------------------------------------------------------------------------------------------

    @property
    def model(self) -> TrainedModel:
        """The model in use."""
        return self._training.model()

    def predictions(self, report: Report | None = None) -> Predictions:
        """Return the answer for every item: labels as given, the rest as the model in use predicts; computed once a
        round where the session is open for writing.
        """
        model = self.model
        scores = read_pool_scores(self.folder, model.record.number, len(self.ids))
        if scores is None:
            scores = model.score(self.pool, report, **self._training.how())
            if self.write:
                write_pool_scores(self.folder, model.record.number, scores)
        return self._with_labels(model, scores)

    def predict_masks(self, each: GiveMask, report: Report | None = None) -> Predictions:
        """Give the final mask of every item to `each` (row, (y, x) class numbers): as labeled, or as the model in use
        predicts. A session of classes has none.

        The maps of a whole pool are too large to keep, so they are predicted anew by each call.
        """
        if self.one_class:
            raise TomoTutorError(f"{self.folder}: this session gives a class to each item, no masks")

        def tell(row: int, mask: np.ndarray) -> None:
            given = self.mask(row)
            each(row, mask if given is None else given)

        model = self.model
        scores = model.score_masks(self.pool, tell, report, **self._training.how())
        if self.write:
            write_pool_scores(self.folder, model.record.number, scores)
        return self._with_labels(model, scores)

    def _with_labels(self, model: TrainedModel, scores: PoolScores) -> Predictions:
        with self._core.guard:
            today = model.today(scores)
            return predictions_from(today, self.state.labels.numbers(self.state.given(), self.state.twin_N, today))
