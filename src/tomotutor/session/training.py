"""Training: the rounds of an open session, and the look at its pool before the first one. One thread trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tomotutor.base.errors import TomoTutorError, command
from tomotutor.base.progress import Progress, Report
from tomotutor.learn.results import PoolMap
from tomotutor.session import rounds
from tomotutor.session.core import Core
from tomotutor.session.model import TrainedModel
from tomotutor.session.round_folder import write_pool_map
from tomotutor.session.status import CurvePoint

if TYPE_CHECKING:  # torch takes seconds to import, and a person should see the screen first
    from tomotutor.learn.compute import Compute


class Training:
    """What runs networks for a session.

    Parameters
    ----------
    core : Core
        The open session.
    keep_core : bool
        Leave one CPU core to the screen.
    """

    def __init__(self, core: Core, *, keep_core: bool = False) -> None:
        self._core = core
        self._keep_core = keep_core

    def threads(self) -> int:
        """Return the CPU threads to use."""
        from tomotutor.learn.compute import available_threads

        return available_threads(keep_one=self._keep_core)

    def compute(self) -> Compute:
        """Choose how to compute, once a machine; the first choice of a session also settles the width."""
        from tomotutor.learn import compute as computing
        from tomotutor.learn.inference import compute_for

        core = self._core
        if not core.recipe.network.width and core.write:
            width = computing.default_width(computing.best_device())
            with core.guard:
                core.set_recipe(core.recipe.replace(width=width))
        memory = core.folder / "compute.json" if core.write else None
        return compute_for(core.pool.shape, len(core.state.classes.names), core.recipe, self.threads(), memory)

    def round(self, report: Report, adopted: Callable[[], None]) -> tuple[CurvePoint, str]:
        """Train, score and rank; put the result on disk, then in the database, then in use.

        Parameters
        ----------
        report : callable
            Progress; what it raises ends the round, and the model before stays.
        adopted : callable
            Called when the new model is in use, with the guard held.

        Returns
        -------
        CurvePoint
            The round.
        str
            A sentence where the session leaves its pretrained start, else "".
        """
        from tomotutor.learn.inference import at_this_moment
        from tomotutor.learn.round import run_round

        core = self._core
        compute = at_this_moment(self.compute(), core.pool.shape, len(core.state.classes.names), core.recipe)
        with core.guard:
            frozen = rounds.freeze(core.state, core.pool, core.folder)
        result = run_round(frozen.view, frozen.recipe, compute, report)
        check, better = rounds.compare_start(core.state, frozen, result, compute, report)
        with core.guard:
            state = core.state
            record, predicted = rounds.write(state, core.database, core.folder, frozen, result, compute, check)
            state.rounds.append(record)
            state.audits[record.number] = predicted
            state.number = record.number
            core.lost(rounds.take_scores(state, core.folder))
            adopted()
            point = state.point(record)
            if not better:
                return point, ""
            core.set_recipe(frozen.recipe.from_scratch())
        scratch, pretrained = (f"{check[who]} of {check['n']}" for who in ("scratch", "pretrained"))
        right = f"networks from scratch have {scratch} check items right, the pretrained ones {pretrained}"
        return point, f"round {point.round}: {right}; from the next training on, this session starts from scratch"

    def use_round(self, number: int) -> None:
        """Go back to the model of an earlier round, until the next training."""
        core = self._core
        core.check_writable()
        if number not in [r.number for r in core.state.rounds]:
            raise TomoTutorError(f"{core.folder}: no round {number}; expected 1 to {len(core.state.rounds)}")
        core.database.set_meta(rounds.IN_USE, str(number))
        core.state.number = number
        core.lost(rounds.take_scores(core.state, core.folder))

    def map_pool(self, report: Report, teacher_ND: np.ndarray | None = None) -> PoolMap:
        """Look at the pool with the networks that the session starts from, and keep the map.

        Parameters
        ----------
        report : callable
            Progress.
        teacher_ND : ndarray, optional
            Embedding of the pool by these networks, where it is known.
        """
        from tomotutor.learn.inference import new_pair
        from tomotutor.learn.pool_map import map_pool
        from tomotutor.learn.train import predict

        core = self._core
        core.check_writable()
        recipe, state = core.recipe, core.state

        def embed(rows: np.ndarray) -> np.ndarray:
            if teacher_ND is not None:
                return teacher_ND[rows].astype(np.float32)
            folder = rounds.start_folder(recipe, core.folder)
            net = new_pair(core.pool.shape, len(state.classes.names), recipe, folder).teacher
            return predict({"net": net}, core.pool.read, rows, self.compute(), report=report)["net"].embedding_ND

        found = map_pool(embed, state.eligible(), groups=recipe.query.initial_size, seed=recipe.seed)
        write_pool_map(core.folder, found)
        return found

    def model(self) -> TrainedModel:
        """Return the model in use.

        Raises
        ------
        TomoTutorError
            No round has been trained yet.
        """
        core, record = self._core, self._core.state.record
        if record is None:
            raise TomoTutorError(
                f"{core.folder}: no model yet; label some items and train first "
                f"('{command('round', core.folder)}', or Train now on the screen)"
            )
        names = tuple(record.record.get("classes", core.state.first_classes))
        shape = tuple(record.record.get("shape", ())) or core.pool.shape
        number_C = core.state.classes.today(names, record.record.get("log", 0))
        return TrainedModel(core.folder, record, names, shape, core.state.classes.names, tuple(number_C))

    def how(self) -> dict[str, Any]:
        """Return how the model in use is to be run."""
        core = self._core
        return {"threads": self.threads(), "memory": core.folder / "compute.json" if core.write else None}


def telling(report: Report, progressed: Callable[[Progress], None]) -> Report:
    """Return a report that also tells somebody else."""

    def tell(progress: Progress) -> None:
        report(progress)
        progressed(progress)

    return tell
