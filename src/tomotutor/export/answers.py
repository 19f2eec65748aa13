"""The answers of a session as files, and those of its model for other items: a class for each item, or a mask."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report, ignore
from tomotutor.data.sources import Opened
from tomotutor.export.averages import write_averages
from tomotutor.export.lists import export_list, export_masks, write_predictions
from tomotutor.formats.particles.lists import format_of
from tomotutor.learn.results import Predictions, predictions_from
from tomotutor.session import Session
from tomotutor.session.model import TrainedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """Which answers are written.

    Attributes
    ----------
    labeled_only : bool
        Labels alone.
    min_confidence : float
        Predictions that are less sure are left out; labels stay.
    """

    labeled_only: bool = False
    min_confidence: float = 0.0


@dataclass(frozen=True)
class Writer:
    """How the answers of a task are written.

    Attributes
    ----------
    table : callable
        Session, CSV file and report to what was written, the table first.
    export : callable
        Session, folder, format, whether to write a list per class, what to keep, and report to what was written.
    apply : callable
        Model, other input, folder, whether to write a list per class, and report to what was written.
    """

    table: Callable[[Session, Path, Report], list[Path]]
    export: Callable[[Session, Path, str, bool, Chosen, Report], list[Path]]
    apply: Callable[[TrainedModel, Opened, Path, bool, Report], list[Path]]


def _class_table(session: Session, path: Path, report: Report) -> list[Path]:
    write_predictions(path, session.ids, answers_for(session, report=report), session.classes)
    return [path]


def answers_for(
    session: Session, *, labeled_only: bool = False, min_confidence: float = 0.0, report: Report = ignore
) -> Predictions:
    """Return the answers that are to be written; others are left out. Labels alone need no model.

    They are those on the screen: of the fast head, which knows every label of today, also those since the last round.
    Where there is none, or rounds alone rank (`between = "round"`), the last round's model answers.

    Raises
    ------
    TomoTutorError
        There is no model yet, or nothing is left.
    """
    if labeled_only and not session.rounds:
        number_of = {name: n for n, name in enumerate(session.classes)}
        label_N = np.full(len(session.ids), -1)
        for row, name in session.labels().items():
            label_N[row] = number_of[name]
        label_N = label_N[session.state.twin_N]
        return Predictions(label_N, np.ones(len(label_N)), np.zeros(len(label_N)), label_N >= 0)
    found = _head_answers(session) or session.predictions(report)
    return found.only(found.labeled_N | (~np.bool_(labeled_only) & (found.confidence_N >= min_confidence)))


def _head_answers(session: Session) -> Predictions | None:
    """Return what the fast head answers; None where there is none on the networks in use, or where rounds answer."""
    from tomotutor.learn.head import answer

    if session.rounds and session.recipe.query.between == "round":
        return None
    fitted = session.answering.today()
    if fitted is None:
        return None
    embedding, asked = fitted.embedding, fitted.asked
    found = answer(  # not the answers on the screen, which hide what is asked blind
        fitted.teacher,
        fitted.student,
        embedding.teacher_ND,
        embedding.student_ND,
        source=fitted.answers.source,
        version=asked.version,
        label_rows=asked.given_rows,
        label_M=asked.given_M,
    )
    return Predictions(found.class_N, found.confidence_N, found.disagreement_N, found.labeled_N)


def _needed(found: Predictions) -> Predictions:
    if not (found.class_N >= 0).any():
        raise TomoTutorError("export: no particle is left; lower the least confidence, or label some")
    return found


def _export_classes(
    session: Session, folder: Path, kind: str, per_class: bool, chosen: Chosen, report: Report
) -> list[Path]:
    lists = [one for one in session.inputs if one[1].kind == "particles"]
    if kind == "averages":
        return _export_averages(session, folder, chosen, report)
    if kind != "csv" and not lists:
        raise TomoTutorError(
            f"export: the session did not come from a particle list, which --format {kind} needs; use --format csv"
        )
    predictions, written = _needed(answers_for(session, **asdict(chosen), report=report)), list[Path]()
    if kind == "csv":  # the table says it all; a list that is CSV itself is written again beside it
        written = [folder / "predictions.csv"]
        write_predictions(written[0], session.ids, predictions, session.classes)
        lists = [one for one in lists if format_of(one[1].file) == "csv"]
    for prefix, source, rows in lists:
        ids, own = session.ids[rows], predictions.take(rows)
        written += export_list(folder / prefix, source, kind, ids, own, session.classes, per_class=per_class)
    return written


def _export_averages(session: Session, folder: Path, chosen: Chosen, report: Report) -> list[Path]:
    predictions = _needed(answers_for(session, **asdict(chosen), report=report))
    if not np.isfinite(session.pool.angles_deg_N3).all():
        log.warning("the input has no angles, so the particles are averaged as they lie")
    return write_averages(folder, session.pool, predictions, session.classes, report)


def _apply_classes(model: TrainedModel, opened: Opened, folder: Path, per_class: bool, report: Report) -> list[Path]:
    predictions: Predictions = model.predict(opened.pool, report)
    written = [folder / "predictions.csv"]
    write_predictions(written[0], opened.pool.ids, predictions, model.names_today)
    if opened.source.kind == "particles":
        kind = format_of(opened.source.file)
        ids = opened.pool.ids
        written += export_list(folder, opened.source, kind, ids, predictions, model.names_today, per_class=per_class)
    return written


def _mask_table(session: Session, path: Path, report: Report) -> list[Path]:
    folder = path.with_name(f"{path.stem}_masks")
    return export_masks(folder, session.ids, session.predict_masks, report, path)


def _export_masks(
    session: Session, folder: Path, kind: str, per_class: bool, chosen: Chosen, report: Report
) -> list[Path]:
    if chosen != Chosen():
        raise TomoTutorError(
            "export: masks are written of all images; choose labels and predictions, without a threshold"
        )
    if kind != "csv":
        raise TomoTutorError(
            f"export: the answers of this session are masks, which --format {kind} cannot hold; use --format csv"
        )
    return export_masks(folder / "masks", session.ids, session.predict_masks, report, folder / "predictions.csv")


def _apply_masks(model: TrainedModel, opened: Opened, folder: Path, per_class: bool, report: Report) -> list[Path]:
    def predict(each: Callable[[int, np.ndarray], None], report: Report) -> Predictions:
        return predictions_from(model.score_masks(opened.pool, each, report), np.full(len(opened.pool), -1))

    table = folder / "predictions.csv"
    return export_masks(folder / "masks", opened.pool.ids, predict, report, table)[:1]


WRITERS = {
    "classification": Writer(_class_table, _export_classes, _apply_classes),
    "segmentation": Writer(_mask_table, _export_masks, _apply_masks),
}


def write_table(session: Session, path: Path, report: Report) -> list[Path]:
    """Write the answer for every item as a CSV table; in segmentation also the masks, into `<table>_masks`."""
    return WRITERS[session.recipe.task].table(session, path, report)


def export(
    session: Session,
    folder: Path,
    kind: str,
    *,
    per_class: bool,
    report: Report,
    labeled_only: bool = False,
    min_confidence: float = 0.0,
) -> list[Path]:
    """Write the answers of a session in some format; the session may be open in another program meanwhile.

    Parameters
    ----------
    session : Session
        May be open for looking.
    folder : Path
        Made if missing.
    kind : str
        A particle list format, "csv" or "averages".
    per_class : bool
        Also write one list per class.
    report : callable
        Progress.
    labeled_only, min_confidence
        What is left out, see `Chosen`.
    """
    chosen = Chosen(labeled_only, min_confidence)
    return WRITERS[session.recipe.task].export(session, folder, kind, per_class, chosen, report)


def apply(model: TrainedModel, opened: Opened, folder: Path, *, per_class: bool, report: Report) -> list[Path]:
    """Write what a session's model says of another input, in that input's own format."""
    return WRITERS[model.recipe.task].apply(model, opened, folder, per_class, report)
