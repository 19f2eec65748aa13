"""How good the model is: what the Model page shows, computed off the main thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomotutor.learn.results import PoolMap
from tomotutor.session.answering import Answering, Fitted
from tomotutor.session.audit import AuditFigure
from tomotutor.session.core import Core
from tomotutor.session.many import class_purity
from tomotutor.session.round_folder import read_pool_scores

if TYPE_CHECKING:  # scikit-learn and torch take seconds to import
    from tomotutor.learn.doubts import Doubts
    from tomotutor.learn.estimate import Advice, Estimate


@dataclass(frozen=True)
class Judged:
    """Labels held against models that have not seen them: check particles, and labels left out of a fit.

    Attributes
    ----------
    rows, label_M, predicted_M : ndarray
        Pool rows; class numbers that a person gave, and that such a model says.
    """

    rows: np.ndarray
    label_M: np.ndarray
    predicted_M: np.ndarray

    @staticmethod
    def none() -> Judged:
        """Return it for a session without labels."""
        return Judged(*(np.zeros(0, np.int64) for _ in range(3)))

    def cell(self, label: int, predicted: int) -> np.ndarray:
        """Return the rows of a cell of the confusion matrix."""
        return self.rows[(self.label_M == label) & (self.predicted_M == predicted)]


@dataclass(frozen=True)
class ClassFigures:
    """One class: labels, predictions with their mean confidence, expected recall, and precision as it was checked."""

    name: str
    labels: int
    predictions: int
    confidence: float
    recall: float
    right: int
    checked: int
    low: float
    high: float


@dataclass(frozen=True)
class RoundFigures:
    """One round: labels given when it began, accuracy on audit items, and answers of the pool that are other ones than
    in the round before; None where those were not kept.
    """

    number: int
    labels: int
    audit: AuditFigure
    changed: int | None
    in_use: bool


@dataclass(frozen=True)
class ModelReport:
    """All that the Model page shows; without a head, what speaks of its answers is empty."""

    classes: tuple[str, ...]
    rounds: tuple[RoundFigures, ...]
    judged: Judged
    by_class: tuple[ClassFigures, ...]
    doubts: Doubts | None
    estimate: Estimate | None
    advice: tuple[Advice, ...]
    pool_map: PoolMap | None


def make(core: Core, answering: Answering) -> ModelReport:
    """Compute the report; labels may come meanwhile."""
    from tomotutor.learn.estimate import DOUBTED, advice

    names = core.state.classes.names
    fitted = answering.with_folds() if core.state.labels.one_class else None
    found, doubts = (None, None) if fitted is None else (answering.estimate(), answering.doubts())
    judged = Judged.none()
    if fitted is not None and doubts is not None:
        asked = fitted.asked
        checked_C = fitted.teacher.probs(fitted.embedding.teacher_ND, asked.check_rows)
        judged = Judged(
            np.concatenate([asked.check_rows, doubts.rows]),
            np.concatenate([asked.check_label, doubts.label_L]),
            np.concatenate([checked_C.argmax(1), doubts.predicted_L]),
        )
    with core.guard:
        counts = core.state.labels.count(core.state.given())
    count_C = np.array([counts.get(name, 0) for name in names])
    said = (
        advice(found, count_C, names, doubts=0 if doubts is None else len(doubts.wrong(DOUBTED)))
        if core.state.labels.one_class
        else ()
    )
    return ModelReport(
        names,
        _rounds(core),
        judged,
        _by_class(core, names, count_C, fitted, found),
        doubts,
        found,
        tuple(said),
        _map(answering),
    )


def _by_class(
    core: Core, names: tuple[str, ...], count_C: np.ndarray, fitted: Fitted | None, found: Estimate | None
) -> tuple[ClassFigures, ...]:
    figures = []
    for number, name in enumerate(names):
        members = np.zeros(0, bool)
        confidence = recall = float("nan")
        if fitted is not None:
            members = (fitted.answers.class_N == number) & ~fitted.answers.labeled_N
            if members.any():
                confidence = float(fitted.answers.confidence_N[members].mean())
        if found is not None:
            recall = float(found.recall_C[number])
        pure = class_purity(core.state, name)
        figures.append(
            ClassFigures(
                name,
                int(count_C[number]),
                int(members.sum()),
                confidence,
                recall,
                pure.right,
                pure.n,
                pure.low,
                pure.high,
            )
        )
    return tuple(figures)


def _map(answering: Answering) -> PoolMap | None:
    """Map the newest embedding: its groups on its two first principal axes; None where there is none."""
    from sklearn.decomposition import PCA

    from tomotutor.learn.head import features, pool_mean

    embedding, found = answering.pool_embedding.newest, answering.groups()
    if embedding is None or found is None or len(found[0].rows) < 3:
        return None
    groups = found[0]
    centre_D = pool_mean(embedding.teacher_ND)
    sample = groups.rows[:: max(1, len(groups.rows) // 5000)]
    axes = PCA(2, random_state=0).fit(features(embedding.teacher_ND, sample, centre_D))
    parts = np.array_split(groups.rows, max(1, len(groups.rows) // 8192))
    xy_N2 = np.concatenate([axes.transform(features(embedding.teacher_ND, part, centre_D)) for part in parts])
    return PoolMap(groups.rows, xy_N2.astype(np.float32), groups.group_N, groups.typical())


def _rounds(core: Core) -> tuple[RoundFigures, ...]:
    state, found = core.state, list[RoundFigures]()
    before: np.ndarray | None = None
    for record in state.rounds:
        scores = read_pool_scores(core.folder, record.number, len(state.ids))
        answer_N = None
        if scores is not None:
            names = record.record.get("classes", state.first_classes)
            answer_N = np.array(state.classes.today(names, record.record.get("log", 0)))[
                scores.teacher_probs_NC.argmax(1)
            ]
        changed = None if answer_N is None or before is None else int((answer_N != before).sum())
        before = answer_N
        audit = state.audit_of(record.number)
        found.append(RoundFigures(record.number, record.labels, audit, changed, record.number == state.number))
    return tuple(found)
