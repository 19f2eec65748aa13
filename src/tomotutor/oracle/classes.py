"""A simulated annotator: whole runs of a session with the truth answering."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report, ignore
from tomotutor.data.pool import Pool
from tomotutor.data.sources.array import load_array
from tomotutor.formats.label_csv import LabelRow, read_labels
from tomotutor.session import Session
from tomotutor.session.status import CurvePoint

UNKNOWN = -1


@dataclass(frozen=True)
class TestSet:
    """Items that are never asked: those of another session's pool, or (pool None) those this session holds out.

    `truth_N` has the class number of every item of that pool, -1 where it is not known.
    """

    __test__ = False  # no test case, whatever pytest thinks of its name

    pool: Pool | None
    truth_N: np.ndarray


def truth_of(ids: Sequence[str], labels: Sequence[LabelRow], classes: Sequence[str], source: str) -> np.ndarray:
    """Return the class number of every item, -1 where the oracle does not know it.

    Raises
    ------
    TomoTutorError
        The oracle names an item or a class that there is not.
    """
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    number_of = {name: number for number, name in enumerate(classes)}
    truth_N = np.full(len(ids), UNKNOWN)
    for label in labels:
        if label.item not in row_of:
            raise TomoTutorError(
                f"{source}: item {label.item!r} is not in the session; its items are called like {ids[0]!r}"
            )
        if label.label not in number_of:
            raise TomoTutorError(
                f"{source}: class {label.label!r} of item {label.item} is not one of {', '.join(classes)}"
            )
        truth_N[row_of[label.item]] = number_of[label.label]
    return truth_N


def array_labels(path: Path, ids: Sequence[str], classes: Sequence[str] = ()) -> list[LabelRow]:
    """Return the labels in an .npz file: the array y, names or numbers into its array classes (without one, into
    `classes`).
    """
    y_N, names = load_array(path, "y"), load_array(path, "classes")
    if y_N is None or y_N.ndim != 1 or len(y_N) != len(ids):
        raise TomoTutorError(f"{path}: no array y with a class for each of the {len(ids)} items")
    if names is None:
        names = np.array(classes)
    labels = []
    for item_id, value in zip(ids, np.asarray(y_N).tolist(), strict=True):
        if not isinstance(value, str) and not 0 <= int(value) < len(names):
            raise TomoTutorError(f"{path}: y of item {item_id} is {value}; expected 0 to {len(names) - 1}")
        labels.append(LabelRow(item_id, value if isinstance(value, str) else str(names[int(value)])))
    return labels


def read_truth(session: Session, oracle: str, classes: Sequence[str] = ()) -> np.ndarray:
    """Read an oracle: a CSV file, or "y" for the truth of the session's data set or .npz file; `classes` are the
    session's by default.
    """
    classes = classes or session.classes
    if oracle != "y":
        return truth_of(session.pool.ids, read_labels(Path(oracle)), classes, oracle)
    if any(session.pool.truth_N):
        return pool_truth(session.pool, classes)
    path = session.array_file
    if path is None:
        raise TomoTutorError("oracle y: the input does not say its classes; give a CSV file")
    return truth_of(session.pool.ids, array_labels(path, session.pool.ids, classes), classes, str(path))


def pool_truth(pool: Pool, classes: Sequence[str]) -> np.ndarray:
    """Return the class number of every item of a data set that has its truth, -1 where it does not know."""
    labels = [LabelRow(item_id, name) for item_id, name in zip(pool.ids, pool.truth_N.tolist(), strict=True) if name]
    return truth_of(pool.ids, labels, classes, "the data set")


def draw_test_set(session: Session, truth_N: np.ndarray, fraction: float) -> TestSet:
    """Hold out a random share of the items whose truth is known, or return those held out before."""
    if not 0 < fraction < 1:
        raise TomoTutorError(f"test fraction {fraction}: expected a number between 0 and 1")
    if not len(session.held_out):
        known = np.flatnonzero(truth_N != UNKNOWN)
        rng = np.random.default_rng([session.recipe.seed, 0x7E57])
        session.hold_out(rng.choice(known, max(1, round(fraction * len(known))), replace=False))
    held_N = np.full(len(truth_N), UNKNOWN)
    held_N[session.held_out] = truth_N[session.held_out]
    return TestSet(None, held_N)


def _accuracy(predicted_N: np.ndarray, truth_N: np.ndarray) -> float | None:
    known = truth_N != UNKNOWN
    return float((predicted_N[known] == truth_N[known]).mean()) if known.any() else None


def measure(
    session: Session, truth_N: np.ndarray, test: TestSet | None, report: Report | None = None
) -> dict[str, Any]:
    """Measure the model in use: accuracy of the final answer for the whole pool (labels kept, the rest predicted), and
    on a test set.
    """
    class_N = session.predictions(report).class_N
    pool_N = truth_N.copy()
    pool_N[session.held_out] = UNKNOWN
    metrics: dict[str, Any] = {"pool_accuracy": _accuracy(class_N, pool_N)}
    groups = session.pool.tomogram_N
    names = sorted(set(groups.tolist()))
    if len(names) > 1:
        metrics["pool_accuracy_by_group"] = {
            str(g): _accuracy(class_N[groups == g], pool_N[groups == g]) for g in names
        }
    if test is not None:
        predicted_N = class_N if test.pool is None else session.model.predict(test.pool, report).class_N
        metrics["test_accuracy"] = _accuracy(predicted_N, test.truth_N)
    return {key: value for key, value in metrics.items() if value is not None}


def answer(session: Session, truth_N: np.ndarray, labels: int) -> None:
    """Answer the queue until the session has so many labels or nothing is left; what the oracle does not know is called
    unsure. Between rounds the queue learns from each answer, unless the recipe keeps the round's order.
    """
    while len(session.labels()) < labels and (item := session.current) is not None:
        truth = int(truth_N[item.row])
        if truth == UNKNOWN:
            session.unsure(item.id, annotator="oracle", origin="oracle")
        else:
            session.label(item.id, session.classes[truth], annotator="oracle", origin="oracle")
        if session.recipe.query.between != "round":
            session.refresh_answers()
        if session.recipe.query.between != "round":
            session.refresh_answers()  # as on the screen, the next item follows from this label


def play(
    session: Session, labels: Sequence[int], answer: Callable[[int], None], report: Report | None = None
) -> Iterator[int]:
    """Answer up to each number of labels and train; yield the number of each round, those of an earlier run first.

    Only the last round's model is in use, so a caller measures it before asking for the next number.
    """
    session.map_pool(report or ignore)
    for number, wanted in enumerate(labels, start=1):
        if len(session.rounds) < number:
            before = len(session.labels())
            answer(wanted)
            if number > 1 and len(session.labels()) == before:
                return  # nothing is left to ask
            # in the app the item in front stays there; here it would be an old pick among the new ones
            session.put_back()
            session.run_round(report)
        yield number


def run(
    session: Session,
    truth_N: np.ndarray,
    *,
    init: int,
    query: int,
    rounds: int,
    test: TestSet | None = None,
    told: Callable[[CurvePoint], None] | None = None,
    report: Report | None = None,
) -> tuple[CurvePoint, ...]:
    """Run `rounds` queries and rounds + 1 trainings; a run that was interrupted goes on where it stopped.

    Parameters
    ----------
    session : Session
        With the recipe to use.
    truth_N : ndarray
        Class number of every item, -1 where it is not known.
    init, query : int
        Labels before the first training, and before each further one.
    rounds : int
        Number of queries.
    test : TestSet, optional
        Items to measure each model on.
    told : callable, optional
        Called with each round's point when it is measured.
    report : callable, optional
        Progress.
    """
    return run_rounds(
        session,
        [init + k * query for k in range(rounds + 1)],
        lambda labels: answer(session, truth_N, labels),
        lambda: measure(session, truth_N, test, report),
        told,
        report,
    )


def run_rounds(
    session: Session,
    labels: Sequence[int],
    answer: Callable[[int], None],
    measure: Callable[[], dict[str, Any]],
    told: Callable[[CurvePoint], None] | None = None,
    report: Report | None = None,
) -> tuple[CurvePoint, ...]:
    """Train at each number of labels, however they are answered and measured: the loop of `run`."""
    for number in play(session, labels, answer, report):
        metrics = session.rounds[-1].record["metrics"]
        if number == len(session.rounds) and not any(name.startswith("pool_") for name in metrics):
            session.add_metrics(number, measure())
        if told:
            told(session.curve[number - 1])
    return session.curve
