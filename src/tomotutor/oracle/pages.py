"""A simulated person who names whole pages of look-alikes, and one who errs; decisions are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report
from tomotutor.oracle.classes import UNKNOWN, ClassOracle
from tomotutor.session import Session
from tomotutor.session.bulk import is_bulk

PAGES = 12  # groups of look-alikes, of each of which a page is named
PAGE = 24  # items on a page
LOOK_ALIKE = 0.75  # share of errors that take the look-alike class for it
TARGETS = (0.95, 0.99)  # shares of right answers to which decisions are counted


def look_alikes(embedding_ND: np.ndarray, truth_N: np.ndarray, classes: int) -> np.ndarray:
    """Return the class that each item is most easily taken for: the second choice of a head with all labels that has
    not seen it.
    """
    from tomotutor.learn.head import fit_head

    known = np.flatnonzero(truth_N != UNKNOWN)
    other_LC = np.exp(fit_head(embedding_ND, known, truth_N[known], classes).held_out_LC)
    other_LC[np.arange(len(known)), truth_N[known]] = -1
    found_N = np.full(len(truth_N), UNKNOWN)
    found_N[known] = other_LC.argmax(1)
    return found_N


class Person:
    """Answers a session from the truth, and counts decisions.

    Parameters
    ----------
    session : Session
        With the recipe to use.
    truth_N : ndarray
        Class number of every item, -1 where it is not known.
    by_page : bool
        Name a page of each of `PAGES` groups first: up to `PAGE` open members, the typical ones in front. The class of
        most of them is one decision; each that does not belong is taken out and named singly, one decision each. Then,
        as without pages, single items in the order of the queue.
    error : float
        Share of answers that are wrong; three in four of these take an item for its look-alike.
    """

    def __init__(self, session: Session, truth_N: np.ndarray, *, by_page: bool = False, error: float = 0.0) -> None:
        between = session.recipe.query.between
        if by_page and between == "round":
            raise TomoTutorError(
                "run --by page: this session does not look at its pool between rounds; give --set between=uherding"
            )
        if not 0 <= error < 1:
            raise TomoTutorError(f"run: an error of {error:g}; expected 0 or more, and less than 1")
        self.session, self.truth_N, self.by_page, self.error = session, truth_N, by_page, error
        self.learns = between != "round"
        self.reached: dict[str, list[int]] = {}
        for record in session.rounds:
            self.reached |= record.record["metrics"].get("reached", {})
        self._look_alike_N: np.ndarray | None = None

    @property
    def decisions(self) -> int:
        """Decisions so far, as the log tells them: each step of many labels is one, and so is each single answer."""
        log = self.session.state.log
        return len({e.of_step for e in log.active if is_bulk(e)}) + sum(not is_bulk(e) for e in log.active)

    @property
    def pages(self) -> int:
        """Pages named so far."""
        return len({e.of_step for e in self.session.state.log.active if is_bulk(e) and e.origin == "page"})

    def say(self, row: int) -> int:
        """Return the class that an item is called, -1 where it cannot be told."""
        truth = int(self.truth_N[row])
        last = self.session.state.log.last(int(self.session.state.twin_N[row]))
        rng = np.random.default_rng([self.session.recipe.seed, 0xE44, row, 0 if last is None else last.seq])
        if truth == UNKNOWN or rng.random() >= self.error:
            return truth
        if rng.random() < LOOK_ALIKE and self._alike() is not None:
            return int(self._alike()[row])
        others = np.setdiff1d(np.unique(self.truth_N[self.truth_N != UNKNOWN]), [truth])
        return int(rng.choice(others)) if len(others) else truth

    def _alike(self) -> Any:
        embedding = self.session.answering.pool_embedding.newest
        if self._look_alike_N is None and embedding is not None:
            self._look_alike_N = look_alikes(embedding.teacher_ND, self.truth_N, len(self.session.classes))
        return self._look_alike_N

    def answer(self, wanted: int, done: Callable[[], int]) -> None:
        """Answer until `done()` is `wanted`, or nothing is left."""
        while done() < wanted:
            page = self._page() if self.by_page and self.pages < PAGES else []
            if len(page) > 1:
                self._name(page)
            elif (item := self.session.current) is not None:
                self._single(item.row)
            else:
                return
            if self.learns:
                self.session.refresh_answers()
                self._look()

    def _page(self) -> list[int]:
        """Return the page of the next group, the largest group first."""
        found, state = self.session.answering.groups(PAGES), self.session.state
        if found is None or self.pages >= len(found[0]):
            return []
        hidden = state.hidden()
        members = found[0].members(self.pages).tolist()
        return [row for row in members if state.is_open(row) and row not in hidden][:PAGE]

    def _name(self, page: list[int]) -> None:
        said = np.array([self.say(row) for row in page])
        told = said[said != UNKNOWN]
        named = int(np.bincount(told).argmax()) if len(told) else UNKNOWN
        for row, one in zip(page, said.tolist(), strict=True):
            if one != named or named == UNKNOWN:
                self._give(row, one)
        if named != UNKNOWN:
            rows = [row for row, one in zip(page, said.tolist(), strict=True) if one == named]
            self.session.label_many(rows, self.session.classes[named], origin="page", annotator="oracle")

    def _single(self, row: int) -> None:
        self._give(row, self.say(row))

    def _give(self, row: int, said: int) -> None:
        session = self.session
        if said == UNKNOWN:
            session.unsure(session.ids[row], annotator="oracle", origin="oracle")
        else:
            session.label(session.ids[row], session.classes[said], annotator="oracle", origin="oracle")

    def _look(self) -> None:
        """Note after how many decisions the answers are right enough; of hidden items there is none."""
        answers = self.session.answers
        if answers is None:
            return
        known = (self.truth_N != UNKNOWN) & (answers.class_N >= 0)
        known[self.session.held_out] = False
        share = float((answers.class_N[known] == self.truth_N[known]).mean()) if known.any() else 0.0
        for target in TARGETS:
            if share >= target:
                self.reached.setdefault(f"{target:g}", [self.decisions, len(self.session.labels())])

    def metrics(self) -> dict[str, Any]:
        """Return decisions so far, and [decisions, labels] at which each target was reached first."""
        return {"decisions": self.decisions, "reached": dict(self.reached)}


@dataclass
class PersonOracle(ClassOracle):
    """A truth of classes that answers as a person does: by page, or with errors; see `tomotutor.oracle.play.Oracle`.

    With pages, where one decision gives many labels, a run's numbers of labels are numbers of decisions.
    """

    by_page: bool = False
    error: float = 0.0

    @cached_property
    def person(self) -> Person:
        """Who answers."""
        return Person(self.session, self.truth_N, by_page=self.by_page, error=self.error)

    @override
    def check(self) -> None:
        _ = self.person

    @override
    def answer(self, labels: int) -> None:
        self.person.answer(labels, lambda: self.person.decisions if self.by_page else len(self.session.labels()))

    @override
    def measure(self, report: Report | None) -> dict[str, Any]:
        return super().measure(report) | self.person.metrics()
