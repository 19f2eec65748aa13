"""The embedding of a session's pool: made by the networks in use, kept with the session, finished in idle time."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report
from tomotutor.session.core import Core
from tomotutor.session.round_folder import round_folder
from tomotutor.session.training import Training

if TYPE_CHECKING:  # torch takes seconds to import
    from tomotutor.learn.embedding import Embedding

log = logging.getLogger(__name__)

FOLDER = "embeddings"
START = "start"
LONGEST_S = 60.0  # that the half turns may take at the end of a round; else they come in idle time


class PoolEmbedding:
    """Keeps the embeddings of an open session: that of its start, and that of the last round.

    Parameters
    ----------
    core, training
        The open session, and what runs its networks.
    """

    def __init__(self, core: Core, training: Training) -> None:
        self._core, self._training = core, training
        self._newest: Embedding | None = None

    def _folder(self, number: int) -> Path:
        return self._core.folder / FOLDER / (f"round-{number:04d}" if number else START)

    def _network(self, number: int) -> str:
        return f"round {number}" if number else START

    @property
    def newest(self) -> Embedding | None:
        """The newest embedding in which every item has been looked at once; None where there is none."""
        if self._newest is None and self._core.state.labels.one_class:
            from tomotutor.learn.embedding import open_embedding

            numbers = [r.number for r in self._core.state.rounds if r.number <= self._core.state.number]
            for number in [*reversed(numbers), 0]:
                folder = self._folder(number)
                try:
                    found = open_embedding(folder, self._core.pool) if folder.is_dir() else None
                except TomoTutorError as problem:
                    log.warning("%s", problem)
                    continue
                if found is not None and found.is_usable:
                    self._newest = found
                    break
        return self._newest

    @property
    def is_of_networks_in_use(self) -> bool:
        """Whether the newest embedding was made by the networks in use, not by earlier ones."""
        return self.newest is not None and self.newest.network == self._network(self._core.state.number)

    def forget(self) -> None:
        """Look again which embedding is the newest: another model is in use, or items were added."""
        self._newest = None

    def embed(self, report: Report, *, half_turns: bool = True) -> Embedding | None:
        """Embed the pool with the networks in use, going on where an earlier call ended; None where there are none.

        The old embedding and its head stay in use until the new one is complete.
        """
        from tomotutor.learn.embedding import embed_pool

        core, number = self._core, self._core.state.number
        pair = self._pair(number)
        if pair is None or not core.state.labels.one_class:
            return None
        folder = self._folder(number)
        found = embed_pool(
            pair,
            core.pool,
            folder,
            self._training.compute(),
            network=self._network(number),
            order=core.state.open_rows(core.state.next_number),
            half_turns=half_turns,
            report=report,
        )
        with core.guard:
            if core.state.number == number:
                self._newest = found
        for old in (core.folder / FOLDER).glob("round-[0-9]*"):
            if old != folder and self._newest is found:
                shutil.rmtree(old, ignore_errors=True)
        return found

    def _pair(self, number: int):  # a Pair, whose module takes seconds to import
        from tomotutor.learn.inference import load_pair, new_pair
        from tomotutor.session.rounds import start_folder

        core = self._core
        if number:
            model = self._training.model()
            return load_pair(model.shape, len(model.classes), model.recipe, round_folder(core.folder, number))
        start = start_folder(core.recipe, core.folder)
        return None if start is None else new_pair(core.pool.shape, len(core.state.classes.names), core.recipe, start)

    def after_round(self, report: Report) -> None:
        """Embed the pool with the networks of the round that just ended: as it is, and with half turns where these take
        less than a minute.
        """
        begin = time.perf_counter()
        if self.embed(report, half_turns=False) is None:
            return
        if 3 * (time.perf_counter() - begin) < LONGEST_S and self._core.pool.ndim == 3:
            self.embed(report)
