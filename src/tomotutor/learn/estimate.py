"""How right the answers are: of the whole pool, of a class, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomotutor.base.wilson import wilson
from tomotutor.learn.head import Head, fit_head, one_blas_thread
from tomotutor.learn.results import Answers

LEVEL = 0.95
FOLDS = 10  # of the head: with fewer, held-out answers come from heads that know too little
# mean and deviation of a, b, d before any label, chosen on sets that no figure is reported on (docs/evidence.md)
CENTRE, DEVIATION = (0.8, 1.3, -1.0), (0.6, 0.5, 0.7)
HIDES = 0.6  # chance that a class without a label is a group of look-alikes without one; else it is scattered
RARE = 20  # its share is then Beta(1, RARE + items drawn at random that were of other classes): 0.05 without any
BINS = 32
DRAWS = 2000
STEPS = 50  # of Newton's method
FEW = 5  # labels below which a class is not known
WEAK = 0.1  # below the goal, recall at which a class is pointed out
DOUBTED = 1.0  # nats against a label from which it looks wrong


@dataclass(frozen=True)
class Estimate:
    """How right the answers of the pool are.

    Attributes
    ----------
    share : float
        Expected share of right answers in the pool, labels counted as right.
    low, high : float
        Its 95 % interval.
    macro_recall : float
        Expected recall, averaged over the classes that have labels.
    recall_C : ndarray
        Of each class; nan for those without labels.
    right, checked : int
        Right predictions of check particles, and how many these are.
    basis : str
        What it rests on, in words.
    """

    share: float
    low: float
    high: float
    macro_recall: float
    recall_C: np.ndarray
    right: int
    checked: int
    basis: str


@one_blas_thread()
def estimate(
    teacher: Head,
    student: Head,
    teacher_ND: np.ndarray,
    student_ND: np.ndarray,
    answers: Answers,
    *,
    group_N: np.ndarray | None = None,
    check_rows: np.ndarray | None = None,
    check_label: np.ndarray | None = None,
    seed: int = 0,
) -> Estimate:
    """Estimate the share of right answers from calibrated confidence, corrected by what is known of right and wrong.

    Confidence alone is no measure: the labels that it is calibrated on were chosen by margin or typicality, so the
    share of right ones among them is not the pool's. Three things correct this. First, only P(right | confidence) is
    learned from them, and is averaged over the confidences of the *unlabeled pool*: that takes care of a choice by
    confidence (covariate shift). Second, labels chosen by a rule are harder than others of the same confidence, and
    their held-out answers come from heads of fewer labels, so they have a shift of their own, which check particles
    have not:

        P(right_i) = σ(a + b·s_i + d·[held out]),  s = mean of log(c / (1 − c)),  c what the teacher's head, and what
        the student's, gives the class that the teacher's head answers

    with Gaussian priors of a, b, d (`CENTRE`, `DEVIATION`). Data are the held-out answers about the labels whose class
    the head of the other folds knew, and the predictions of check particles. The posterior is Gaussian about its
    maximum (Laplace); the interval is that of the share under its draws, with right and wrong of each item drawn, too.
    Third, a head is sure, and wrong, of a class that nobody has labeled yet: all its items together. Each class without
    a label is, in a draw, with chance `HIDES` one of the groups of look-alikes that have no label, else scattered.

    Parameters
    ----------
    teacher, student : Head
        On both embeddings of the pool, fitted on the same labels with `FOLDS` folds.
    teacher_ND, student_ND : ndarray
        These embeddings.
    answers : Answers
        The pool's answers, for its labels.
    group_N : ndarray, optional
        Group of look-alikes of each pool row, -1 where it has none.
    check_rows, check_label : ndarray, optional
        Check particles that have a label: never among the heads' own labels.
    seed : int
        Of the draws.
    """
    rng = np.random.default_rng([seed, 0xE57])
    check_rows = np.zeros(0, np.int64) if check_rows is None else np.asarray(check_rows, np.int64)
    check_label = np.zeros(0, np.int64) if check_label is None else np.asarray(check_label, np.int64)
    probs_NC = teacher.probs(teacher_ND).astype(np.float64)
    s_N = evidence(probs_NC, student.probs(student_ND))
    told_L = np.isfinite(teacher.held_out_LC[np.arange(len(teacher.rows)), teacher.label_L])  # else no answer to judge
    held_LC = np.exp(teacher.held_out_LC[told_L])
    s_M = np.concatenate([evidence(held_LC, np.exp(student.held_out_LC[told_L])), s_N[check_rows]])
    right_M = np.concatenate(
        [held_LC.argmax(1) == teacher.label_L[told_L], probs_NC[check_rows].argmax(1) == check_label]
    ).astype(float)
    held_M = np.arange(len(s_M)) < len(held_LC)
    mean_3, covariance_33 = _posterior(s_M, right_M, held_M)
    open_N = np.flatnonzero(~answers.labeled_N)
    bare_N = np.full(len(probs_NC), -1)
    if group_N is not None:
        bare_N = np.where(np.isin(group_N, group_N[answers.labeled_N]), -1, group_N)
    a_b_D2 = rng.multivariate_normal(mean_3, covariance_33, DRAWS)[:, :2]
    right_D = _right(s_N[open_N], bare_N[open_N], a_b_D2, len(teacher.unknown), len(check_rows), rng)
    n = len(answers.class_N)
    share_D = (right_D + n - len(open_N)) / n
    low, high = np.quantile(share_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    recall_C = _recall(probs_NC[open_N], sigmoid(mean_3[0] + mean_3[1] * s_N[open_N]), answers, teacher)
    checked, right = len(check_rows), int(right_M[~held_M].sum())
    basis = f"calibrated confidence of the head, on {int(held_M.sum())} labels"
    if checked:
        basis += f" and {checked} check particles, {right} of them right"
    if teacher.unknown:
        basis += f"; {len(teacher.unknown)} of {teacher.classes} classes without a label may hide in it"
    return Estimate(
        float(share_D.mean()), float(low), float(high), float(np.nanmean(recall_C)), recall_C, right, checked, basis
    )


def evidence(teacher_NC: np.ndarray, student_NC: np.ndarray) -> np.ndarray:
    """Return the mean of the log odds that two heads give the class which the teacher's answers, (N,)."""
    index, best_N = np.arange(len(teacher_NC)), teacher_NC.argmax(1)
    return (logit(teacher_NC[index, best_N]) + logit(student_NC[index, best_N].astype(np.float64))) / 2


