"""run_round(): train, score, select. The screen, the command line and the benchmark all call this one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from tomotutor.base.progress import Report, ignore
from tomotutor.data.pool import Pool
from tomotutor.learn.calibration import at_temperature, expected_calibration_error, fit_temperature
from tomotutor.learn.compute import Compute
from tomotutor.learn.inference import load_net, load_weights, new_pair, predict_answer, scaled
from tomotutor.learn.models import Net, Pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.round_backend import RoundBackend
from tomotutor.learn.strategies import STRATEGIES, Candidates, Scores, ask_order, disagreement_of
from tomotutor.learn.tasks import TASKS
from tomotutor.learn.train import fit, predict, ran_away

SHRINK, PERTURB = 0.5, 0.1  # Ash and Adams, NeurIPS 2020: share of the last round's weights, and of fresh ones
HELD_OUT = 0.1  # of the labels, for the temperatures


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
    open_rows : ndarray
        All items that may still be asked, R_U among them.
    folder : Path or None
        Where features that do not depend on the round are kept; None keeps nothing.
    start : Path or None
        Folder of the weights that fresh networks have; None draws them at random.
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
    open_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    folder: Path | None = None
    start: Path | None = None


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
    temperatures : dict of str to float
        Of teacher and student; 1 unless the recipe asks for them.
    metrics : dict
        Calibration error on the held-out labels, where temperatures were fitted.
    """

    pair: Pair
    queue_rows: np.ndarray
    scored_rows: np.ndarray
    teacher_probs_NC: np.ndarray
    student_probs_NC: np.ndarray
    disagreement_N: np.ndarray
    seconds: dict[str, float]
    temperatures: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


def shrink_and_perturb(pair: Pair, fresh: Pair) -> None:
    """Replace each parameter θ by ½·θ + 0.1·θ′ of a freshly initialised pair (Ash and Adams, NeurIPS
    2020), in place.
    """
    for name, net in pair.parts().items():
        with torch.no_grad():
            for p, q in zip(net.parameters(), fresh.parts()[name].parameters(), strict=True):
                p.mul_(SHRINK).add_(q, alpha=PERTURB)


def held_out(recipe: Recipe, number: int, labels: np.ndarray) -> np.ndarray:
    """Return which labels a round does not train on: none, or a random tenth where temperatures are to be fitted."""
    out_N = np.zeros(len(labels), bool)
    if recipe.training.calibration == "temperature":
        rng = np.random.default_rng([recipe.seed, number, 2])
        out_N[rng.permutation(len(labels))[: max(1, round(HELD_OUT * len(labels)))]] = True
    return out_N


