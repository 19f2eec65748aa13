"""What a run leaves behind: a table, pictures, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomotutor.export import figures
from tomotutor.export.lists import write_predictions
from tomotutor.oracle.classes import UNKNOWN
from tomotutor.oracle.pages import TARGETS
from tomotutor.session import Session
from tomotutor.session.status import CurvePoint


def table(curve: Sequence[CurvePoint]) -> str:
    """Return the rounds as a Markdown table; "to 0.95" is the number of decisions after which so many answers of the
    pool were right for the first time.
    """
    groups = sorted({g for p in curve for g in p.metrics.get("pool_accuracy_by_group", {})})
    kind = "miou" if any("pool_miou" in p.metrics for p in curve) else "accuracy"
    has_test = any(f"test_{kind}" in p.metrics for p in curve)
    audits = ["audit", "interval", "n"] if kind == "accuracy" else []
    unit = " mIoU" if kind == "miou" else ""
    counts = [t for t in ("decisions", *(f"to {t:g}" for t in TARGETS)) if any("decisions" in p.metrics for p in curve)]
    header = ["round", "labels", *counts, *audits] + [f"test{unit}"] * has_test + [f"pool{unit}", *groups, "seconds"]
    rows = [header, ["---"] * len(header)]
    for p in curve:
        audit, interval = p.audit.accuracy, p.audit.interval
        cells = [str(p.round), str(p.labels)]
        if counts:
            reached = p.metrics.get("reached", {})
            cells += [str(p.metrics.get("decisions", "–")), *(str(reached.get(f"{t:g}", "––")[0]) for t in TARGETS)]
        if audits:
            cells += ["–" if audit is None else f"{audit:.3f}"]
            cells += ["–" if interval is None else f"{interval[0]:.2f}–{interval[1]:.2f}", str(p.audit.n)]
        found = [p.metrics.get(f"test_{kind}")] * has_test + [p.metrics.get(f"pool_{kind}")]
        found += [p.metrics.get("pool_accuracy_by_group", {}).get(g) for g in groups]
        cells += ["–" if value is None else f"{value:.3f}" for value in found]
        rows.append([*cells, f"{sum(p.metrics['seconds'].values()):.0f}"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


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
