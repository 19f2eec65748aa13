"""From JSON lines to tables and figures: who needs how many labels, and how sure that is."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.files import new_file
from tomotutor.benchmark import plots
from tomotutor.benchmark.cell import Line
from tomotutor.benchmark.metrics import aubc, labels_to_target
from tomotutor.benchmark.results import Runs, accuracy, classes_named, gap, measure_of, penalties, read_runs, target_of
from tomotutor.benchmark.statistics import bootstrap_interval, holm, paired_t, sign_flip
from tomotutor.export import figures

Table = list[list[str]]


def _spread(values: Sequence[float], digits: int = 3) -> str:
    text = f"{statistics.mean(values):.{digits}f}"
    return text + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def curve_table(runs: Runs, value: Callable[[Line], float]) -> Table:
    """Return mean ± standard deviation over seeds at each budget, with the area under the curve."""
    table = [["method", "seeds", *map(str, runs.labels_B), "AUBC"]]
    for method in runs.lines:
        values_SB = runs.values(method, value)
        area = [aubc(runs.labels_B, values_B) for values_B in values_SB]
        table.append([method, str(len(values_SB)), *(_spread(list(column)) for column in values_SB.T), _spread(area)])
    return table


def _areas(runs: Runs, method: str) -> dict[int, float]:
    return {
        seed: aubc(runs.labels_B, np.array([accuracy(line) for line in lines]))
        for seed, lines in runs.lines[method].items()
    }


def significance_table(runs: Runs) -> Table:
    """Return the tests of our method against the comparators that were named beforehand: area under the accuracy curve,
    paired by seed.
    """
    ours, *others = [name for name in runs.first["named"] if name in runs.lines] or [""]
    rows, p_t, p_flip = [], [], []
    for other in others:
        a, b = _areas(runs, ours), _areas(runs, other)
        seeds = sorted(set(a) & set(b))
        if len(seeds) < 2:
            continue
        difference_N = np.array([a[seed] - b[seed] for seed in seeds])
        t, p = paired_t(difference_N)
        low, high = bootstrap_interval(difference_N)
        p_t.append(p)
        p_flip.append(sign_flip(difference_N))
        rows.append(
            [
                f"{ours} − {other}",
                str(len(seeds)),
                f"{difference_N.mean():+.4f}",
                f"{low:+.4f} … {high:+.4f}",
                f"{t:.2f}",
            ]
        )
    header = [
        "AUBC",
        "seeds",
        "difference",
        "95 % bootstrap",
        "t",
        "p (t)",
        "p (sign flip)",
        "p (t, Holm)",
        "p (sign flip, Holm)",
    ]
    columns = zip(p_t, p_flip, holm(p_t), holm(p_flip), strict=True)
    return [header, *([*row, *(f"{p:.4f}" for p in found)] for row, found in zip(rows, columns, strict=True))]


def target_table(runs: Runs) -> Table:
    """Return the labels each method needs for the target, and their share of what random needs: median over seeds."""
    target, _ = target_of(runs)
    needed: dict[str, list[float]] = {}
    for method, seeds in runs.lines.items():
        found = [
            labels_to_target(runs.labels_B, np.array([accuracy(line) for line in lines]), target)
            for lines in seeds.values()
        ]
        needed[method] = [float("inf") if labels is None else labels for labels in found]
    random = statistics.median(needed["random"]) if "random" in needed else float("inf")
    table = [["method", "seeds", "labels", "of random's", "never reached"]]
    for method, labels in needed.items():
        middle = statistics.median(labels)
        reached = (
            f"{'≤ ' if middle == runs.labels_B[0] else ''}{middle:.0f}"
            if np.isfinite(middle)
            else f"> {runs.labels_B[-1]}"
        )
        share = f"{middle / random:.2f}" if np.isfinite(middle) and np.isfinite(random) else "–"
        table.append([method, str(len(labels)), reached, share, str(sum(not np.isfinite(v) for v in labels))])
    return table


def class_table(runs: Runs) -> Table:
    """Return each class's accuracy after the last round, mean over seeds."""
    classes = runs.first["classes"]
    names = {"balanced_accuracy": "balanced", "macro_f1": "macro-F1", "ece": "ECE"}
    further = {key: name for key, name in names.items() if key in runs.first}
    table = [["method", *classes, *further.values()]]
    for method in runs.lines:
        last = runs.last(method)
        means = []
        for number in range(len(classes)):
            known = [line["per_class"][number] for line in last if line["per_class"][number] is not None]
            means.append(f"{statistics.mean(known):.3f}" if known else "–")
        table.append([method, *means, *(_spread([line[key] for line in last]) for key in further)])
    return table


