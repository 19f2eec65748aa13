"""Answering: what the program says of every item, renewed after each label. A fast head on the pool's embedding."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.base.progress import Progress
from tomotutor.learn.results import Answers, changed
from tomotutor.session.core import Core
from tomotutor.session.pool_embedding import PoolEmbedding
from tomotutor.session.training import Training

if TYPE_CHECKING:  # scikit-learn and torch take seconds to import
    from tomotutor.learn.doubts import Doubts
    from tomotutor.learn.embedding import Embedding
    from tomotutor.learn.estimate import Advice, Estimate
    from tomotutor.learn.groups import GroupAnswer, Groups
    from tomotutor.learn.head import Head
    from tomotutor.learn.next_items import Next

log = logging.getLogger(__name__)

COLD = 10  # typical items that are asked before the head says what comes next (docs/evidence.md)


@dataclass(frozen=True)
class Asked:
    """All that a fit sees, frozen when a label was given.

    Attributes
    ----------
    version : int
        Number of the fit.
    classes : tuple of str
        Class names.
    rows, label_L : ndarray
        Labels to learn from: pool rows and class numbers; no check particles.
    given_rows, given_M : ndarray
        All labels, duplicates too.
    check_rows, check_label : ndarray
        Check particles that have a label.
    hidden_rows : ndarray
        Items of which nothing may be told before they are labeled singly.
    open_rows : ndarray
        Items that may be asked.
    """

    version: int
    classes: tuple[str, ...]
    rows: np.ndarray
    label_L: np.ndarray
    given_rows: np.ndarray
    given_M: np.ndarray
    check_rows: np.ndarray
    check_label: np.ndarray
    hidden_rows: np.ndarray
    open_rows: np.ndarray

    def has_labels_of(self, other: Asked) -> bool:
        """Whether a fit to the other one finds the same."""
        names = ("rows", "label_L", "given_rows", "given_M", "check_rows", "check_label", "hidden_rows")
        same = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)
        return same and self.classes == other.classes


@dataclass(frozen=True)
class Fitted:
    """Both heads, what they answer, and what to ask next."""

    asked: Asked
    embedding: Embedding
    teacher: Head
    student: Head
    answers: Answers
    next: Next | None


class Answering:
    """Keeps the answers of an open session.

    Parameters
    ----------
    core, training
        The open session, and what runs its networks.
    told : callable
        Called after each fit with it and the rows whose answer changed, in the thread of the fit.
    is_busy : callable
        Whether a round runs; half turns wait until none does.
    """

    def __init__(
        self,
        core: Core,
        training: Training,
        told: Callable[[Fitted, np.ndarray], None],
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._core, self._told, self._is_busy = core, told, is_busy
        self.pool_embedding = PoolEmbedding(core, training)
        self._groups: tuple[str, int, Groups] | None = None
        self._version = 0
        self._wake = threading.Condition()
        self._pending = False
        self._ended = True
        self._threads: list[threading.Thread] = []
        self.fitted: Fitted | None = None
        self._folded: Fitted | None = None
        self._estimated: tuple[Fitted, Estimate] | None = None

    # ---- the head --------------------------------------------------------------------------------------------------

    def freeze(self) -> Asked:
        """Return what a fit sees now."""
        core = self._core
        with core.guard:
            state = core.state
            self._version += 1
            number_of = {name: n for n, name in enumerate(state.classes.names)}
            given, learned = state.given(), state.trainable()
            root_N = np.full(len(state.ids), -1)
            root_N[list(given)] = [number_of[name] for name in given.values()]
            whole_N = root_N[state.twin_N]
            rows = np.array(sorted(learned), np.int64)
            checked = np.array([r for r, kind in state.audit_kind.items() if kind == "check" and r in given], np.int64)
            return Asked(
                self._version,
                state.classes.names,
                rows,
                root_N[rows],
                np.flatnonzero(whole_N >= 0),
                whole_N[whole_N >= 0],
                checked,
                root_N[checked],
                np.array(sorted(state.hidden()), np.int64),
                state.open_rows(state.next_number),
            )

    def refresh(self) -> Fitted | None:
        """Fit now, in this thread; None where there is no embedding, or no labels in two classes."""
        embedding = self.pool_embedding.newest
        if embedding is None:
            return None
        asked = self.freeze()
        fitted = self.fit(asked, embedding)
        if fitted is not None:
            self._take(fitted)
        return fitted

    def today(self) -> Fitted | None:
        """Return a fit that knows every label, on the embedding by the networks in use; None where there is none."""
        embedding, kept = self.pool_embedding.newest, self.fitted
        if embedding is None or not self.pool_embedding.is_of_networks_in_use:
            return None
        if kept is None or kept.embedding is not embedding or not kept.asked.has_labels_of(self.freeze()):
            kept = self.refresh()
        return kept

    def fit(self, asked: Asked, embedding: Embedding, folds: int = 0) -> Fitted | None:
        """Fit both heads to what was asked, and answer and rank with them.

        Parameters
        ----------
        asked, embedding
            What the fit sees.
        folds : int
            Folds for held-out answers, and nothing is ranked; 0 takes the temperature of the last fit where there is
            one.
        """
        from tomotutor.learn.head import FOLDS, answer, fit_head

        if len(np.unique(asked.label_L)) < 2:
            return None
        before = self.fitted
        known = None
        if not folds and before and before.embedding.network == embedding.network and asked.version % 5:
            known = before.teacher.temperature
        teacher = fit_head(
            embedding.teacher_ND,
            asked.rows,
            asked.label_L,
            len(asked.classes),
            group_N=self._core.overlap_N,
            folds=folds or FOLDS,
            temperature=known,
        )
        student = fit_head(
            embedding.student_ND,
            asked.rows,
            asked.label_L,
            len(asked.classes),
            group_N=self._core.overlap_N,
            folds=folds or FOLDS,
            temperature=None if folds else teacher.temperature,
        )
        answers = answer(
            teacher,
            student,
            embedding.teacher_ND,
            embedding.student_ND,
            source=f"head on {embedding.network}",
            version=asked.version,
            label_rows=asked.given_rows,
            label_M=asked.given_M,
        )
        hidden = asked.hidden_rows
        answers.class_N[hidden], answers.labeled_N[hidden] = -1, False
        answers.confidence_N[hidden] = answers.disagreement_N[hidden] = np.nan
        ranked = None if folds else self._rank(asked, embedding, teacher, student)
        return Fitted(asked, embedding, teacher, student, answers, ranked)

    def _rank(self, asked: Asked, embedding: Embedding, teacher: Head | None, student: Head | None) -> Next | None:
        from tomotutor.learn.next_items import order_next

        query = self._core.recipe.query
        rule, cold = query.between, query.cold_start == "typical" and not self._core.state.rounds
        if rule == "round" or (cold and len(asked.rows) < COLD):
            return None
        return order_next(
            teacher,
            student,
            embedding.teacher_ND,
            embedding.student_ND,
            asked.open_rows,
            rule,
            asked.classes,
            group_N=self._group_of(embedding),
            seed=self._core.recipe.seed,
        )

    def _group_of(self, embedding: Embedding) -> np.ndarray | None:
        """Return the group of look-alikes of each row, -1 where it has none; None where none were made."""
        if not self._groups or self._groups[0] != embedding.network:
            return None
        groups, group_N = self._groups[2], np.full(len(embedding.view_N), -1)
        group_N[groups.rows] = groups.group_N
        return group_N

    def _take(self, fitted: Fitted) -> None:
        with self._core.guard:
            before = self.fitted
            if before is not None and before.asked.version > fitted.asked.version:
                return
            self.fitted = fitted
        self._told(fitted, changed(before.answers if before else None, fitted.answers))

    # ---- in the background -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Renew the answers in a thread whenever `ask` is called, and finish the embedding in idle time."""
        self._ended = False
        for work, name in ((self._renew, "tomotutor-answers"), (self._finish, "tomotutor-embedding")):
            thread = threading.Thread(target=work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self.ask()

    def ask(self) -> None:
        """Renew the answers soon; returns at once. A fit that is overtaken by another label is dropped."""
        with self._wake:
            self._pending = True
            self._wake.notify_all()

    def stop(self, timeout_s: float | None = None) -> bool:
        """End the threads, and wait for them; False if one still runs after `timeout_s`."""
        with self._wake:
            self._ended = True
            self._wake.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout_s)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return not [thread for thread in self._threads if thread is not threading.current_thread()]

    def _renew(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pending or self._ended)
                if self._ended:
                    return
                self._pending = False
            try:
                self.refresh()
            except TomoTutorError as problem:
                log.warning("%s", problem)
            except Exception:  # a bug of ours must not end the answers of a whole session
                log.exception("the answers could not be renewed")

    def _finish(self) -> None:
        """Look at the half turns of every item, while no round runs."""

        def tell(progress: Progress) -> None:
            if self._ended or self._is_busy():
                raise CancelledError

        while not self._ended:
            found = self.pool_embedding.newest
            if found is not None and not found.is_complete and not self._is_busy() and self._core.pool.ndim == 3:
                try:
                    self.pool_embedding.embed(tell)
                    self.ask()
                except CancelledError:
                    pass
                except TomoTutorError as problem:
                    log.warning("%s", problem)
                    return
            with self._wake:
                self._wake.wait_for(lambda: self._ended, timeout=1.0)

    # ---- what follows from it --------------------------------------------------------------------------------------

    def with_folds(self) -> Fitted | None:
        """Return the newest fit with held-out answers of many folds, made once for the same labels."""
        from tomotutor.learn.estimate import FOLDS

        embedding = self.pool_embedding.newest
        if embedding is None:
            return None
        asked, kept = self.freeze(), self._folded
        if kept is None or kept.embedding is not embedding or not kept.asked.has_labels_of(asked):
            kept = self._folded = self.fit(asked, embedding, FOLDS)
        return kept

    def groups(self, n: int = 20) -> tuple[Groups, list[GroupAnswer]] | None:
        """Return groups of look-alikes on the newest embedding, without items that are hidden, and what each probably
        is; None where there is no embedding. Before labels in two classes nothing is said of what they are.
        """
        from tomotutor.learn.groups import answer_groups, find_groups

        embedding, core = self.pool_embedding.newest, self._core
        if embedding is None:
            return None
        if self._groups is None or self._groups[:2] != (embedding.network, n):
            with core.guard:
                rows = np.setdiff1d(core.state.eligible(), list(core.state.audit_kind))
            self._groups = embedding.network, n, find_groups(embedding.teacher_ND, rows, n, core.recipe.seed)
        found, fitted = self._groups[2], self.fitted
        if fitted is None or fitted.embedding.network != embedding.network:
            return found, []
        return found, answer_groups(found, fitted.teacher.probs(embedding.teacher_ND, found.rows), fitted.answers)

    def similar(self, row: int, n: int) -> np.ndarray:
        """Return the n items most like one, nearest first, without items that are hidden."""
        from tomotutor.learn.groups import similar

        embedding, state = self.pool_embedding.newest, self._core.state
        if embedding is None:
            raise TomoTutorError(
                f"{self._core.folder}: the pool has not been looked at yet; train first, or start pretrained"
            )
        rows = np.setdiff1d(state.eligible(), sorted(state.hidden()))
        return similar(embedding.teacher_ND, row, n, rows)[0]

    def doubts(self) -> Doubts | None:
        """Return the labels, the one that looks most wrong in front; None before there is a head."""
        from tomotutor.learn.doubts import Doubts, find_doubts

        fitted = self.with_folds()
        if fitted is None:
            return None
        asked = fitted.asked
        found = find_doubts(fitted.teacher, fitted.student)
        told = ~np.isin(found.rows, asked.hidden_rows)  # nothing is told of what is asked again
        return Doubts(found.rows[told], found.label_L[told], found.predicted_L[told], found.doubt_L[told])

    def estimate(self) -> Estimate | None:
        """Return how right the answers are; None before there is a head."""
        from tomotutor.learn.estimate import estimate

        fitted = self.with_folds()
        if fitted is None:
            return None
        if self._estimated is not None and self._estimated[0] is fitted:
            return self._estimated[1]
        asked = fitted.asked
        self.groups()
        found = estimate(
            fitted.teacher,
            fitted.student,
            fitted.embedding.teacher_ND,
            fitted.embedding.student_ND,
            fitted.answers,
            group_N=self._group_of(fitted.embedding),
            check_rows=asked.check_rows,
            check_label=asked.check_label,
            seed=self._core.recipe.seed,
        )
        self._estimated = fitted, found
        return found

    def by_tomogram(self) -> list[tuple[str, int, int]]:
        """Return, for each tomogram with labels, its name, how many of its labels a head says that was fitted to the
        labels of the other tomograms alone, and how many labels it has. Empty where labels lie in fewer than two.
        """
        from tomotutor.learn.estimate import left_out

        embedding, asked = self.pool_embedding.newest, self.freeze()
        if embedding is None:
            return []
        name_L = self._core.pool.tomogram_N[asked.rows].astype(str)
        return left_out(embedding.teacher_ND, asked.rows, asked.label_L, name_L, len(asked.classes))

    def advice(self) -> list[Advice]:
        """Return what to do next, the most urgent in front."""
        from tomotutor.learn.estimate import DOUBTED, advice

        state = self._core.state
        doubts = self.doubts()
        count = state.labels.count(state.given())
        return advice(
            self.estimate(),
            np.array([count.get(name, 0) for name in state.classes.names]),
            state.classes.names,
            doubts=0 if doubts is None else len(doubts.wrong(DOUBTED)),
        )
