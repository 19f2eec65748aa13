"""Prints the runs of tomograms.sh as Markdown tables and draws them beside: python docs/benchmarks/summary.py
docs/benchmarks/tomograms.
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def draw(runs: dict[str, list[list[dict]]], target: Path) -> None:
    """Draw accuracy on the test set against labels: mean and single seeds, with the model of all labels as a line."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    ceiling = statistics.mean(c[-1]["test_accuracy"] for c in runs["all_labels"])
    axes.axhline(
        ceiling, color="gray", linestyle=":", label=f"trained on all {runs['all_labels'][0][-1]['labels']} labels"
    )
    for name, colour in (("random", "tab:orange"), ("teacher_student", "tab:blue")):
        curves = runs[name]
        labels = [p["labels"] for p in curves[0]]
        for curve in curves:
            axes.plot(labels, [p["test_accuracy"] for p in curve], color=colour, alpha=0.3, linewidth=1)
        mean = [
            statistics.mean(points) for points in zip(*([p["test_accuracy"] for p in c] for c in curves), strict=True)
        ]
        axes.plot(labels, mean, "o-", color=colour, label=f"{name} (mean of {len(curves)} seeds)")
    axes.set(
        xlabel="labels",
        ylabel="accuracy on other tomograms",
        title="Simulated tomograms, 7 complexes and false picks",
        ylim=(0.8, 1),
    )
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(target, dpi=150)


def main(folder: Path) -> None:
    """Print mean ± standard deviation over seeds, for the test set, the pool, and the pool's tomograms at the end."""
    runs: dict[str, list[list[dict]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        runs[path.stem.rpartition("_")[0]].append(json.loads(path.read_text()))
    draw(runs, folder / "accuracy.png")
    labels = sorted({p["labels"] for name, curves in runs.items() if name != "all_labels" for c in curves for p in c})
    for key, title in (("test_accuracy", "fixed test set"), ("pool_accuracy", "final answer for the pool")):
        print(f"| {title} | seeds | {' | '.join(map(str, labels))} |")
        print(f"|---|---|{'---|' * len(labels)}")
        for name, curves in runs.items():
            if name == "all_labels":
                continue
            cells = [_cell([p[key] for c in curves for p in c if p["labels"] == n]) for n in labels]
            print(f"| {name} | {len(curves)} | {' | '.join(cells)} |")
        print()
    for name, curves in runs.items():
        last = [c[-1] for c in curves]
        groups = ", ".join(
            f"{g} {_cell([p['pool_accuracy_by_group'][g] for p in last])}" for g in last[0]["pool_accuracy_by_group"]
        )
        print(
            f"- {name} after {last[0]['labels']} labels: test {_cell([p['test_accuracy'] for p in last])}; pool by "
            f"tomogram: {groups}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
