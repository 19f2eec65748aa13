"""A simulated annotator of sessions with classes: the truth answers, and accuracy is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report
from tomotutor.data.pool import Pool
from tomotutor.data.sources.array import load_array
from tomotutor.export import figures
from tomotutor.export.lists import write_predictions
from tomotutor.formats.label_csv import LabelRow, read_labels
from tomotutor.session import Session

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
            session.refresh_answers()  # as on the screen, the next item follows from this label


def write_report(folder: Path, session: Session, truth_N: np.ndarray) -> list[Path]:
    """Write learning_curve.png, confusion.png (of what was predicted, not labeled), queue.png and predictions.csv."""
    predictions = session.predictions()
    written = [folder / name for name in ("learning_curve.png", "confusion.png", "queue.png", "predictions.csv")]
    figures.save(figures.learning_curve(session.curve), written[0])
    rest = (truth_N != UNKNOWN) & ~predictions.labeled_N
    title = f"predicted items ({int(rest.sum())} of {len(truth_N)})"
    figures.save(figures.confusion(truth_N[rest], predictions.class_N[rest], session.classes, title), written[1])
    most = [row for row in np.argsort(-predictions.disagreement_N, kind="stable") if not predictions.labeled_N[row]][
        :24
    ]
    titles = [
        f"{session.pool.ids[r]}\n{session.classes[predictions.class_N[r]]} · {predictions.disagreement_N[r]:.2f}"
        for r in most
    ]
    items = session.pool.read(np.array(most, dtype=np.int64))
    figures.save(figures.montage(items, titles, "most disputed: predicted class · KL(teacher ‖ student)"), written[2])
    write_predictions(written[3], session.pool.ids, predictions, session.classes)
    return written


@dataclass
class ClassOracle:
    """See `tomotutor.oracle.play.Oracle`."""

    session: Session
    truth_N: np.ndarray
    test: TestSet | None = None

    def test_on(self, pool: Pool) -> None:
        """Test on a data set that has its truth."""
        self.test = TestSet(pool, pool_truth(pool, self.session.classes))

    def test_on_session(self, other: Session, oracle: str) -> None:
        """Test on the items of another session."""
        self.test = TestSet(other.pool, read_truth(other, oracle, self.session.classes))

    def hold_out(self, fraction: float) -> None:
        """Test on a share of the session's own items."""
        self.test = draw_test_set(self.session, self.truth_N, fraction)

    def check(self) -> None:
        """Take any session."""

    def answer(self, labels: int) -> None:
        """Answer the queue until there are so many labels."""
        answer(self.session, self.truth_N, labels)

    def measure(self, report: Report | None) -> dict[str, Any]:
        """Measure the model in use."""
        return measure(self.session, self.truth_N, self.test, report)

    def write_report(self, folder: Path) -> list[Path]:
        """Write pictures and predictions."""
        return write_report(folder, self.session, self.truth_N)
