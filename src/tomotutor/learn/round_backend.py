"""What a round lends to its strategy: networks to run, to differentiate and to train, over any rows of the pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tomotutor.base.progress import Progress, Report, ignore
from tomotutor.data.pool import Pool
from tomotutor.learn import simclr
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import Net, Pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import Scores
from tomotutor.learn.tasks import TASKS
from tomotutor.learn.train import fit, map_batches, number_of_steps, predict

GRADIENT_BATCH = 16


class RoundBackend:
    """The `Backend` of a round.

    Parameters
    ----------
    pool, train_rows, train_labels, open_rows
        Items, those trained on with their class numbers, and those that may still be asked.
    pair : Pair
        The trained networks.
    build : callable
        Makes a fresh pair from a seed.
    previous : callable
        Returns the last round's teacher, None in the first round.
    scored_rows, scores
        Rows (ascending) that were scored already, and what each network says of them.
    recipe, compute, report
        As in `run_round`.
    folder : Path or None
        Where what is expensive and does not depend on the round may be kept.
    warm : bool
        Whether the round started from the last one's weights.
    """

    def __init__(
        self,
        pool: Pool,
        train_rows: np.ndarray,
        train_labels: np.ndarray,
        open_rows: np.ndarray,
        pair: Pair,
        *,
        build: Callable[[int], Pair],
        previous: Callable[[], Net | None],
        scored_rows: np.ndarray,
        scores: dict[str, Scores],
        recipe: Recipe,
        compute: Compute,
        folder: Path | None = None,
        warm: bool = False,
        report: Report = ignore,
    ) -> None:
        self._pool, self._train_rows, self._train_labels, self._open_rows = pool, train_rows, train_labels, open_rows
        self._pair, self._build, self._previous = pair, build, previous
        self._scored_rows, self._scores = scored_rows, scores
        self._recipe, self._compute, self._folder, self._report = recipe, compute, folder, report
        self.steps = number_of_steps(recipe, len(train_rows), warm=warm)
        self.device = compute.device

    def score(self, name: str, rows: np.ndarray) -> Scores:
        """Run the "teacher" or "student" over items, unless that was done already."""
        if len(self._scored_rows) and np.isin(rows, self._scored_rows).all():
            return self._scores[name].take(np.searchsorted(self._scored_rows, rows))
        return self._predict(self._pair.parts()[name], rows)

    def _predict(self, net: Net, rows: np.ndarray) -> Scores:
        return predict(
            {"net": net}, self._pool.read, rows, self._compute, task=TASKS[self._recipe.task], report=self._report
        )["net"]

    def previous(self, rows: np.ndarray) -> Scores | None:
        """Run the last round's teacher over items; None in the first round."""
        net = self._previous()
        return None if net is None else self._predict(net, rows)

    def net(self, name: str) -> nn.Module:
        """Return the "teacher" or "student", in eval mode on the device."""
        net = self._pair.parts()[name]
        self._compute.prepare(net)
        return net.eval()

    def read(self, rows: np.ndarray) -> Tensor:
        """Read items, (N, C, ...spatial) on the device."""
        return self._compute.put(torch.from_numpy(self._pool.read(rows)))

    def run(self, rows: np.ndarray, function: Callable[[Tensor], Tensor], *, gradients: bool) -> np.ndarray:
        """Apply a function of a batch to all items, in float32, and return its values in float64, one row an item."""
        self._compute.apply_threads()
        found: list[np.ndarray] = []

        def call(x: Tensor) -> Tensor:
            with torch.inference_mode(not gradients):
                return function(x).detach().cpu().double()

        for _, values in map_batches(
            call, self._pool.read, rows, self._compute, GRADIENT_BATCH if gradients else 64, self._report
        ):
            found.append(values.numpy())
        return np.concatenate(found) if found else np.zeros(0)

    def train_member(self, member: int, rows: np.ndarray) -> Scores:
        """Train another network like the teacher, from a seed of its own, on the labeled items, and run
        it over items.
        """
        seed = int(np.random.default_rng([self._recipe.seed, 0xC0, member]).integers(2**31))
        pair = self._build(seed)
        fit(
            pair,
            lambda index: self._pool.read(self._train_rows[index]),
            self._train_labels,
            self._recipe,
            self._compute,
            seed=seed,
            with_student=False,
            tilt_range_N2=self._pool.tilt_range_N2[self._train_rows],
            report=self._report,
        )
        return self._predict(pair.teacher, rows)

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return features (N, D) of items that no label of this session went into; made on first use, for the whole
        pool.

        They are the embedding of the networks that the session starts from or, where it starts from scratch,
        self-supervised ones, learned from labeled and open items.
        """
        recipe, every = self._recipe, np.sort(np.concatenate([self._train_rows, self._open_rows]))
        steps = (
            0
            if recipe.network.start == "pretrained"
            else number_of_steps(recipe, len(every), warm=False) * (1 if recipe.training.epochs else 4)
        )
        settings = recipe.flat()
        key: dict[str, object] = {
            name: settings[name]
            for name in ("teacher", "stem", "width", "start", "epochs", "steps", "batch_size", "seed")
        }
        key["items"] = len(self._pool)  # some may have been added since
        found = simclr.features(
            self._folder,
            key,
            lambda: self._build(recipe.seed).teacher,
            self._pool.read,
            every,
            len(self._pool),
            self._compute,
            steps=steps,
            batch_size=recipe.training.batch_size,
            seed=recipe.seed,
            tilt_range_N2=self._pool.tilt_range_N2[every],
            report=self._report,
        )
        return found[rows]

    def tell(self, done: int, total: int) -> None:
        """Report progress between mini-batches; raises where the round was cancelled."""
        self._report(Progress("train", done, total, 1, 1))
