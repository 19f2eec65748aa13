"""What a person says of an item: a class, or a mask. All that differs between the two for a session is here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.recipe import LEAST_TO_TRAIN
from tomotutor.learn.results import PoolScores
from tomotutor.session.classes import Classes
from tomotutor.session.masks import Masks, Shape


class Labels(Protocol):
    """A kind of label."""

    @property
    def classes(self) -> Classes:
        """The classes in force."""

    @property
    def one_class(self) -> bool:
        """Whether a label is one class for a whole item, which answers between rounds, many labels at once, new items
        and changes of the classes take.
        """

    @property
    def needed(self) -> str:
        """What a training needs at least, in words."""

    def of(self, classes: Classes) -> Labels:
        """Return the same kind for other classes."""

    def encode(self, row: int, value: Any, source: str) -> str:
        """Check what was said of an item and return it as the log keeps it; what must be on disk before that is."""

    def count(self, labels: Mapping[int, str]) -> Counter[str]:
        """Count labels by class."""

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        """Return what to train on."""

    def can_train(self, labels: Collection[str]) -> bool:
        """Whether these labels are enough for a training."""

    def predicted(self, teacher_probs_C: np.ndarray) -> tuple[str | None, float | None]:
        """Return the class that a network sees in an item and its probability; nothing where there is no one class."""

    def numbers(self, labels: Mapping[int, str], twin_N: np.ndarray, scores: PoolScores) -> np.ndarray:
        """Return the class number of each item that has a label, −1 elsewhere, for the answer in one class an item."""

    def mask(self, label: str) -> np.ndarray | None:
        """Return the mask that a label is, (y, x) uint8; None where it is none."""

    def unreadable(self, labels: Mapping[int, str]) -> list[int]:
        """Return the rows whose labels need a file that cannot be read."""


@dataclass(frozen=True)
class ClassLabels:
    """Labels that are a class for each item."""

    classes: Classes
    one_class: bool = True
    needed: str = "four labels and two classes"

    def of(self, classes: Classes) -> ClassLabels:
        """Return the same kind for other classes."""
        return replace(self, classes=classes)

    def encode(self, row: int, value: Any, source: str) -> str:
        """Check a class name."""
        if not isinstance(value, str):
            raise TomoTutorError(
                f"{source}: found a mask; expected a class, or a session made with --task segmentation"
            )
        return self.classes.names[self.classes.number(value)]

    def count(self, labels: Mapping[int, str]) -> Counter[str]:
        """Count labels by class."""
        return Counter(labels.values())

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        """Return class numbers (N,)."""
        number_of = {name: n for n, name in enumerate(self.classes.names)}
        return np.array([number_of[name] for name in labels], dtype=np.int64)

    def can_train(self, labels: Collection[str]) -> bool:
        """Whether there are four labels in two classes."""
        return len(labels) >= LEAST_TO_TRAIN and len(set(labels)) >= 2

    def predicted(self, teacher_probs_C: np.ndarray) -> tuple[str | None, float | None]:
        """Return the likeliest class and its probability."""
        best = int(np.argmax(teacher_probs_C))
        return self.classes.names[best], float(teacher_probs_C[best])

    def numbers(self, labels: Mapping[int, str], twin_N: np.ndarray, scores: PoolScores) -> np.ndarray:
        """Return the class number of each item that has a label, −1 elsewhere; duplicates share theirs."""
        number_N = np.full(len(twin_N), -1)
        number_N[list(labels)] = self.targets(list(labels.values()))
        return number_N[twin_N]

    def mask(self, label: str) -> np.ndarray | None:
        """Return None: a class is no mask."""
        return None

    def unreadable(self, labels: Mapping[int, str]) -> list[int]:
        """Return nothing: all of a class is in the log."""
        return []


@dataclass(frozen=True)
class MaskLabels:
    """Labels that are a mask for each image."""

    classes: Classes
    masks: Masks
    one_class: bool = False
    needed: str = "two masks and two classes in them"

    def of(self, classes: Classes) -> MaskLabels:
        """Return the same kind for other classes."""
        return replace(self, classes=classes)

    def encode(self, row: int, value: Any, source: str) -> str:
        """Put a mask, (y, x) class numbers from 0 and 255 for void, on disk and return its file's name."""
        if isinstance(value, str):
            raise TomoTutorError(f"{source}: found the class {value!r}; this session takes masks")
        return self.masks.write(row, value, source)

    def count(self, labels: Mapping[int, str]) -> Counter[str]:
        """Count masks by the classes in them."""
        return Counter(self.classes.names[c] for name in labels.values() for c in self.masks.present(name))

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        """Return masks (N, y, x) uint8."""
        return np.array([self.masks.read(name) for name in labels], dtype=np.uint8)

    def can_train(self, labels: Collection[str]) -> bool:
        """Whether there are two masks of two classes."""
        return len(labels) >= 2 and len(self.count(dict(enumerate(labels)))) >= 2

    def predicted(self, teacher_probs_C: np.ndarray) -> tuple[str | None, float | None]:
        """Return nothing: a mask has no one class."""
        return None, None

    def numbers(self, labels: Mapping[int, str], twin_N: np.ndarray, scores: PoolScores) -> np.ndarray:
        """Return, for each item that has a mask, the class that the teacher gives most of it."""
        labeled_N = np.isin(twin_N, list(labels))
        return np.where(labeled_N, scores.teacher_probs_NC.argmax(1), -1)

    def mask(self, label: str) -> np.ndarray | None:
        """Return the mask (y, x) uint8."""
        return self.masks.read(label)

    def unreadable(self, labels: Mapping[int, str]) -> list[int]:
        """Return the rows whose masks cannot be read."""
        return [row for row, name in labels.items() if not self.masks.can_read(name)]


def _class_labels(folder: Path, classes: Classes, shape: Shape) -> Labels:
    return ClassLabels(classes)


def _mask_labels(folder: Path, classes: Classes, shape: Shape) -> Labels:
    return MaskLabels(classes, Masks(folder, shape, len(classes.names)))


LABELS: dict[str, Callable[[Path, Classes, Shape], Labels]] = {
    "classification": _class_labels,
    "segmentation": _mask_labels,
}


def labels_of(task: str, folder: Path, classes: Classes, shape: Shape = tuple) -> Labels:
    """Return the kind of label of a session; `shape` returns (y, x) of its items, for whoever reads or writes masks."""
    return LABELS[task](folder, classes, shape)
