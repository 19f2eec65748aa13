"""What to ask next, renewed after each label: the rounds' strategies on what the fast head says, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import overload

import numpy as np
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.head import Head, features, one_blas_thread, pool_mean
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import STRATEGIES, Arrays, Candidates, Scores, ask_order

CANDIDATES = 2000  # open items that are ranked, always the same of them: the others wait until some are labeled
BATCH = 20  # items that a rule for batches chooses to complement each other

# what each rule that needs no training of its own orders by
NUMBERS = {
    "teacher_student": "KL(teacher ‖ student)",
    "random": "chance",
    "entropy": "entropy",
    "margin": "−(p₁ − p₂)",
    "least_confidence": "1 − p₁",
    "core_set": "distance to what is labeled",
    "badge": "length of the gradient",
    "pair_badge": "length of the pair's gradient",
    "residual": "length of what divides the two",
    "typiclust": "typicality",
    "prob_cover": "items within its ball",
    "max_herding": "cover gained",
    "uherding": "unsure cover gained",
    "margin_cluster": "−(p₁ − p₂)",
    "drop_query": "changes under dropout",
    "tcm": "typicality, then −(p₁ − p₂)",
}
COVERING = ("core_set", "typiclust", "prob_cover", "max_herding")  # need no head: they look at the embedding alone
DISPUTING = ("teacher_student", "residual", "pair_badge")


@dataclass(frozen=True)
class Next:
    """Open items in the order to ask.

    Attributes
    ----------
    rows : ndarray
        Pool rows; the rank of an item is its place.
    number_N : ndarray
        What the rule gives each; a rule for batches orders by more than this.
    measure : str
        What the number is.
    reasons : sequence of str
        Why each is asked, in words.
    """

    rows: np.ndarray
    number_N: np.ndarray
    measure: str
    reasons: Sequence[str]


class _Net:
    """What a strategy asks of a network: its last layer."""

    def __init__(self, head: Head) -> None:
        import torch

        self.fc = torch.nn.Linear(*head.weight_DK.shape)
        with torch.no_grad():
            self.fc.weight.copy_(torch.from_numpy(head.weight_DK.T / head.temperature))
            self.fc.bias.copy_(torch.from_numpy(head.bias_K / head.temperature))


@one_blas_thread()
def order_next(
    teacher: Head | None,
    student: Head | None,
    teacher_ND: np.ndarray,
    student_ND: np.ndarray,
    open_rows: np.ndarray,
    rule: str,
    class_names: Sequence[str],
    *,
    group_N: np.ndarray | None = None,
    batch: int = BATCH,
    seed: int = 0,
) -> Next:
    """Order open items by a rule.

    Parameters
    ----------
    teacher, student : Head or None
        On both embeddings; None before there are labels in two classes, when the order is that of a rule which looks at
        the embedding alone (max_herding in the place of one that does not).
    teacher_ND, student_ND : ndarray
        Embeddings of the pool.
    open_rows : ndarray
        Rows that may be asked; of more than `CANDIDATES` a random part that stays the same while it lasts.
    rule : str
        A key of `NUMBERS`.
    class_names : sequence of str
        For the reasons.
    group_N : ndarray, optional
        Group of look-alikes of each pool row, -1 where it has none, for the reasons.
    batch : int
        How many a rule for batches chooses together.
    seed : int
        Of what is random.

    Raises
    ------
    TomoTutorError
        The rule needs a training of its own.
    """
    if rule not in NUMBERS:
        raise TomoTutorError(
            f"queue: {rule} needs networks of its own and cannot be renewed after each label; expected one of "
            f"{', '.join(NUMBERS)}"
        )
    rows = np.sort(np.asarray(open_rows, np.int64))
    if len(rows) > CANDIDATES:
        lot_N = np.random.default_rng([seed, 0x9E7]).random(len(teacher_ND))
        rows = np.sort(rows[np.argsort(lot_N[rows], kind="stable")[:CANDIDATES]])
    if not len(rows):
        return Next(rows, np.zeros(0), NUMBERS[rule], ())
    if teacher is None or student is None:
        rule = rule if rule in (*COVERING, "random") else "max_herding"
    labeled_rows = np.zeros(0, np.int64) if teacher is None else teacher.rows
    both = np.concatenate([rows, labeled_rows])
    parts = (("teacher", teacher, teacher_ND), ("student", student, student_ND))
    scores = {name: _scores(head, x_ND, both, len(class_names)) for name, head, x_ND in parts}
    net = {"teacher": _Net(teacher)} if rule == "drop_query" and teacher is not None else {}
    candidates = Candidates(
        np.arange(len(rows)),
        Arrays(scores, scores["teacher"].embedding_ND, net),  # type: ignore[arg-type]
        np.random.default_rng([seed, 0x9E8]),
        labeled_rows=np.arange(len(rows), len(both)),
        labels=np.zeros(0, np.int64) if teacher is None else teacher.label_L,
    )
    strategy = STRATEGIES[rule](_recipe(rule, batch, seed))
    utility_N = strategy.score(candidates)
    order = ask_order(strategy, candidates, utility_N)
    reasons = _Reasons(rule, candidates, class_names, None if group_N is None else group_N[rows], order)
    return Next(rows[order], utility_N[order], NUMBERS[rule], reasons)


@cache
def _recipe(rule: str, batch: int, seed: int) -> Recipe:
    return Recipe(strategy=rule, query_size=batch, seed=seed)


def _scores(head: Head | None, embedding_ND: np.ndarray, rows: np.ndarray, classes: int) -> Scores:
    if head is None:
        x_ND = features(embedding_ND, rows, pool_mean(embedding_ND))
        return Scores(np.full((len(rows), classes), -np.log(max(classes, 1))), x_ND)
    x_ND = features(embedding_ND, rows, head.centre_D)
    probs_NC = head.probs(embedding_ND, rows)[:, head.known].astype(np.float64)
    return Scores(np.log(np.maximum(probs_NC, 1e-30)), x_ND)


class _Reasons(Sequence[str]):
    """Why each candidate is asked, in the order of asking; put into words when somebody reads it."""

    def __init__(
        self,
        rule: str,
        candidates: Candidates,
        class_names: Sequence[str],
        group_N: np.ndarray | None,
        order: np.ndarray,
    ) -> None:
        teacher, student = candidates.teacher, candidates.student
        self._rule, self._group_N, self._order = rule, group_N, order
        self._labels, known = len(candidates.labels), np.unique(candidates.labels)
        self._names = [class_names[k] for k in known]
        if len(known):
            self._first_N, self._second_N = np.argsort(-teacher.log_probs_NC, axis=1, kind="stable")[:, :2].T
            self._other_N = student.log_probs_NC.argmax(1)
            index, p_NC = np.arange(len(candidates)), teacher.probs_NC
            self._gap_N = p_NC[index, self._first_N] - p_NC[index, self._second_N]
            h_MD = candidates.labeled.embedding_ND
            self._likeness_N = (teacher.embedding_ND @ h_MD.T).max(1) / h_MD.shape[1]

    @override
    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    @override
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        found = self._order[place]
        return self._of(int(found)) if isinstance(place, int) else [self._of(i) for i in found.tolist()]

    def _of(self, i: int) -> str:
        """Say of a candidate why it is asked."""
        rule, group_N, names = self._rule, self._group_N, self._names
        where = f"typical of group {group_N[i] + 1}" if group_N is not None and group_N[i] >= 0 else "stands for others"
        if not names:
            return where
        a, b, c = (names[of_N[i]] for of_N in (self._first_N, self._second_N, self._other_N))
        gap = self._gap_N[i]
        if rule == "random":
            return "drawn at random"
        if rule in DISPUTING and a != c:
            return f"disputed: the teacher says {a}, the student {c}"
        if rule in ("teacher_student", "residual"):
            return f"disputed: both say {a}, but not equally sure"
        few = rule == "tcm" and self._labels < 3 * len(names)
        if rule in COVERING or (rule == "uherding" and gap > 0.5) or few:
            return "unlike what is labeled" if self._likeness_N[i] < 0.5 else where
        if gap < 0.5:
            return f"the program is unsure: {a} or {b}"
        return f"probably {a}, and least sure of what is left"