def time_table(runs: Runs) -> Table:
    """Return the seconds of a round: training, scoring, selecting, measuring; mean over rounds and seeds."""
    parts = ("train", "score", "select", "measure")
    table = [["method", *(f"{part} (s)" for part in parts), "device"]]
    for method, seeds in runs.lines.items():
        lines = [line for found in seeds.values() for line in found]
        means = [statistics.mean(line["seconds"][part] for line in lines) for part in parts]
        table.append(
            [method, *(f"{mean:.3g}" for mean in means), "; ".join(sorted({line["compute"] for line in lines}))]
        )
    return table


def picks_table(runs: Runs) -> Table:
    """Return the teacher's accuracy on what it asks next, and picks among the top M by true-label gradient norm,
    against chance.
    """
    table = [["method", "accuracy on picks", "high-gradient picks", "chance", "z"]]
    for method, seeds in runs.lines.items():
        lines = [line for found in seeds.values() for line in found]
        picked = [line["pick_accuracy"] for line in lines if "pick_accuracy" in line]
        hits = [line["gradient"] for line in lines if "gradient" in line]
        cells = ["–", "–", "–"]
        if hits:
            z = sum(hit["z"] for hit in hits) / len(hits) ** 0.5  # Stouffer
            cells = [f"{statistics.mean(hit['hits'] for hit in hits):.1f} of {hits[0]['picks']}"]
            cells += [f"{statistics.mean(hit['chance'] for hit in hits):.1f}", f"{z:+.1f}"]
        table.append([method, f"{statistics.mean(picked):.3f}" if picked else "–", *cells])
    return table


def errors_table(runs: Runs) -> Table:
    """Return how well disagreement and entropy tell the teacher's errors among the candidates, at the first and the
    last budget.
    """
    budgets = (0, -1)
    table = [
        ["method", *(f"{name}, {runs.labels_B[b]} labels" for name in ("disagreement", "entropy") for b in budgets)]
    ]
    for method, seeds in runs.lines.items():
        row = [method]
        for name in ("disagreement", "entropy"):
            for b in budgets:
                found = [lines[b].get("errors", {}).get(name) for lines in seeds.values()]
                known = [value for value in found if value is not None]
                row.append(_spread(known) if known else "–")
        if set(row[1:]) != {"–"}:
            table.append(row)
    return table


def deeper_table(runs: Runs) -> Table:
    """Return the accuracy of a deeper network trained on the final labels."""
    table = [["method", "seeds", "network", "its accuracy", "the teacher's"]]
    for method in runs.lines:
        last = [line for line in runs.last(method) if "deeper" in line]
        if last:
            own, deep = (
                _spread([accuracy(line) for line in last]),
                _spread([line["deeper"]["accuracy"] for line in last]),
            )
            table.append([method, str(len(last)), last[0]["deeper"]["teacher"], deep, own])
    return table


