"""From a trained pair to answers: building and loading it, half turns, and scores of a whole pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.base.progress import Clock, Progress, Report, ignore
from tomotutor.data.pool import Pool
from tomotutor.learn import compute as computing
from tomotutor.learn.augment import asymmetric, half_turn
from tomotutor.learn.busy import Pace
from tomotutor.learn.calibration import at_temperature
from tomotutor.learn.compute import Compute
from tomotutor.learn.compute_file import machine_key, remembered
from tomotutor.learn.models import Net, Output, Pair, build_pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.results import PoolScores
from tomotutor.learn.start import load_start
from tomotutor.learn.strategies import Scores, disagreement_of
from tomotutor.learn.tasks import TASKS
from tomotutor.learn.train import predict


def new_pair(shape: tuple[int, ...], classes: int, recipe: Recipe, start: Path | None = None) -> Pair:
    """Build the recipe's pair for items of a shape (C, ...spatial), fresh; with `start`, the folder of a start, its
    weights but for the last layers.
    """
    pair = build_pair(
        recipe.network.teacher,
        ndim=len(shape) - 1,
        channels=shape[0],
        edge=min(shape[1:]),
        classes=classes,
        width=recipe.network.width or 1.0,
        seed=recipe.seed,
        stem=recipe.network.stem,
        twin=recipe.network.student == "twin",
    )
    if start is not None:
        load_start(pair, start)
    return pair


_ANEW = "the labels are safe: train anew ('tomotutor round', or Train now on the screen)"


def load_net(net: Net, path: Path) -> None:
    """Load one network's weights."""
    try:
        net.load_state_dict(load_file(path))
    except FileNotFoundError:  # what safetensors raises has no errno, which `reason` goes by
        raise TomoTutorError(f"{path}: no such file; it was moved, renamed or deleted; {_ANEW}") from None
    except (OSError, RuntimeError, ValueError, SafetensorError) as problem:
        raise unreadable(path, problem, "the weights of this session's networks", _ANEW) from None


def load_weights(pair: Pair, folder: Path) -> None:
    """Load the weights of a round into a pair."""
    for name, net in pair.parts().items():
        load_net(net, folder / f"{name}.safetensors")


def load_pair(shape: tuple[int, ...], classes: int, recipe: Recipe, folder: Path) -> Pair:
    """Build the pair of a round and load its weights."""
    pair = new_pair(shape, classes, recipe)
    load_weights(pair, folder)
    return pair


def compute_for(shape: tuple[int, ...], classes: int, recipe: Recipe, threads: int, memory: Path | None) -> Compute:
    """Choose how to run the recipe's networks on this machine; the choice is kept in the JSON file `memory`, if there
    is one.
    """
    device = computing.best_device()
    # pinned, so that the same seed gives the same numbers: a measurement could choose otherwise
    net = recipe.network
    if net.precision == "float32":
        return Compute(device, channels_last=True, threads=threads, pinned=True)
    key = machine_key(f"{net.teacher} {net.stem} {net.width:g} {shape} {threads} threads {net.precision}")

    def measure() -> Compute:
        if recipe.network.precision == "bfloat16":
            path = Compute(device, "bfloat16", True, 4 if device == "cpu" else 0, threads)
            return computing.checked(path, lambda: new_pair(shape, classes, recipe).teacher, shape)
        return computing.choose(lambda: new_pair(shape, classes, recipe).teacher, shape, device=device, threads=threads)

    return remembered(memory, key, measure) if memory else measure()


def at_this_moment(compute: Compute, shape: tuple[int, ...], classes: int, recipe: Recipe) -> Compute:
    """Return a path with the threads that are fastest while other programs run as they do now; a round asks when it
    starts.
    """
    return computing.measured_threads(compute, new_pair(shape, classes, recipe).teacher, shape)


def scaled(scores: dict[str, Scores], temperatures: Mapping[str, float]) -> dict[str, Scores]:
    """Return scores at the networks' temperatures."""
    return {
        n: replace(s, log_probs_NC=at_temperature(s.log_probs_NC, temperatures.get(n, 1.0))) for n, s in scores.items()
    }


def predict_answer(
    nets: dict[str, Net],
    pool: Pool,
    rows: np.ndarray,
    recipe: Recipe,
    compute: Compute,
    report: Report = ignore,
    each: Callable[[np.ndarray, dict[str, Output]], None] | None = None,
) -> dict[str, Scores]:
    """Run networks over items for an answer that is kept: with the recipe's test-time augmentation. `each` is told of
    every batch, of the box as it is and of its turns.

    Returns
    -------
    dict of str to Scores
        One per network: the log of the mean probabilities over the half turns, and the embedding of the box as it is.
        Items whose tilt range is asymmetric are turned about y alone, which leaves their missing wedge in place.
    """
    turns = "yxz" if recipe.network.tta == "half_turns" and pool.ndim == 3 else ""
    lopsided_N = np.array(asymmetric(pool.tilt_range_N2[rows]), bool)
    passes = {turn: np.ones(len(rows), bool) if turn in ("", "y") else ~lopsided_N for turn in ("", *turns)}
    clock, done = Clock(report, "score", sum(int(turned_N.sum()) for turned_N in passes.values())), 0
    pace, task = Pace(compute), TASKS[recipe.task]

    def tell(progress: Progress) -> None:
        clock.tell(done + progress.done, busy=progress.busy)

    def run(turn: str) -> dict[str, Scores]:
        nonlocal done

        def read(part: np.ndarray) -> np.ndarray:
            x_NC = pool.read(part)
            return half_turn(torch.from_numpy(x_NC), turn).numpy() if turn else x_NC

        found = predict(nets, read, rows[passes[turn]], compute, task=task, each=each, report=tell, pace=pace)
        done += int(passes[turn].sum())
        return found

    found = run("")
    if not turns:
        return found
    sums = {name: scores.probs_NC for name, scores in found.items()}
    for turn in turns:
        for name, scores in run(turn).items():
            sums[name][passes[turn]] += scores.probs_NC
    views_N = np.sum(list(passes.values()), axis=0)
    return {name: replace(scores, log_probs_NC=np.log(sums[name] / views_N[:, None])) for name, scores in found.items()}


def score_pool(
    pair: Pair,
    shape: tuple[int, ...],
    pool: Pool,
    recipe: Recipe,
    compute: Compute,
    *,
    temperatures: Mapping[str, float] | None = None,
    each: Callable[[np.ndarray, np.ndarray], None] | None = None,
    report: Report = ignore,
) -> PoolScores:
    """Run a pair trained on items of `shape` over every item of a pool.

    Parameters
    ----------
    pair, shape
        The networks, and (C, ...spatial) of what they were trained on.
    pool, recipe, compute, report
        What to score and how.
    temperatures : dict of str to float
        Of teacher and student, where the round fitted them.
    each : callable
        In segmentation, called with the rows of each batch and the teacher's class for each pixel (N, y, x).
    """
    if pool.shape != shape:
        raise TomoTutorError(
            f"the new items have the shape {pool.shape}, the model was trained on {shape}; expected the same"
        )

    def tell(rows: np.ndarray, outputs: dict[str, Output]) -> None:
        if each:
            each(rows, outputs["teacher"].logits.argmax(1).to(torch.int16).cpu().numpy())

    found = predict_answer(pair.parts(), pool, np.arange(len(pool)), recipe, compute, report, tell)
    scores = scaled(found, temperatures or {})
    teacher = scores["teacher"]
    return PoolScores(teacher.probs_NC, teacher.confidence_N, disagreement_of(teacher, scores["student"]))
