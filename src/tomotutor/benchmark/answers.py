"""Simulated labeling with the fast head alone: no network is trained, so a session takes seconds.

Each seed is a session on a random four fifths of a set, seen by the pretrained networks that ship.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.files import new_file
from tomotutor.base.progress import Report, ignore
from tomotutor.benchmark.data import find_set
from tomotutor.data.sources import open_pool
from tomotutor.learn.groups import find_groups
from tomotutor.learn.head import Head, fit_head
from tomotutor.learn.next_items import order_next
from tomotutor.learn.start import SHIPPED
from tomotutor.oracle.pages import LOOK_ALIKE, PAGE, PAGES, TARGETS, look_alikes

PART = 0.8  # of a set that a session sees
COLD = 10  # typical items before the head orders the queue
GROUPS = 20  # for the typical items
AT_ONCE = {
    "margin_cluster": 10,
    "drop_query": 10,
    "badge": 10,
    "pair_badge": 10,
}  # items a rule chooses together; else 1


@dataclass(frozen=True)
class Embedded:
    """A set as the networks see it.

    Attributes
    ----------
    name : str
        Of the set.
    teacher_ND, student_ND : ndarray
        Embeddings.
    truth_N : ndarray of int
        Class numbers.
    classes : tuple of str
        Their names.
    """

    name: str
    teacher_ND: np.ndarray
    student_ND: np.ndarray
    truth_N: np.ndarray
    classes: tuple[str, ...]

    def part(self, seed: int) -> Embedded:
        """Return the part of the set that a session of this seed sees."""
        rng = np.random.default_rng([seed, 0xA45])
        rows = np.sort(rng.permutation(len(self.truth_N))[: round(PART * len(self.truth_N))])
        return replace(
            self,
            teacher_ND=self.teacher_ND[rows],
            student_ND=self.student_ND[rows],
            truth_N=self.truth_N[rows],
        )


def embed_set(folder: Path, name: str, out: Path, report: Report = ignore, start: Path = SHIPPED) -> Embedded:
    """Embed a set of an experiment's data folder with a start, by default the weights that ship, once."""
    from tomotutor.learn.compute import Compute
    from tomotutor.learn.embedding import embed_pool
    from tomotutor.learn.inference import new_pair
    from tomotutor.learn.recipe import preset
    from tomotutor.learn.start import read_card

    source, labels = find_set(folder, name)
    pool = open_pool(source)
    label_of = {row.item: row.label for row in labels}
    known = np.array([item in label_of for item in pool.ids])
    classes = tuple(sorted(set(label_of.values())))
    recipe = preset("app", pool.ndim).replace(width=read_card(start)["width"])
    pair = new_pair(pool.shape, len(classes), recipe, start)
    where = out / "embeddings" / name.replace("/", "_")
    found = embed_pool(pair, pool, where, Compute(channels_last=True), network="start", report=report)
    truth_N = np.array([classes.index(label_of[item]) for item in pool.ids if item in label_of])
    return Embedded(name, found.teacher_ND[known], found.student_ND[known], truth_N, classes)


@dataclass
class Session:
    """A person's labels so far, and the heads on them; the person errs in a share of the answers."""

    data: Embedded
    seed: int
    error: float = 0.0
    labels: dict[int, int] = field(default_factory=dict)
    decisions: int = 0
    teacher: Head | None = None
    student: Head | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 0xA46])
        everything = np.arange(len(self.data.truth_N))
        if self.error:
            self.look_alike_N = look_alikes(self.data.teacher_ND, self.data.truth_N, len(self.data.classes))
        self.open_N = np.ones(len(everything), bool)

    def say(self, row: int) -> int:
        """Return what the person calls an item."""
        truth = int(self.data.truth_N[row])
        if self.rng.random() >= self.error:
            return truth
        if self.rng.random() < LOOK_ALIKE:
            return int(self.look_alike_N[row])
        return int((truth + self.rng.integers(1, len(self.data.classes))) % len(self.data.classes))

    def label(self, row: int) -> None:
        """Label one item: one decision."""
        self.labels[row] = self.say(row)
        self.open_N[row] = False
        self.decisions += 1

    def fit(self) -> None:
        """Refit both heads; the folds that the temperature needs are made for every fifth label."""
        rows = np.array(list(self.labels), np.int64)
        label_L = np.array(list(self.labels.values()), np.int64)
        if len(np.unique(label_L)) < 2:
            return
        classes = len(self.data.classes)
        known = self.teacher.temperature if self.teacher is not None and len(rows) % 5 else None
        self.teacher = fit_head(self.data.teacher_ND, rows, label_L, classes, temperature=known)
        self.student = fit_head(self.data.student_ND, rows, label_L, classes, temperature=self.teacher.temperature)

    def answers(self) -> np.ndarray:
        """Return the answer for each item: the label, else the prediction; -1 before there is one."""
        if self.teacher is None:
            found_N = np.full(len(self.data.truth_N), -1)
        else:
            found_N = self.teacher.probs(self.data.teacher_ND).argmax(1)
        found_N[list(self.labels)] = list(self.labels.values())
        return found_N

    def accuracy(self) -> float:
        """Return the share of right answers."""
        return float((self.answers() == self.data.truth_N).mean())


