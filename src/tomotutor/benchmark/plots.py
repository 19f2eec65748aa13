"""Figures of an experiment, arranged as in the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tomotutor.benchmark.cell import Line
from tomotutor.benchmark.results import Runs, accuracy, gap, measure_of, penalties

MARKERS = "osv^D<>Phd*X"


def _styles(runs: Runs) -> dict[str, dict[str, object]]:
    """Return how each method is drawn, the same in every figure: ours thick, the methods it is tested against solid,
    others dashed.
    """
    colours = [to_hex(c) for c in colormaps["tab20"].colors]  # type: ignore[attr-defined]
    colours = [*colours[::2], *colours[1::2]]
    styles: dict[str, dict[str, object]] = {}
    for number, method in enumerate(runs.lines):
        ours, compared = number == 0, method in runs.first["named"]
        styles[method] = {
            "color": colours[number % len(colours)],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 4,
            "linewidth": 2.4 if ours else 1.4,
            "linestyle": "-" if ours or compared else "--",
            "zorder": 3 if ours else 2,
        }
    return styles


def curves(runs: Runs, value: Callable[[Line], float], name: str, ceiling: float | None = None) -> Figure:
    """Draw a value against labels: mean over seeds; ours and what it is tested against with a band of one standard
    deviation.
    """
    figure = Figure(figsize=(7.4, 4.6), layout="constrained")
    axes = figure.subplots()
    for method, style in _styles(runs).items():
        values_SB = runs.values(method, value)
        mean_B = values_SB.mean(0)
        axes.plot(runs.labels_B, mean_B, label=f"{method} ({len(values_SB)})", **style)  # type: ignore[arg-type]
        if len(values_SB) > 1 and style["linestyle"] == "-":  # bands of all would hide each other
            deviation_B = values_SB.std(0, ddof=1)
            axes.fill_between(
                runs.labels_B,
                mean_B - deviation_B,
                mean_B + deviation_B,
                color=str(style["color"]),
                alpha=0.12,
                linewidth=0,
            )
    if ceiling is not None:
        axes.axhline(ceiling, color="gray", linestyle=":", label="all labels")
    axes.set_xlabel("labels")
    axes.set_ylabel(name)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(
        loc="outside right upper", fontsize="small", title="method (seeds)", title_fontsize="small", frameon=False
    )
    return figure


def _grid(
    axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], colours: str, digits: int
) -> None:
    """Draw a matrix with its numbers in the cells."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    axes.imshow(values, cmap=colours, vmin=low, vmax=max(high, low + 1e-9), aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    for (i, j), number in np.ndenumerate(values):
        if np.isfinite(number):
            dark = (number - low) > 0.6 * (high - low) and high > low
            axes.text(
                j,
                i,
                f"{number:.{digits}f}",
                ha="center",
                va="center",
                fontsize="small",
                color="white" if dark else "black",
            )


def penalty(runs: Runs) -> Figure:
    """Draw the pairwise penalty matrix, with the mean of each column below: how much a method is beaten."""
    methods, matrix = list(runs.lines), penalties(runs)
    others = np.where(np.eye(len(methods), dtype=bool), np.nan, matrix)
    # a method that shares no seeds with any other has no mean
    mean = [float(np.mean(c[np.isfinite(c)])) if np.isfinite(c).any() else np.nan for c in others.T]
    size = 2.6 + 0.55 * len(methods)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    _grid(axes, np.vstack([matrix, mean]), [*methods, "mean: is beaten"], methods, "Blues", 2)
    axes.axhline(len(methods) - 0.5, color="black", linewidth=1)
    axes.set_title(
        "share of budgets at which row beats column\n(paired t-test over seeds, p < 0.05, uncorrected)",
        fontsize="medium",
    )
    return figure


def table(runs: Runs, values: np.ndarray, columns: Sequence[str], title: str, digits: int = 3) -> Figure:
    """Draw a table of one row a method."""
    methods = list(runs.lines)
    figure = Figure(figsize=(2.6 + 0.62 * len(columns), 1.8 + 0.36 * len(methods)), layout="constrained")
    axes = figure.subplots()
    _grid(axes, values, methods, columns, "Blues", digits)
    axes.set_title(title, fontsize="medium")
    return figure


def class_accuracy(runs: Runs) -> np.ndarray:
    """Return (methods, classes) accuracy after the last round, mean over the seeds that have one; NaN
    where none has.
    """
    last = [np.array([line["per_class"] for line in runs.last(method)], np.float64) for method in runs.lines]
    known = [np.isfinite(values_SC).sum(0) for values_SC in last]
    return np.array(
        [
            np.where(n, np.nansum(values_SC, 0) / np.maximum(n, 1), np.nan)
            for values_SC, n in zip(last, known, strict=True)
        ]
    )


def picks_map(runs: Runs) -> Figure | None:
    """Draw the first seed's map of each method after its last round: candidates by class, picks ringed; None without
    maps.
    """
    maps = {}
    for method, seeds in runs.lines.items():
        found = [line["map"] for line in next(iter(seeds.values())) if "map" in line]
        if found:
            maps[method] = found[-1]
    if not maps:
        return None
    across = min(3, len(maps))
    down = -(-len(maps) // across)
    figure = Figure(figsize=(3.6 * across, 3.4 * down + 0.4), layout="constrained")
    kinds = sorted({found["method"] for found in maps.values()})
    figure.suptitle(
        f"picks (ringed) among the candidates, by true class: {', '.join(kinds)} of the teacher's embedding",
        fontsize="medium",
    )
    panels = figure.subplots(down, across, squeeze=False).flat
    for axes in panels:
        axes.axis("off")
    for axes, (method, found) in zip(figure.axes, maps.items(), strict=False):
        x, y = np.array(found["xy"]).T
        axes.scatter(x, y, c=found["class"], cmap="tab20", s=9, alpha=0.7, linewidths=0)
        axes.scatter(
            x[: found["picked"]], y[: found["picked"]], s=34, facecolors="none", edgecolors="black", linewidths=0.8
        )
        axes.set_title(method, fontsize="small")
    return figure


def draw_all(runs: Runs) -> dict[str, Figure]:
    """Return every figure that the runs have data for, by file name."""
    if not runs.lines:
        return {}
    ceiling = float(np.mean([accuracy(line) for line in runs.reference])) if runs.reference else None
    labels = [str(n) for n in runs.labels_B]
    gaps = np.array([runs.values(method, gap).mean(0) for method in runs.lines])
    name = measure_of(runs)
    found = {
        "accuracy": curves(runs, accuracy, f"{name} on the test set", ceiling),
        "gap": table(runs, gaps, labels, f"{name} on the labeled items minus on the test set, by labels"),
        "classes": table(
            runs, class_accuracy(runs), runs.first["classes"], f"{name} by class after {runs.labels_B[-1]} labels"
        ),
        "penalty": penalty(runs),
    }
    if "balanced_accuracy" in runs.first:
        found["balanced_accuracy"] = curves(
            runs, lambda line: float(line["balanced_accuracy"]), "balanced accuracy on the test set"
        )
    picked = picks_map(runs)
    return {**found, "picks": picked} if picked else found
