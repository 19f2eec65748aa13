"""What is measured of the model of a round, on a fixed test set and on its own picks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tomotutor.base.progress import Report, ignore
from tomotutor.benchmark import metrics
from tomotutor.data.pool import Pool
from tomotutor.learn.compute import Compute, available_threads
from tomotutor.learn.inference import compute_for, load_pair, new_pair, predict_answer
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import Scores
from tomotutor.learn.strategies.uncertainty import entropy
from tomotutor.learn.tasks import Confusion
from tomotutor.learn.train import fit, predict
from tomotutor.oracle import classes as oracle
from tomotutor.oracle.classes import UNKNOWN
from tomotutor.oracle.masks import MaskTruth
from tomotutor.session import Session
from tomotutor.session.round_folder import read_scores, round_folder

MAP_ITEMS = 500  # candidates on the map beside the picks


def measure_round(
    session: Session, truth_N: np.ndarray, test: Pool, test_truth_N: np.ndarray, report: Report | None = None
) -> dict[str, Any]:
    """Measure the model in use on the test set and on what it was trained on.

    Parameters
    ----------
    session : Session
        With a finished round.
    truth_N, test_truth_N : ndarray
        Class number of every item of the session's pool and of `test`; -1: not in use.
    test : Pool
        The fixed test set.
    report : callable, optional
        Progress.

    Returns
    -------
    dict
        Of the test set: accuracy, balanced_accuracy, macro_f1, ece, per_class. train_accuracy: likewise of the labeled
        items.
    """
    used = np.flatnonzero(test_truth_N != UNKNOWN)
    probs_NC = session.model.score(test.take(used), report).teacher_probs_NC
    found = metrics.classification(probs_NC, test_truth_N[used])
    labeled = np.array(sorted(session.labels()), np.int64)
    trained = session.model.score(session.pool.take(labeled), report).teacher_probs_NC.argmax(1)
    found["train_accuracy"] = float((trained == truth_N[labeled]).mean())
    return found


def measure_masks(
    session: Session, truth: MaskTruth, test: Pool, test_truth: MaskTruth, report: Report | None = None
) -> dict[str, Any]:
    """Measure the model in use of a segmentation session.

    Returns
    -------
    dict
        Of the test set: miou (mean intersection over union of the classes), pixel_accuracy, per_class (IoU).
        train_miou: eval mode, no augmentation, on the labeled images.
    """

    def confusion_of(pool: Pool, truth: MaskTruth) -> Confusion:
        confusion = Confusion(len(session.classes))

        def add(row: int, mask_YX: np.ndarray) -> None:
            known = truth(row)
            if known is not None:
                confusion.add(known, mask_YX)

        session.model.score_masks(pool, add, report)
        return confusion

    labeled = np.array(sorted(session.labels()), np.int64)
    tested = confusion_of(test, test_truth)
    trained = confusion_of(session.pool.take(labeled), lambda row: truth(int(labeled[row])))
    per_class = [None if np.isnan(iou) else float(iou) for iou in tested.iou_C]
    return {
        "miou": tested.mean_iou,
        "pixel_accuracy": tested.pixel_accuracy,
        "per_class": per_class,
        "train_miou": trained.mean_iou,
    }


def _compute(session: Session, recipe: Recipe) -> Compute:
    return compute_for(
        session.pool.shape, len(session.classes), recipe, available_threads(), session.folder / "compute.json"
    )


def _candidates(session: Session, report: Report | None) -> tuple[np.ndarray, Scores]:
    """Return R_U of the last round, the picks in front, and what its teacher says of them."""
    number, recipe = session.rounds[-1].number, session.recipe
    rows = read_scores(session.folder, number, len(session.ids)).queue_rows
    pair = load_pair(session.pool.shape, len(session.classes), recipe, round_folder(session.folder, number))
    nets = {"teacher": pair.teacher}
    return rows, predict(nets, session.pool.read, rows, _compute(session, recipe), report=report or ignore)["teacher"]


def pool_accuracy(session: Session, truth_N: np.ndarray, left: int, report: Report | None) -> dict[str, Any]:
    """Accuracy of the final answer for the whole pool, labels kept and the rest predicted."""
    return oracle.measure(session, truth_N, None, report)


def pick_accuracy(session: Session, truth_N: np.ndarray, left: int, report: Report | None) -> dict[str, Any]:
    """Accuracy of the teacher on the M items that it asks next (Fig. 1)."""
    scores = read_scores(session.folder, session.rounds[-1].number, len(session.ids))
    picks = scores.queue_rows[: session.recipe.query.query_size]
    if not left or not len(picks):
        return {}
    predicted = scores.teacher_probs_NC[np.searchsorted(scores.rows, picks)].argmax(1)
    return {"pick_accuracy": float((predicted == truth_N[picks]).mean())}


def error_ranking(session: Session, truth_N: np.ndarray, left: int, report: Report | None) -> dict[str, Any]:
    """How well disagreement and entropy tell the candidates that the teacher has wrong from those it has right (area
    under the ROC).
    """
    scores = read_scores(session.folder, session.rounds[-1].number, len(session.ids))
    rows = np.sort(scores.queue_rows)
    at = np.searchsorted(scores.rows, rows)
    probs_NC = scores.teacher_probs_NC[at].astype(np.float64)
    wrong_N = probs_NC.argmax(1) != truth_N[rows]
    ranked = {"disagreement": scores.disagreement_N[at], "entropy": entropy(probs_NC)}
    return {
        "errors": {
            "wrong": int(wrong_N.sum()),
            **{name: metrics.auroc(score_N, wrong_N) for name, score_N in ranked.items()},
        }
    }


def gradient_hits(session: Session, truth_N: np.ndarray, left: int, report: Report | None) -> dict[str, Any]:
    """Picks among the M candidates with the largest gradient of the loss under their true label (Table III), in the
    last layer.
    """
    if not left:
        return {}
    rows, scores = _candidates(session, report)
    norm_N = metrics.last_layer_gradient_norm(scores.probs_NC, scores.embedding_ND, truth_N[rows])
    return {"gradient": metrics.top_hits(norm_N, np.arange(len(rows)) < session.recipe.query.query_size)}


def picks_map(session: Session, truth_N: np.ndarray, left: int, report: Report | None) -> dict[str, Any]:
    """Place the picks of the last query and other candidates in the plane by the teacher's embedding."""
    if left != 1:
        return {}
    rows, scores = _candidates(session, report)
    m = min(session.recipe.query.query_size, len(rows))
    others = np.random.default_rng(session.recipe.seed).permutation(np.arange(m, len(rows)))[:MAP_ITEMS]
    shown = np.concatenate([np.arange(m), np.sort(others)])
    xy_N2 = _plane(scores.embedding_ND[shown].astype(np.float64))
    return {
        "map": {
            "method": "t-SNE",
            "xy": np.round(xy_N2, 2).tolist(),
            "class": truth_N[rows[shown]].tolist(),
            "picked": m,
        }
    }


