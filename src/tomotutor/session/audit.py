"""Audit items: an honest accuracy "of the pool".

A model's accuracy cannot be read off labels that were chosen because the model was unsure. So one item in `share` of
the pool, drawn uniformly when the session is made, is set aside from the queries and asked in the course of labeling,
the model's prediction stored and hidden until the answer is given. Every other one of them, the *check set*, is never
trained on and is predicted again by each model; the rest is trained on after its answer, so it counts for the model it
was asked under, and through the following round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tomotutor.base.wilson import wilson
from tomotutor.session.label_log import Entry, LabelState


@dataclass(frozen=True)
class AuditFigure:
    """Accuracy of one model on audit items.

    Attributes
    ----------
    correct, n : int
        Right predictions among answered audit items.
    skipped : int
        Audit items that were skipped or called unsure (non-response): not in `n`.
    """

    correct: int
    n: int
    skipped: int

    @property
    def accuracy(self) -> float | None:
        """Share of right predictions, None without any item."""
        return self.correct / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval, None without any item."""
        return wilson(self.correct, self.n) if self.n else None

    def describe(self) -> str:
        """Say it in a few words."""
        if self.accuracy is None or self.interval is None:
            return "not known yet: no check particle is labeled"
        low, high = self.interval
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.accuracy:.2f} of the pool [{low:.2f}, {high:.2f}] (n = {self.n}{skipped})"


def draw(rows: np.ndarray, share: int, seed: int, part: int = 0) -> np.ndarray:
    """Draw the audit items of a session, in the order in which they will be asked.

    Parameters
    ----------
    rows : ndarray
        Pool rows that may be asked.
    share : int
        One item in so many; 0: none.
    seed : int
        Of the session.
    part : int
        Number of the input that the rows come from: what is added later draws its own, and leaves those drawn before
        alone.
    """
    if not share:
        return np.zeros(0, np.int64)
    return np.random.default_rng([seed, 0xA0D1, part] if part else [seed, 0xA0D1]).permutation(rows)[
        : -(-len(rows) // share)
    ]


def kinds(order: np.ndarray) -> dict[int, str]:
    """Return the kind of each audit item: "check" and "train" by turns."""
    return {int(row): "check" if position % 2 == 0 else "train" for position, row in enumerate(order)}


def figure(
    number: int,
    predictions: Mapping[int, Mapping[int, str]],
    kind: Mapping[int, str],
    state: LabelState,
    name_of: Callable[[Entry], str | None] = lambda entry: entry.label,
) -> AuditFigure:
    """Return the figure of the model of round `number`.

    It counts check items under this model's own prediction, and the other audit items that were answered under this
    model or the one before, under the prediction that stood then.

    Parameters
    ----------
    number : int
        Round, from 1.
    predictions : dict
        Stored predictions: round to pool row to class name.
    kind : dict
        Kind of each audit item, see `kinds`.
    state : LabelState
        What the label log says.
    name_of : callable
        The label of an entry, as its class is called today.
    """
    correct = n = skipped = 0
    mine = predictions.get(number, {})
    for row, of_kind in kind.items():
        last = state.last(row)
        if last is None:
            continue
        if last.action != "label":
            skipped += 1
            continue
        answer = state.first_answer(row)
        if of_kind == "check":
            predicted = mine.get(row)
        else:
            under = answer.round if answer else 0
            predicted = predictions.get(under, {}).get(row) if max(1, number - 1) <= under <= number else None
        if predicted is not None:
            n += 1
            correct += predicted == name_of(last)
    return AuditFigure(correct, n, skipped)


def mix(queries: list[int], audits: list[int], share: int, answered: int) -> list[int]:
    """Put audit items into a queue, so that over the whole session each `share`-th answer is one.

    Parameters
    ----------
    queries, audits : list of int
        Pool rows in their order.
    share : int
        One in so many; 0: none.
    answered : int
        Answers given so far.
    """
    mixed: list[int] = []
    waiting, asked = iter(audits), iter(queries)
    while True:
        source, other = (waiting, asked) if share and (answered + len(mixed)) % share == share - 1 else (asked, waiting)
        row = next(source, None)
        if row is None:
            return [*mixed, *other]
        mixed.append(row)


LEAST_CHECKS = 8  # answered check items, before two models are compared on them
ALPHA = 0.05


def is_better(challenger_N: np.ndarray, holder_N: np.ndarray) -> bool:
    """Whether one model is right on so many more items than the model in use that chance does not explain it.

    A one-sided sign test (McNemar's exact test) over the items that just one of the two has right, at the level
    `ALPHA`.

    Parameters
    ----------
    challenger_N, holder_N : ndarray of bool
        Which of the same items each of them has right.
    """
    from scipy.stats import binomtest

    wins, losses = int((challenger_N & ~holder_N).sum()), int((holder_N & ~challenger_N).sum())
    return wins > losses and bool(binomtest(wins, wins + losses, alternative="greater").pvalue < ALPHA)
