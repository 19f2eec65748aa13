"""Prints the runs of tomograms.sh as Markdown tables: python docs/benchmarks/table.py docs/benchmarks/tomograms."""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def _cell(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main(folder: Path) -> None:
    """Print mean ± standard deviation over seeds, for the test set, the pool, and the pool's tomograms at the end."""
    runs: dict[str, list[list[dict]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        runs[path.stem.rpartition("_")[0]].append(json.loads(path.read_text()))
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
        groups = ", ".join(f"{g} {_cell([p['pool_accuracy_by_group'][g] for p in last])}" for g in last[0]["pool_accuracy_by_group"])
        print(f"- {name} after {last[0]['labels']} labels: test {_cell([p['test_accuracy'] for p in last])}; pool by tomogram: {groups}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