def penalty_table(runs: Runs) -> Table:
    """Return the penalty matrix as text."""
    methods = list(runs.lines)
    rows = [
        [name, *("–" if np.isnan(p) else f"{p:.2f}" for p in row)]
        for name, row in zip(methods, penalties(runs), strict=True)
    ]
    return [["beats at a share of the budgets", *methods], *rows]


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    head, *rows = table
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def summary(runs: Runs) -> str:
    """Return all tables as one Markdown page."""
    first = runs.first
    machine, plan = first["machine"], first["asked"]
    every = [line for seeds in runs.lines.values() for lines in seeds.values() for line in lines] + runs.reference
    commits = ", ".join(sorted({line["commit"] or "no checkout" for line in every}))
    dates = sorted(line["at"][:10] for line in every)
    device = f"{machine['gpu'] or machine['processor']}, {first['compute']}, torch {first['versions']['torch']}"
    parts = [
        f"# {first['experiment']}, {first['scale']}",
        f"`tomotutor bench {first['experiment']} --scale {first['scale']} --data DIR`; "
        f"{dates[0]} to {dates[-1]}, commit {commits}, {device}. "
        f"Pool of {first['pool']} items, test set of {first['test']}, {len(first['classes'])} classes, data "
        f"{first['data']}. "
        f"Recipe {plan['recipe']}, R_U of {first['recipe']['candidate_factor']} M. ± is the standard deviation over "
        "seeds." + (f" {runs.unfinished} unfinished cells are left out." if runs.unfinished else ""),
    ]
    sections: list[tuple[str, Table]] = []
    measured = measure_of(runs)
    title = measured[0].upper() + measured[1:]
    classes = len(first["classes"])
    if runs.reference:
        ceiling = [accuracy(line) for line in runs.reference]
        row = [str(runs.reference[0]["labels"]), str(len(ceiling)), _spread(ceiling)]
        sections.append(("All labels", [["labels", "seeds", measured], row]))
    if runs.lines:
        sections += [
            (f"{title} on the test set", curve_table(runs, accuracy)),
            (
                "Tests against the comparators that the experiment names; every other comparison is descriptive",
                significance_table(runs),
            ),
            (f"Labels to {target_of(runs)[1]}, median over seeds", target_table(runs)),
            ("Pairwise penalty matrix: row beats column, paired t-test, p < 0.05, uncorrected", penalty_table(runs)),
            (f"Gap: {measured} on the labeled items minus {measured} on the test set", curve_table(runs, gap)),
            (
                f"Classes, of {classes}, that have a label",
                curve_table(runs, classes_named) if "labels_per_class" in first else [],
            ),
            (f"{title} by class after {runs.labels_B[-1]} labels", class_table(runs)),
            ("Picks", picks_table(runs)),
            (
                "The teacher's errors among the candidates: area under the ROC of what is to tell them",
                errors_table(runs),
            ),
            ("A deeper network on the final labels", deeper_table(runs)),
            ("Wall time of a round", time_table(runs)),
        ]
    parts += [f"## {title}\n\n{markdown(table)}" for title, table in sections if len(table) > 1]
    return "\n\n".join(parts) + "\n"


_PLAIN = (
    "experiment",
    "scale",
    "method",
    "seed",
    "round",
    "labels",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "ece",
    "train_accuracy",
    "pick_accuracy",
    "pool_accuracy",
    "miou",
    "pixel_accuracy",
    "train_miou",
    "data",
    "commit",
    "compute",
    "at",
)


def csv_rows(runs: Runs) -> list[list[Any]]:
    """Return one row a round, a header in front."""
    classes = runs.first["classes"]
    parts = ("train", "score", "select", "measure")
    kind = "iou" if "miou" in runs.first else "accuracy"
    rows: list[list[Any]] = [[*_PLAIN, *(f"{kind}_{name}" for name in classes), *(f"seconds_{part}" for part in parts)]]
    every = [line for seeds in runs.lines.values() for lines in seeds.values() for line in lines] + runs.reference
    for line in every:
        plain = ["" if line.get(key) is None else line[key] for key in _PLAIN]
        rows.append(
            [*plain, *("" if a is None else a for a in line["per_class"]), *(line["seconds"][part] for part in parts)]
        )
    return rows


def write_comparison(paths: Sequence[Path], out: Path) -> list[Path]:
    """Write rounds.csv, summary.md and the figures, each as PNG and SVG; return what was written."""
    runs = read_runs(paths)
    written = [out / "rounds.csv", out / "summary.md"]
    with new_file(written[0]) as path, path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows(csv_rows(runs))
    with new_file(written[1]) as path:
        path.write_text(summary(runs), encoding="utf-8")
    for name, figure in plots.draw_all(runs).items():
        for suffix in ("png", "svg"):
            written.append(out / f"{name}.{suffix}")
            figures.save(figure, written[-1])
    return written
