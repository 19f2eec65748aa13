"""How right the answers are: of the whole pool, of a class, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomotutor.learn.head import Head
from tomotutor.learn.results import Answers

LEVEL = 0.95
FOLDS = 10  # of the head: with fewer, held-out answers come from heads that know too little
# mean and deviation of a, b, d before any label; chosen on 24 sessions each of two kinds of data (docs/evidence.md)
CENTRE, DEVIATION = (0.5, 1.0, -0.5), (1.0, 0.7, 0.7)
DRAWS = 4000
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


def estimate(
    head: Head,
    embedding_ND: np.ndarray,
    answers: Answers,
    *,
    check_rows: np.ndarray | None = None,
    check_label: np.ndarray | None = None,
    seed: int = 0,
) -> Estimate:
    """Estimate the share of right answers from calibrated confidence, corrected by what is known of right and wrong.

    Confidence alone is no measure: the labels that it is calibrated on were chosen by margin or typicality, so the
    share of right ones among them is not the pool's. Two things correct this. First, only P(right | confidence) is
    learned from them, and is averaged over the confidences of the *unlabeled pool*: that takes care of a choice by
    confidence (covariate shift). Second, labels chosen by a rule are harder than others of the same confidence, and
    their held-out answers come from heads of fewer labels, so they have a shift of their own, which check particles
    have not:

        P(right_i) = σ(a + b·s_i + d·[held out]),  s = log(c / (1 − c)),  c the head's confidence

    with Gaussian priors of a, b, d (`CENTRE`, `DEVIATION`). Data are the held-out answers about the labels whose class
    the head of the other folds knew, and the predictions of check particles. The posterior is Gaussian about its
    maximum (Laplace); the interval is that of the share under its draws, with right and wrong of each item drawn, too.

    Parameters
    ----------
    head : Head
        On the pool's embedding, with `FOLDS` folds.
    embedding_ND : ndarray
        That embedding.
    answers : Answers
        The pool's answers, for its labels.
    check_rows, check_label : ndarray, optional
        Check particles that have a label: never among the head's own labels.
    seed : int
        Of the draws.
    """
    rng = np.random.default_rng([seed, 0xE57])
    check_rows = np.zeros(0, np.int64) if check_rows is None else np.asarray(check_rows, np.int64)
    check_label = np.zeros(0, np.int64) if check_label is None else np.asarray(check_label, np.int64)
    probs_NC = head.probs(embedding_ND).astype(np.float64)
    held_LC = np.exp(head.held_out_LC)
    told_L = held_LC[np.arange(len(head.rows)), head.label_L] > 0  # the others' class was unknown: no answer to judge
    checked_NC = probs_NC[check_rows]
    s_M = np.concatenate([logit(held_LC[told_L].max(1)), logit(checked_NC.max(1))])
    right_M = np.concatenate(
        [held_LC[told_L].argmax(1) == head.label_L[told_L], checked_NC.argmax(1) == check_label]
    ).astype(float)
    held_M = np.concatenate([np.ones(int(told_L.sum()), bool), np.zeros(len(check_rows), bool)])
    mean_3, covariance_33 = _posterior(s_M, right_M, held_M)
    open_N = np.flatnonzero(~answers.labeled_N)
    n = len(answers.class_N)
    s_N = logit(probs_NC[open_N].max(1))
    a_b = rng.multivariate_normal(mean_3, covariance_33, DRAWS)[:, :2]
    edges = np.quantile(s_N, np.linspace(0, 1, 65)) if len(s_N) else np.zeros(2)
    place_N = np.clip(np.searchsorted(edges, s_N, side="right") - 1, 0, 63)
    size_B = np.bincount(place_N, minlength=64)
    s_B = np.bincount(place_N, s_N, minlength=64) / np.maximum(size_B, 1)
    p_DB = sigmoid(a_b[:, :1] + a_b[:, 1:] * s_B)
    right_D = rng.binomial(size_B, p_DB).sum(1) if len(s_N) else np.zeros(DRAWS)
    share_D = (right_D + n - len(open_N)) / n
    low, high = np.quantile(share_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    recall_C = _recall(probs_NC[open_N], sigmoid(mean_3[0] + mean_3[1] * s_N), answers, head)
    checked, right = len(check_rows), int(right_M[~held_M].sum())
    basis = f"calibrated confidence of the head, on {int(held_M.sum())} labels"
    if checked:
        basis += f" and {checked} check particles, {right} of them right"
    return Estimate(
        float(share_D.mean()), float(low), float(high), float(np.nanmean(recall_C)), recall_C, right, checked, basis
    )


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
        Wilson's 95 % interval (Wilson 1927); 0 and 1 without any.
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
    from scipy.stats import binomtest

    found = binomtest(right, n).proportion_ci(LEVEL, "wilson")
    return Purity(right, n, right / n, float(found.low), float(found.high))


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
        return [Advice("label", "there are no labels in two classes yet: label a few items of each")]
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