def _plane(embedding_ND: np.ndarray) -> np.ndarray:
    """Return (N, 2) places by t-SNE."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(embedding_ND) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(embedding_ND)


# measured after each round where an experiment names it; `left` is the number of queries still to come
PROBES: dict[str, Callable[[Session, np.ndarray, int, Report | None], dict[str, Any]]] = {
    "pool": pool_accuracy,
    "picks": pick_accuracy,
    "errors": error_ranking,
    "gradient": gradient_hits,
    "map": picks_map,
}


def train_deeper(
    session: Session,
    truth_N: np.ndarray,
    test: Pool,
    test_truth_N: np.ndarray,
    teacher: str,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train another network from scratch on the labels of a finished run, by the same schedule, and test it (Tables V
    and VIII).
    """
    clock = time.perf_counter()
    report = report or ignore
    recipe = session.recipe.replace(teacher=teacher, init="scratch")
    compute = _compute(session, recipe)
    labeled = np.array(sorted(session.labels()), np.int64)
    pair = new_pair(session.pool.shape, len(session.classes), recipe)
    fit(
        pair,
        lambda index: session.pool.read(labeled[index]),
        truth_N[labeled],
        recipe,
        compute,
        seed=recipe.seed,
        with_student=False,
        report=report,
    )
    used = np.flatnonzero(test_truth_N != UNKNOWN)
    scores = predict_answer({"teacher": pair.teacher}, test, used, recipe, compute, report)["teacher"]
    accuracy = metrics.classification(scores.probs_NC, test_truth_N[used])["accuracy"]
    return {"deeper": {"teacher": teacher, "accuracy": accuracy, "seconds": time.perf_counter() - clock}}
