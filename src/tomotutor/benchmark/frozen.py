"""`bench frozen`: what the embedding of a start is worth before any training, on complexes that it has never seen.

- Episodes: some labels of each class, the fast head fitted to them, its accuracy on all other items of the set.
- Purity: the share of items that are of the most frequent class of their group of look-alikes.
- Head: the fast head fitted to the first typical items, its accuracy on all others; and to all, in five folds.

The embedding is the mean over the box and its half turns, centred by the mean of the whole set, as in a session. It is
asked of the teacher, of teacher and student side by side, and of these with each item drawn halfway to its nearest
neighbours in the set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.benchmark.answers import GROUPS, Embedded, embed_set, write
from tomotutor.learn.groups import find_groups
from tomotutor.learn.head import FOLDS, fit_head
from tomotutor.learn.start import SHIPPED
from tomotutor.learn.strategies.geometry import squared_distances, unit

SHOTS = (1, 5)  # labels of each class
EPISODES = 20  # a seed
PURITY_GROUPS = (20, 60)
LABELS = (20, 40, 80)  # typical items
NEIGHBOURS = 5
Line = dict[str, Any]


def directions(x_ND: np.ndarray) -> np.ndarray:
    """Return rows that are centred and of length 1, float32."""
    return unit(x_ND.astype(np.float32) - x_ND.astype(np.float32).mean(0))


def pair_of(data: Embedded) -> np.ndarray:
    """Return the embeddings of teacher and student side by side, as directions that count alike."""
    return np.concatenate([directions(data.teacher_ND), directions(data.student_ND)], axis=1)


def towards_neighbours(x_ND: np.ndarray) -> np.ndarray:
    """Return the mean of each row's direction and that of its nearest neighbours' mean, itself left out."""
    x_ND = directions(x_ND)
    near_NK = np.argpartition(squared_distances(x_ND, x_ND) + np.diag(np.full(len(x_ND), np.inf)), NEIGHBOURS)
    return (x_ND + x_ND[near_NK[:, :NEIGHBOURS]].mean(1)) / 2


EMBEDDINGS: dict[str, Callable[[Embedded], np.ndarray]] = {
    "teacher": lambda data: data.teacher_ND,
    "pair": pair_of,
    "pair, neighbours": lambda data: towards_neighbours(pair_of(data)),
}


def accuracy(data: Embedded, rows: np.ndarray, asked: np.ndarray) -> float:
    """Return the head's accuracy on `asked` rows after labels of `rows`; classes without a label count as wrong."""
    head = fit_head(data.teacher_ND, rows, data.truth_N[rows], len(data.classes), temperature=1.0)
    return float((head.probs(data.teacher_ND, asked).argmax(1) == data.truth_N[asked]).mean())


def others(data: Embedded, rows: np.ndarray) -> np.ndarray:
    """Return all other rows."""
    return np.setdiff1d(np.arange(len(data.truth_N)), rows)


def episode(data: Embedded, shots: int, seed: int) -> float:
    """Return the accuracy after `shots` random labels of each class."""
    rng = np.random.default_rng([seed, 0xF07])
    classes = range(len(data.classes))
    rows = np.concatenate([rng.permutation(np.flatnonzero(data.truth_N == c))[:shots] for c in classes])
    return accuracy(data, rows, others(data, rows))


def purity(data: Embedded, groups: int, seed: int) -> float:
    """Return the share of items that are of the most frequent class of their group."""
    found = find_groups(data.teacher_ND, np.arange(len(data.truth_N)), groups, seed)
    most = [np.bincount(data.truth_N[found.members(g)]).max() for g in range(len(found))]
    return float(sum(most) / len(data.truth_N))


def all_labels(data: Embedded, seed: int) -> float:
    """Return the accuracy of heads that each know four fifths of the labels, on the last fifth."""
    order = np.random.default_rng([seed, 0xF08]).permutation(len(data.truth_N))
    parts = np.array_split(order, FOLDS)
    return float(
        np.average([accuracy(data, others(data, part), part) for part in parts], weights=list(map(len, parts)))
    )


def measure(data: Embedded, seed: int) -> Iterator[Line]:
    """Yield all figures of a set for one seed."""
    for shots in SHOTS:
        many = [episode(data, shots, EPISODES * seed + e) for e in range(EPISODES)]
        yield {"what": f"{shots}-shot", "found": float(np.mean(many))}
    for groups in PURITY_GROUPS:
        yield {"what": f"purity, {groups} groups", "found": purity(data, groups, seed)}
    typical = find_groups(data.teacher_ND, np.arange(len(data.truth_N)), GROUPS, seed).typical()
    for labels in LABELS:
        if len(asked := others(data, typical[:labels])):
            yield {"what": f"head, {labels} labels", "found": accuracy(data, typical[:labels], asked)}
    yield {"what": "head, all", "found": all_labels(data, seed)}


def run(data: Path, out: Path, seeds: Sequence[int], tell: Callable[[Line], None], start: Path = SHIPPED) -> None:
    """Measure every set of a folder; write frozen.jsonl and frozen.md.

    Parameters
    ----------
    data : Path
        Folder with a folder or .npz file for each set; docs/benchmarks/frozen_data.sh makes some.
    out : Path
        Folder for the results and for the embeddings, which are made once for each start.
    seeds : sequence of int
        Of episodes, groups and folds.
    tell : callable
        Called with each result.
    start : Path
        Folder of the weights.
    """
    names = sorted({path.parent.name for path in data.glob("*/truth.csv")} | {path.stem for path in data.glob("*.npz")})
    if not names:
        raise TomoTutorError(f"{data}: found no set in it; docs/benchmarks/frozen_data.sh makes them")
    mark = hashlib.sha256((start / "teacher.safetensors").read_bytes()).hexdigest()[:12]
    lines: list[Line] = []
    for name in names:
        whole = embed_set(data, name, out / mark, start=start)
        told = {"start": mark, "set": name, "items": len(whole.truth_N), "classes": len(whole.classes)}
        for embedding, seen in EMBEDDINGS.items():
            data_of = replace(whole, teacher_ND=seen(whole))
            for seed in seeds:
                for line in measure(data_of, seed):
                    found = round(line["found"], 4)
                    lines.append({**told, "embedding": embedding, "seed": seed, **line, "found": found})
                    tell(lines[-1])
    write(out, "frozen", lines, report(lines))


def report(lines: Sequence[Line]) -> str:
    """Return the table as Markdown: mean and standard deviation over seeds."""
    whats = list(dict.fromkeys(line["what"] for line in lines))
    rows = [["set", "items", "classes", "embedding", *whats], ["---"] * (len(whats) + 4)]
    for name, embedding in dict.fromkeys((line["set"], line["embedding"]) for line in lines):
        here = [line for line in lines if (line["set"], line["embedding"]) == (name, embedding)]
        cells = []
        for what in whats:
            found = [line["found"] for line in here if line["what"] == what]
            cells.append(f"{np.mean(found):.3f} ± {np.std(found):.3f}")
        rows.append([name, str(here[0]["items"]), str(here[0]["classes"]), embedding, *cells])
    seeds = len({line["seed"] for line in lines})
    text = f"# The frozen embedding\n\nMade by `tomotutor bench frozen`; start {lines[0]['start']}, {seeds} seeds.\n\n"
    return text + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
