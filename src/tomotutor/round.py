"""run_round(): train, score, select. The screen, the command line and the benchmark all call this one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from tomotutor import compute as computing
from tomotutor.compute import Compute
from tomotutor.errors import TomoTutorError
from tomotutor.models import Output, Pair, build_pair
from tomotutor.pool import Pool
from tomotutor.progress import Report, ignore
from tomotutor.recipe import Recipe
from tomotutor.strategies import STRATEGIES, Candidates, Scores, check_per_pixel, disagreement_of
from tomotutor.tasks import TASKS
from tomotutor.train import fit, predict
from tomotutor.views import PoolScores


@dataclass(frozen=True)
class RoundView:
    """All that a round sees, frozen when it starts.

    Attributes
    ----------
    number : int
        From 1.
    pool : Pool
        The items.
    classes : int
        Number of classes.
    train_rows, train_labels : ndarray
        Labeled items to train on and their class numbers; in segmentation their masks (N, y, x).
    labels : int
        All labels given so far, those of check items included.
    candidate_rows : ndarray
        R_U, to rank.
    other_rows : ndarray
        Further items to score (audit items).
    weights : Path or None
        Folder of the previous round's weights, for a warm start.
    """

    number: int
    pool: Pool
    classes: int
    train_rows: np.ndarray
    train_labels: np.ndarray
    labels: int
    candidate_rows: np.ndarray
    other_rows: np.ndarray
    weights: Path | None


@dataclass(frozen=True)
class RoundResult:
    """What a round found.

    Attributes
    ----------
    pair : Pair
        The trained networks.
    queue_rows : ndarray
        Candidates, the one to ask first in front.
    scored_rows : ndarray
        Candidates and other rows, ascending.
    teacher_probs_NC, student_probs_NC, disagreement_N : ndarray
        Of `scored_rows`.
    seconds : dict of str to float
        Wall time of training, scoring and selecting.
    """

    pair: Pair
    queue_rows: np.ndarray
    scored_rows: np.ndarray
    teacher_probs_NC: np.ndarray
    student_probs_NC: np.ndarray
    disagreement_N: np.ndarray
    seconds: dict[str, float]


def new_pair(pool: Pool, classes: int, recipe: Recipe) -> Pair:
    """Build the recipe's pair for a pool."""
    return build_pair(
        recipe.teacher, ndim=pool.ndim, channels=pool.shape[0], edge=min(pool.shape[1:]), classes=classes,
        width=recipe.width or 1.0, seed=recipe.seed, stem=recipe.stem,
    )  # fmt: skip


def load_weights(pair: Pair, folder: Path) -> None:
    """Load the weights of a round into a pair."""
    for name, net in pair.parts().items():
        path = folder / f"{name}.safetensors"
        try:
            net.load_state_dict(load_file(path))
        except (OSError, RuntimeError, ValueError) as problem:
            raise TomoTutorError(f"{path}: not the weights of this session's networks ({str(problem).splitlines()[0]})") from None


def load_pair(pool: Pool, classes: int, recipe: Recipe, folder: Path) -> Pair:
    """Build the pair of a round and load its weights."""
    pair = new_pair(pool, classes, recipe)
    load_weights(pair, folder)
    return pair


def compute_for(pool: Pool, classes: int, recipe: Recipe, threads: int, memory: Path) -> Compute:
    """Choose how to run the recipe's networks on this machine; the choice is kept in the JSON file `memory`."""
    device = computing.best_device()
    if recipe.precision == "float32":  # pinned, so that the same seed gives the same numbers: a measurement could choose otherwise
        return Compute(device, channels_last=True, threads=threads)
    key = computing.machine_key(f"{recipe.teacher} {recipe.stem} {recipe.width:g} {pool.shape} {threads} threads")

    def measure() -> Compute:
        return computing.choose(lambda: new_pair(pool, classes, recipe).teacher, pool.shape, device=device, threads=threads)

    return computing.remembered(memory, key, measure)


def _batch_size(pool: Pool) -> int:
    """Return the items to score at a time: 64, fewer where they are large."""
    return max(1, min(64, 2**22 // math.prod(pool.shape[1:])))


def score_pool(
    pair: Pair,
    shape: tuple[int, ...],
    pool: Pool,
    compute: Compute,
    *,
    task: str = "classification",
    each: Callable[[np.ndarray, np.ndarray], None] | None = None,
    report: Report = ignore,
) -> PoolScores:
    """Run a pair trained on items of `shape` over every item of a pool.

    Parameters
    ----------
    pair, shape
        The networks, and (C, ...spatial) of what they were trained on.
    pool, compute, report
        What to score and how.
    task : str
        A key of `TASKS`.
    each : callable
        Called with the rows of each batch and the teacher's class for each item, or in segmentation for each pixel (N, y, x).
    """
    if pool.shape != shape:
        raise TomoTutorError(f"the new items have the shape {pool.shape}, the model was trained on {shape}; expected the same")

    def tell(rows: np.ndarray, outputs: dict[str, Output]) -> None:
        if each:
            each(rows, outputs["teacher"].logits.argmax(1).to(torch.int16).cpu().numpy())

    scores = predict(
        pair.parts(), pool.read, np.arange(len(pool)), compute, task=TASKS[task], batch_size=_batch_size(pool), each=tell, report=report
    )
    teacher = scores["teacher"]
    return PoolScores(teacher.probs_NC, teacher.confidence_N, disagreement_of(teacher, scores["student"]))


def run_round(view: RoundView, recipe: Recipe, compute: Compute, report: Report = ignore) -> RoundResult:
    """Train the pair on the labeled items, score R_U, and rank it by the recipe's strategy.

    Raises
    ------
    TomoTutorError
        Too few labels, a loss that is not finite, or too little memory.
    """
    task = TASKS[recipe.task]
    task.check_trainable(view.train_labels)
    if recipe.task == "segmentation":
        check_per_pixel(recipe.strategy)
    seconds = {}
    clock = time.perf_counter()
    pair = new_pair(view.pool, view.classes, recipe)
    warm = view.weights is not None and recipe.init == "warm"
    if warm and view.weights is not None:
        load_weights(pair, view.weights)
    seed = int(np.random.default_rng([recipe.seed, view.number]).integers(2**31))
    tilts = view.pool.tilt_range_N2[view.train_rows] if len(view.pool.tilt_range_N2) else None
    x_NC = view.pool.read(view.train_rows)
    fit(pair, x_NC, view.train_labels, recipe, compute, seed=seed, warm=warm, tilt_range_N2=tilts, report=report)
    seconds["train"] = time.perf_counter() - clock

    clock = time.perf_counter()
    scored_rows = np.union1d(view.candidate_rows, view.other_rows).astype(np.int64)
    scores = predict(pair.parts(), view.pool.read, scored_rows, compute, task=task, batch_size=_batch_size(view.pool), report=report)
    seconds["score"] = time.perf_counter() - clock

    clock = time.perf_counter()
    position = np.searchsorted(scored_rows, view.candidate_rows)

    def score(name: str) -> Scores:
        return scores[name].take(position)

    candidates = Candidates(view.candidate_rows, score, np.random.default_rng([recipe.seed, view.number, 1]))
    strategy = STRATEGIES[recipe.strategy]()
    order = strategy.select(strategy.score(candidates), len(candidates), candidates)
    seconds["select"] = time.perf_counter() - clock
    teacher, student = scores["teacher"], scores["student"]
    return RoundResult(
        pair, view.candidate_rows[order], scored_rows, teacher.probs_NC, student.probs_NC,
        disagreement_of(teacher, student), seconds,
    )  # fmt: skip