def _right(
    s_N: np.ndarray,
    bare_N: np.ndarray,
    a_b_D2: np.ndarray,
    unlabeled: int,
    drawn: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the number of right answers among unlabeled items in each draw of a and b, (D,).

    `bare_N` is the group of those whose group has no label, else -1; `unlabeled` counts the classes without a label,
    `drawn` the items drawn at random. Items of a group that are about equally sure are counted together.
    """
    if not len(s_N):
        return np.zeros(len(a_b_D2))
    bin_N = np.searchsorted(np.quantile(s_N, np.linspace(0, 1, BINS + 1)[1:-1]), s_N, side="right")
    cell_G2, cell_N = np.unique(np.column_stack([bare_N, bin_N]), axis=0, return_inverse=True)
    cell_N, bare_G = cell_N.reshape(-1), cell_G2[:, 0]
    size_G = np.bincount(cell_N)
    p_DG = sigmoid(a_b_D2[:, :1] + a_b_D2[:, 1:] * (np.bincount(cell_N, s_N) / size_G))
    groups, count = np.unique(bare_N[bare_N >= 0], return_counts=True)
    for _ in range(unlabeled):
        hidden_D = np.full(len(a_b_D2), -1)
        if len(groups):
            chosen_D = rng.choice(groups, len(hidden_D), p=count / count.sum())
            hidden_D = np.where(rng.random(len(hidden_D)) < HIDES, chosen_D, -1)
        scattered_D1 = rng.beta(1, RARE + drawn, (len(hidden_D), 1))
        p_DG *= np.where(hidden_D[:, None] >= 0, bare_G != hidden_D[:, None], 1 - scattered_D1)
    return rng.binomial(size_G, p_DG).sum(1)


def logit(p_N: np.ndarray) -> np.ndarray:
    """Return log(p / (1 − p)), p between 10⁻³ and 1 − 10⁻³: a head of few labels is never surer than that."""
    p_N = np.clip(p_N, 1e-3, 1 - 1e-3)
    return np.log(p_N / (1 - p_N))


def sigmoid(z_N: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + e^−z)."""
    return 1 / (1 + np.exp(-z_N))


def _posterior(s_M: np.ndarray, right_M: np.ndarray, held_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of (a, b, d), by Newton's method."""
    x_M3 = np.column_stack([np.ones(len(s_M)), s_M, held_M])
    centre_3, precision_3 = np.array(CENTRE), 1 / np.square(DEVIATION)
    w_3 = centre_3.copy()
    hessian_33 = np.diag(precision_3)
    for _ in range(STEPS):
        p_M = sigmoid(x_M3 @ w_3)
        gradient_3 = x_M3.T @ (p_M - right_M) + precision_3 * (w_3 - centre_3)
        hessian_33 = (x_M3.T * (p_M * (1 - p_M))) @ x_M3 + np.diag(precision_3)
        step_3 = np.linalg.solve(hessian_33, gradient_3)
        w_3 = w_3 - step_3 / max(1.0, float(np.abs(step_3).max()))
        if np.abs(step_3).max() < 1e-8:
            break
    return w_3, np.linalg.inv(hessian_33)


def _recall(probs_NC: np.ndarray, right_N: np.ndarray, answers: Answers, head: Head) -> np.ndarray:
    """Return Σ P(answer c and right) / Σ P(class c) of each class: an answer is right with `right_N`, the rest goes to
    the other classes as the head sees them.
    """
    best_N = probs_NC.argmax(1)
    index = np.arange(len(best_N))
    other_NC = probs_NC.copy()
    other_NC[index, best_N] = 0
    share_NC = other_NC * ((1 - right_N) / np.maximum(other_NC.sum(1), 1e-12))[:, None]
    share_NC[index, best_N] = right_N
    labels_C = np.bincount(answers.class_N[answers.labeled_N], minlength=head.classes)[: head.classes]
    found_C = labels_C + np.bincount(best_N, right_N, minlength=head.classes)
    all_C = labels_C + share_NC.sum(0)
    return np.where(np.isin(np.arange(head.classes), head.known), found_C / np.maximum(all_C, 1e-12), np.nan)


@dataclass(frozen=True)
class Purity:
    """Precision of a class, from members that were drawn at random and asked blind.

    Attributes
    ----------
    right, n : int
        Members that are of the class, among those asked.
    precision : float
        right / n; nan without any.
    low, high : float
        Wilson's 95 % interval; 0 and 1 without any.
    """

    right: int
    n: int
    precision: float
    low: float
    high: float


def purity(right: int, n: int) -> Purity:
    """Return the precision of a class from `right` of `n` random predicted members."""
    if not n:
        return Purity(0, 0, float("nan"), 0.0, 1.0)
    return Purity(right, n, right / n, *wilson(right, n))


@dataclass(frozen=True)
class Advice:
    """One thing to do next.

    Attributes
    ----------
    action : {"label", "doubts", "class", "stop"}
        Go on labeling; look at the labels that look wrong; label more of one class; stop.
    reason : str
        Why, in a sentence.
    class_number : int or None
        The class that "class" means.
    """

    action: str
    reason: str
    class_number: int | None = None


def advice(
    found: Estimate | None,
    count_C: np.ndarray,
    class_names: Sequence[str],
    *,
    doubts: int = 0,
    goal: float = 0.95,
) -> list[Advice]:
    """Say what to do next, the most urgent in front.

    Parameters
    ----------
    found : Estimate or None
        How right the answers are; None while nothing can be said.
    count_C : ndarray
        Labels of each class.
    class_names : sequence of str
        Their names.
    doubts : int
        Labels that look wrong (`Doubts.wrong` with `DOUBTED`).
    goal : float
        Share of right answers at which a person may stop: the interval's lower end has to reach it.

    Returns
    -------
    list of Advice
        Never empty; "stop" stands alone.
    """
    if found is None:
        if np.count_nonzero(count_C) < 2:
            return [Advice("label", "there are no labels in two classes yet: label a few items of each")]
        return [Advice("label", "nothing is predicted before the first training: label a few items of each class")]
    said = []
    if doubts:
        words = "1 label looks wrong" if doubts == 1 else f"{doubts} labels look wrong"
        said.append(Advice("doubts", f"{words}: a wrong label costs more than a missing one"))
    for c in np.argsort(count_C, kind="stable").tolist():
        if count_C[c] < FEW:
            words = f"{count_C[c]} label{'' if count_C[c] == 1 else 's'}"
            said.append(Advice("class", f"{class_names[c]} has {words}; {FEW} are needed to know it", c))
        elif found.recall_C[c] < goal - WEAK:
            reason = f"about {found.recall_C[c]:.2f} of {class_names[c]} are found: label more of it"
            said.append(Advice("class", reason, c))
    if found.low < goal:
        reason = f"about {found.share:.2f} of the pool is right, {found.low:.2f} at least; the goal is {goal:g}"
        said.append(Advice("label", reason))
    reason = f"about {found.share:.2f} of the pool is right, {found.low:.2f} at least: the goal is reached"
    return said or [Advice("stop", reason)]


def left_out(
    embedding_ND: np.ndarray, rows: np.ndarray, label_L: np.ndarray, part_L: np.ndarray, classes: int
) -> list[tuple[str, int, int]]:
    """Hold the labels of each part of the pool against a head that has seen those of the other parts alone.

    What a head knows of a part from the part itself, its contrast or its neighbours, does not help it here.

    Parameters
    ----------
    embedding_ND : ndarray
        The pool's embedding.
    rows, label_L : ndarray
        Labeled pool rows and their class numbers.
    part_L : ndarray of str
        The part of each label, such as its tomogram; "" where it has none: these labels are learned from alone.
    classes : int
        Number of classes of the session.

    Returns
    -------
    list of (str, int, int)
        Part, labels that the head says too, labels. A class that only this part has cannot be said: it counts as
        wrong. Parts are left out where the others have labels in fewer than two classes.
    """
    found = []
    for part in sorted(set(part_L.tolist()) - {""}):
        own_L = part_L == part
        if len(np.unique(label_L[~own_L])) < 2:
            continue
        head = fit_head(embedding_ND, rows[~own_L], label_L[~own_L], classes, temperature=1.0)
        said = head.probs(embedding_ND, rows[own_L]).argmax(1)
        found.append((part, int((said == label_L[own_L]).sum()), int(own_L.sum())))
    return found
