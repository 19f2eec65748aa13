"""The rounds of a run as a table."""

from __future__ import annotations

from collections.abc import Sequence

from tomotutor.oracle.pages import TARGETS
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