def calibrate(scores: dict[str, Scores], y_N: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Return each network's temperature, and its calibration error on the same held-out items without and with it."""
    temperatures, metrics = {}, {}
    for name, score in scores.items():
        temperatures[name] = fit_temperature(score.log_probs_NC, y_N)
        metrics[f"{name}_temperature"] = temperatures[name]
        metrics[f"{name}_ece"] = expected_calibration_error(score.probs_NC, y_N)
        scaled_NC = np.exp(at_temperature(score.log_probs_NC, temperatures[name]))
        metrics[f"{name}_ece_scaled"] = expected_calibration_error(scaled_NC, y_N)
    return temperatures, metrics


def check_finite(scores: Mapping[str, Scores], recipe: Recipe) -> None:
    """Raise `TrainingDivergedError` where a probability is not a number: finite weights may be so large that what they
    compute is not.
    """
    for name, score in scores.items():
        if not np.isfinite(score.probs_NC).all():
            raise ran_away(f"what the {name} says", recipe)


def run_round(view: RoundView, recipe: Recipe, compute: Compute, report: Report = ignore) -> RoundResult:
    """Train the pair on the labeled items, score R_U, and rank it by the recipe's strategy.

    Raises
    ------
    TomoTutorError
        Too few labels, a loss that is not finite, or too little memory.
    """
    task = TASKS[recipe.task]
    out_N = held_out(recipe, view.number, view.train_labels)
    train_rows, train_labels = view.train_rows[~out_N], view.train_labels[~out_N]
    task.check_trainable(train_labels)
    seconds = {}
    clock = time.perf_counter()
    seed = int(np.random.default_rng([recipe.seed, view.number]).integers(2**31))
    pair = new_pair(view.pool.shape, view.classes, recipe, view.start)
    warm = view.weights is not None and recipe.training.init == "warm"
    if view.weights is not None and recipe.training.init != "scratch":
        load_weights(pair, view.weights)
        if recipe.training.init == "shrink_perturb":
            shrink_and_perturb(pair, new_pair(view.pool.shape, view.classes, recipe.replace(seed=seed), view.start))
    strategy = STRATEGIES[recipe.query.strategy](recipe)
    fit(
        pair,
        lambda index: view.pool.read(train_rows[index]),
        train_labels,
        recipe,
        compute,
        seed=seed,
        warm=warm,
        strategy=strategy,
        tilt_range_N2=view.pool.tilt_range_N2[train_rows],
        report=report,
    )
    seconds["train"] = time.perf_counter() - clock

    clock = time.perf_counter()
    scored_rows = np.union1d(view.candidate_rows, view.other_rows).astype(np.int64)

    def answer(rows: np.ndarray) -> dict[str, Scores]:
        return predict_answer(pair.parts(), view.pool, rows, recipe, compute, report)

    scores = predict(pair.parts(), view.pool.read, scored_rows, compute, task=task, report=report)
    if recipe.network.tta != "none" and len(view.other_rows):
        at = np.searchsorted(scored_rows, view.other_rows)
        for name, kept in answer(view.other_rows).items():
            scores[name].log_probs_NC[at] = kept.log_probs_NC
    check_finite(scores, recipe)
    temperatures: dict[str, float] = {}
    metrics: dict[str, float] = {}
    if out_N.any():
        temperatures, metrics = calibrate(answer(view.train_rows[out_N]), view.train_labels[out_N])
        scores = scaled(scores, temperatures)
    seconds["score"] = time.perf_counter() - clock

    clock = time.perf_counter()

    def build(member_seed: int) -> Pair:
        return new_pair(view.pool.shape, view.classes, recipe.replace(seed=member_seed), view.start)

    def previous() -> Net | None:
        if view.weights is None:
            return None
        net = build(recipe.seed).teacher
        load_net(net, view.weights / "teacher.safetensors")
        return net

    backend = RoundBackend(
        view.pool,
        train_rows,
        train_labels,
        view.open_rows,
        pair,
        build=build,
        previous=previous,
        scored_rows=scored_rows,
        scores=scores,
        recipe=recipe,
        compute=compute,
        folder=view.folder,
        warm=warm,
        report=report,
    )
    candidates = Candidates(
        view.candidate_rows,
        backend,
        np.random.default_rng([recipe.seed, view.number, 1]),
        labeled_rows=train_rows,
        labels=train_labels,
        unlabeled_rows=np.union1d(view.candidate_rows, view.open_rows),
    )
    strategy.fit(candidates)
    order = ask_order(strategy, candidates, strategy.score(candidates))
    seconds["select"] = time.perf_counter() - clock
    teacher, student = scores["teacher"], scores["student"]
    return RoundResult(
        pair,
        candidates.rows[order],
        scored_rows,
        teacher.probs_NC,
        student.probs_NC,
        disagreement_of(teacher, student),
        seconds,
        temperatures,
        metrics,
    )


def predict_from_scratch(
    view: RoundView, recipe: Recipe, compute: Compute, rows: np.ndarray, report: Report = ignore
) -> np.ndarray:
    """Train a teacher from scratch on a round's labels and return the classes it gives to other items: what a start is
    held against.
    """
    pair = new_pair(view.pool.shape, view.classes, recipe)
    seed = int(np.random.default_rng([recipe.seed, view.number]).integers(2**31))
    fit(
        pair,
        lambda index: view.pool.read(view.train_rows[index]),
        view.train_labels,
        recipe,
        compute,
        seed=seed,
        with_student=False,
        tilt_range_N2=view.pool.tilt_range_N2[view.train_rows],
        report=report,
    )
    return predict_answer({"teacher": pair.teacher}, view.pool, rows, recipe, compute, report)[
        "teacher"
    ].log_probs_NC.argmax(1)