def typical_order(data: Embedded, seed: int) -> np.ndarray:
    """Return all rows, the typical ones of each group of look-alikes in front."""
    return find_groups(data.teacher_ND, np.arange(len(data.truth_N)), GROUPS, seed).typical()


def one_by_one(session: Session, rule: str, budget: int, cold: str = "typical") -> Iterator[None]:
    """Label singly by a rule, after `COLD` items of a cold start ("typical", "max_herding" or "random")."""
    data, waiting = session.data, np.zeros(0, np.int64)
    typical = typical_order(data, session.seed) if cold == "typical" else np.zeros(0, np.int64)
    while session.decisions < budget:
        cold_now = len(session.labels) < COLD or session.teacher is None
        if cold_now and cold == "typical":
            row = int(next(r for r in typical if session.open_N[r]))
        else:
            if cold_now or not len(waiting):
                batch = AT_ONCE.get(rule, 1)
                found = order_next(
                    None if cold_now else session.teacher,
                    None if cold_now else session.student,
                    data.teacher_ND,
                    data.student_ND,
                    np.flatnonzero(session.open_N),
                    cold if cold_now else rule,
                    data.classes,
                    batch=batch,
                    seed=session.seed,
                )
                waiting = found.rows[: 1 if cold_now else batch]
            row, waiting = int(waiting[0]), waiting[1:]
        session.label(row)
        session.fit()
        yield


def by_page(session: Session, budget: int, strays_named: bool) -> Iterator[None]:
    """Name a page of each of a few groups of look-alikes, the largest first; then go on singly by UHerding.

    A page shows up to 24 members of a group, those nearest to its centre. The person names the class that most of them
    have, which is one decision, and takes out each that does not belong, which is one decision each. That either names
    it, as in `tomotutor.oracle.pages.Person`, or leaves it without a label, and it may be asked later.
    """
    data = session.data
    groups = find_groups(data.teacher_ND, np.arange(len(data.truth_N)), PAGES, session.seed)
    for group in range(len(groups)):
        page = groups.members(group)[:PAGE]
        said = np.array([session.say(int(row)) for row in page])
        named = int(np.bincount(said).argmax())
        for row, one in zip(page.tolist(), said.tolist(), strict=True):
            if one == named or strays_named:
                session.labels[row] = one
                session.open_N[row] = False
        session.decisions += 1 + int((said != named).sum())
        session.fit()
        yield
        if session.decisions >= budget:
            return
    yield from one_by_one(session, "uherding", budget)


def play(
    session: Session, steps: Callable[[Session], Iterator[None]], last: float = TARGETS[-1]
) -> list[tuple[int, int, float]]:
    """Return (decisions, labels, accuracy) after each step, up to the last target."""
    curve = []
    for _ in steps(session):
        curve.append((session.decisions, len(session.labels), session.accuracy()))
        if curve[-1][2] >= last:
            break
    return curve


def decisions_to(curve: list[tuple[int, int, float]], target: float) -> int | None:
    """Return after how many decisions a curve first reaches a target; None if it does not."""
    return next((decisions for decisions, _, accuracy in curve if accuracy >= target), None)


def write(out: Path, name: str, lines: Sequence[dict[str, Any]], tables: str) -> None:
    """Write results, a line of JSON each, and their tables: `name`.jsonl and `name`.md."""
    for file, text in ((f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines)), (f"{name}.md", tables)):
        with new_file(out / file) as partial:
            partial.write_text(text)
