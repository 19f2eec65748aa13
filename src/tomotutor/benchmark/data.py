"""The data of an experiment: a pool and a fixed test set with their truth, read from the folder that the user gives.

A set NAME in the folder is one of

- NAME.npz with x, y and classes (y: numbers into classes, or names),
- NAME/particles.star with tomograms.star and truth.csv,
- NAME/ with one MRC stack (*.mrc, *.mrcs) of subtomograms or images and truth.csv.

An experiment on a published data set takes that as it was published; NAME is a split of it then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.benchmark.experiment import Experiment, Plan
from tomotutor.data.sources import Source, open_pool
from tomotutor.formats.label_csv import LabelRow, read_labels
from tomotutor.oracle.classes import array_labels
from tomotutor.session.classes import JUNK


@dataclass(frozen=True)
class Data:
    """What a cell runs on.

    Attributes
    ----------
    source, test_source : Source
        Where pool and test set come from.
    classes : tuple of str
        The classes in use, junk last.
    labels, test_labels : list of LabelRow
        Their truth; items of other classes are left out.
    fingerprint : str
        Hash of the names of all items in use and their classes, or masks; not of their voxels.
    masks : bool
        Whether the truth is a mask for each image; the labels are then hashes of the masks.
    """

    source: Source
    test_source: Source
    classes: tuple[str, ...]
    labels: list[LabelRow]
    test_labels: list[LabelRow]
    fingerprint: str
    masks: bool = False


def open_data(experiment: Experiment, plan: Plan, folder: Path) -> Data:
    """Find an experiment's two sets and choose the plan's classes and items.

    Raises
    ------
    TomoTutorError
        A set is not there, its truth does not fit, or it has fewer items than the plan asks for.
    """
    names = (experiment.train, experiment.test) if experiment.train else ("train", "test")
    if not experiment.train:
        make_smoke_data(folder)
    if experiment.dataset:
        (source, labels, classes), (test_source, test_labels, _) = (
            _find_split(experiment, folder, name) for name in names
        )
    else:
        (source, labels), (test_source, test_labels) = (find_set(folder, name) for name in names)
        classes = ()
    masks = bool(classes)
    classes = classes or _order({row.label for row in labels})
    if plan.classes[1] > len(classes):
        first, last = plan.classes[0] + 1, plan.classes[1]
        raise TomoTutorError(f"{folder}: found {len(classes)} classes; the experiment uses numbers {first} to {last}")
    if plan.classes[1]:
        classes = classes[slice(*plan.classes)]
    chosen = (
        labels
        if masks
        else choose_items([row for row in labels if row.label in classes], classes, plan.per_class, plan.imbalance)
    )
    needed = plan.budgets[-1]
    if len(chosen) < needed:
        raise TomoTutorError(
            f"{folder}: the experiment asks for {needed} labels, but its pool has {len(chosen)} items with a known "
            "class"
        )
    tested = test_labels if masks else [row for row in test_labels if row.label in classes]
    if not tested:
        raise TomoTutorError(f"{folder}: no item of the test set {names[1]} is of the classes {', '.join(classes)}")
    text = "\n".join(f"{row.item},{row.label}" for row in (*chosen, *tested)) + (
        f"\n{experiment.size}" if experiment.size else ""
    )
    return Data(
        source, test_source, classes, chosen, tested, hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), masks
    )


def _order(names: set[str]) -> tuple[str, ...]:
    """Return class names in order, junk last."""
    return tuple(sorted(names, key=lambda name: (name == JUNK, name)))


def _find_split(experiment: Experiment, folder: Path, name: str) -> tuple[Source, list[LabelRow], tuple[str, ...]]:
    """Return a data set's split and its truth; where that is masks, their hashes, and the classes of the pixels."""
    source = Source(experiment.dataset, str(folder), split=name, size=experiment.size)
    pool = open_pool(source)
    if pool.truth_mask is not None:
        masks = (hashlib.blake2b(pool.truth_mask(row).tobytes(), digest_size=8).hexdigest() for row in range(len(pool)))
        return source, [LabelRow(item, mask) for item, mask in zip(pool.ids, masks, strict=True)], pool.class_names
    return source, [LabelRow(item, label) for item, label in zip(pool.ids, pool.truth_N.tolist(), strict=True)], ()


def find_set(folder: Path, name: str) -> tuple[Source, list[LabelRow]]:
    """Return a set's source and its truth."""
    array, inside = folder / f"{name}.npz", folder / name
    if array.is_file():
        source = Source("array", str(array))
        return source, array_labels(array, open_pool(source).ids)
    star, tomograms = inside / "particles.star", inside / "tomograms.star"
    if star.is_file() and tomograms.is_file():
        return Source("particles", str(star), str(tomograms), root=str(inside)), read_labels(inside / "truth.csv")
    stacks = [path for pattern in ("*.mrc", "*.mrcs") for path in sorted(inside.glob(pattern))]
    if len(stacks) == 1:
        return Source("stack", str(stacks[0])), read_labels(inside / "truth.csv")
    found = f"{len(stacks)} MRC files in it" if inside.is_dir() else "no such folder"
    raise TomoTutorError(
        f"{inside}: {found}; expected {array.name} beside it (x, y, classes), or in it particles.star with "
        "tomograms.star and truth.csv, "
        "or one MRC stack with truth.csv"
    )


def choose_items(labels: list[LabelRow], classes: tuple[str, ...], per_class: int, imbalance: float) -> list[LabelRow]:
    """Choose items at random, the same for every cell: class c of C gets per_class · imbalance^(−c/(C−1)) of them.

    Parameters
    ----------
    labels : list of LabelRow
        The truth.
    classes : tuple of str
        Classes, the largest first.
    per_class : int
        Items of the largest class; 0 takes all items.
    imbalance : float
        Largest class over smallest.
    """
    if not per_class:
        return labels
    rng = np.random.default_rng(0)
    kept: set[str] = set()
    for number, name in enumerate(classes):
        items = [row.item for row in labels if row.label == name]
        size = round(per_class * imbalance ** (-number / max(1, len(classes) - 1)))
        if size > len(items):
            raise TomoTutorError(f"class {name}: found {len(items)} items in the pool; the experiment asks for {size}")
        kept.update(items[i] for i in rng.permutation(len(items))[:size])
    return [row for row in labels if row.item in kept]


def make_smoke_data(folder: Path) -> None:
    """Write train.npz and test.npz: 16³ boxes with a ball or a slab in noise."""
    z, y, x = np.indices((16, 16, 16)) - 8
    shapes = np.stack([z**2 + y**2 + x**2 < 16, np.abs(z) < 2])
    for stream, (name, items) in enumerate((("train", 60), ("test", 30))):
        path = folder / f"{name}.npz"
        if path.is_file():
            continue
        rng = np.random.default_rng(stream)
        y_N = rng.permutation(np.arange(items) % 2)
        x_N = (1.5 * shapes[y_N] + rng.normal(0, 1, (items, 16, 16, 16))).astype(np.float32)
        with new_file(path) as partial, partial.open("wb") as handle:
            np.savez(handle, x=x_N, y=y_N, classes=np.array(["ball", "slab"]))
