"""The JSON lines of an experiment, read back: finished runs by method and seed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.benchmark.cell import Line, read_lines
from tomotutor.benchmark.experiment import REFERENCE
from tomotutor.benchmark.statistics import penalty_matrix

TARGET = 0.9  # of the accuracy with all labels


@dataclass(frozen=True)
class Runs:
    """The finished cells of one experiment.

    Attributes
    ----------
    lines : dict
        Method to seed to its lines, by round; without the training on all labels.
    reference : list of dict
        The trainings on all labels, one line a seed.
    unfinished : int
        Cells left out because rounds are missing.
    """

    lines: dict[str, dict[int, list[Line]]]
    reference: list[Line]
    unfinished: int

    @property
    def first(self) -> Line:
        """Any line, for what all have in common."""
        return self.reference[0] if not self.lines else next(iter(next(iter(self.lines.values())).values()))[0]

    @property
    def labels_B(self) -> np.ndarray:
        """Labels of the rounds."""
        return np.array([line["labels"] for line in next(iter(next(iter(self.lines.values())).values()))])

    def values(self, method: str, value: Callable[[Line], float]) -> np.ndarray:
        """Return (seeds, B) values of a method."""
        return np.array([[value(line) for line in lines] for lines in self.lines[method].values()], np.float64)

    def last(self, method: str) -> list[Line]:
        """Return the last round of each seed."""
        return [lines[-1] for lines in self.lines[method].values()]


def measure_of(runs: Runs) -> str:
    """Return what `accuracy` is, for people."""
    return "mean IoU" if "miou" in runs.first else "accuracy"


def accuracy(line: Line) -> float:
    """On the test set; in segmentation mean IoU."""
    return float(line["miou"] if "miou" in line else line["accuracy"])


def gap(line: Line) -> float:
    """Accuracy (or mean IoU) on the labeled items minus that on the test set."""
    return float(line["train_miou" if "miou" in line else "train_accuracy"]) - accuracy(line)


def classes_named(line: Line) -> float:
    """Return the number of classes that have a label."""
    return float(sum(count > 0 for count in line["labels_per_class"]))


def read_runs(paths: Sequence[Path]) -> Runs:
    """Read the lines of one experiment from files, or from all *.jsonl files of folders.

    Raises
    ------
    TomoTutorError
        No finished cell, several experiments or data sets, or a round that is there twice and differs.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    found: dict[tuple[str, int], dict[int, Line]] = defaultdict(dict)
    kinds = set()
    for file in files:
        if not file.is_file():
            raise TomoTutorError(f"{file}: no such file")
        for line in read_lines(file):
            try:
                key, number = (line["method"], line["seed"]), line["round"]
                budgets = f"{', '.join(map(str, line['asked']['budgets']))} labels"
                kinds.add((line["experiment"], line["scale"], line["data"], budgets))
            except KeyError as problem:
                raise TomoTutorError(
                    f"{file}: a line has no {problem}; expected lines that tomotutor bench wrote"
                ) from None
            if found[key].setdefault(number, line) != line:
                raise TomoTutorError(
                    f"{file}: round {number} of {key[0]} with seed {key[1]} is there twice, and differs"
                )
    if len(kinds) > 1:
        names = ", ".join(" ".join(kind) for kind in sorted(kinds))
        raise TomoTutorError(f"{files[0].parent}: lines of different experiments ({names}); give one at a time")
    whole = {key: rounds for key, rounds in found.items() if len(rounds) == next(iter(rounds.values()))["rounds"]}
    if not whole:
        raise TomoTutorError(
            f"{paths[0]}: no finished cell among {len(files)} files; run tomotutor bench to its end first"
        )
    lines: dict[str, dict[int, list[Line]]] = defaultdict(dict)
    for (method, seed), rounds in sorted(whole.items(), key=lambda pair: pair[0][1]):
        lines[method][seed] = [rounds[number] for number in sorted(rounds)]
    reference = [rounds[0] for rounds in lines.pop(REFERENCE, {}).values()]
    named = next(iter(whole.values()))[1]["named"]
    order = sorted(lines, key=lambda method: named.index(method) if method in named else len(named))
    return Runs({method: lines[method] for method in order}, reference, len(found) - len(whole))


def target_of(runs: Runs) -> tuple[float, str]:
    """Return the accuracy to reach and what it is."""
    if runs.reference:
        ceiling = statistics.mean(map(accuracy, runs.reference))
        return (
            TARGET * ceiling,
            f"{TARGET:.0%} of the {measure_of(runs)} with all {runs.reference[0]['labels']} labels ({ceiling:.3f})",
        )
    name = "random" if "random" in runs.lines else next(iter(runs.lines))
    return statistics.mean(map(accuracy, runs.last(name))), f"the final {measure_of(runs)} of {name}"


def penalties(runs: Runs) -> np.ndarray:
    """Return the pairwise penalty matrix of the methods, in their order."""
    return penalty_matrix(
        [
            {seed: np.array([accuracy(line) for line in lines]) for seed, lines in seeds.items()}
            for seeds in runs.lines.values()
        ]
    )
