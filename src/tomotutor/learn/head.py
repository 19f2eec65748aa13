"""The fast head: a logistic regression on the pool's embedding, refitted after every label in milliseconds.

The embedding h of an item is centred by the pool's mean and scaled to length √D, so that one strength of the penalty
fits every network: x = √D·(h − m)/‖h − m‖, p = softmax((W·x + b)/T). W minimises the cross-entropy of the labels plus
‖W‖²/2; the temperature T is fitted on folds, to answers about labels that were held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.results import Answers

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BLOCK = 8192  # rows answered at a time: what fits a processor's cache
PENALTY = 1.0  # the C of scikit-learn, for rows of length √D
SAMPLE = 20_000  # rows for the pool's mean
FOLDS = 5
PRIOR = 0.5  # deviation of log T before any label: a few held-out answers, all right, must not make the head certain


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Multiply in one thread: matrices of a few labels or classes are so small that a second thread only waits for the
    first, many times as long on a busy machine, and takes the processor from others.
    """
    with _thread_pools().limit(limits=1, user_api="blas"):
        yield


@cache
def _thread_pools() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    import_module("scipy.linalg")  # its pool is one of them
    return ThreadpoolController()


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Attributes
    ----------
    weight_DK, bias_K : ndarray
        W and b of the known classes; float32.
    centre_D : ndarray
        m, the pool's mean.
    known : ndarray of int
        (K,) class numbers that have labels, ascending.
    classes : int
        Number of all classes; those not in `known` get probability 0.
    temperature : float
        T.
    rows, label_L : ndarray
        What it was fitted on: pool rows and class numbers.
    fold_L : ndarray
        Fold of each label; -1 where none were made.
    held_out_LC : ndarray
        Log-probabilities of each label at temperature T by the head of the other folds; -inf for classes that these do
        not know, and where there are no folds.
    """

    weight_DK: np.ndarray
    bias_K: np.ndarray
    centre_D: np.ndarray
    known: np.ndarray
    classes: int
    temperature: float
    rows: np.ndarray
    label_L: np.ndarray
    fold_L: np.ndarray
    held_out_LC: np.ndarray

    @property
    def unknown(self) -> tuple[int, ...]:
        """Classes without a label: the head never answers them."""
        return tuple(c for c in range(self.classes) if c not in self.known)

    def probs(self, embedding_ND: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return probabilities (N, C), float32, of some rows of an embedding, by default all.

        Raises
        ------
        TomoTutorError
            The embedding has another length, or holds numbers that are not finite.
        """
        n = len(embedding_ND) if rows is None else len(rows)
        probs_NC = np.zeros((n, self.classes), np.float32)
        for part, probs_KN in self.blocks(embedding_ND, rows):
            probs_NC[part, self.known] = probs_KN.T
        return probs_NC

    def blocks(self, embedding_ND: np.ndarray, rows: np.ndarray | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield probabilities (K, N) of the known classes, some rows at a time."""
        _check_length(embedding_ND, len(self.centre_D))
        # W·(h − m): the mean's own products come off after the multiplication, and ‖h − m‖² = ‖h‖² − 2h·m + ‖m‖²
        product_DK = np.column_stack([self.weight_DK, self.centre_D]).astype(np.float32)
        shift_K = self.centre_D @ self.weight_DK
        square = float(self.centre_D @ self.centre_D)
        n = len(embedding_ND) if rows is None else len(rows)
        for start in range(0, n, BLOCK):
            part = slice(start, min(start + BLOCK, n))
            h_ND = as_float32(embedding_ND[part if rows is None else rows[part]])
            z_KN = (h_ND @ product_DK).T.copy()
            length_N = np.einsum("nd,nd->n", h_ND, h_ND) - 2 * z_KN[-1] + square
            if not np.isfinite(length_N).all():
                raise TomoTutorError(
                    "head: the embedding holds numbers that are not finite; expected finite ones: embed the pool anew"
                )
            scale_N = np.sqrt(len(self.centre_D) / np.maximum(length_N, 1e-12))
            z_KN = ((z_KN[:-1] - shift_K[:, None]) * scale_N + self.bias_K[:, None]) / self.temperature
            np.exp(z_KN - z_KN.max(0), out=z_KN)
            z_KN /= z_KN.sum(0)
            yield part, z_KN


def as_float32(x_ND: np.ndarray) -> np.ndarray:
    """Return rows as float32; torch widens float16 four times as fast as NumPy does."""
    if x_ND.dtype != np.float16:
        return np.asarray(x_ND, np.float32)
    import torch

    return torch.from_numpy(np.array(x_ND)).float().numpy()


def features(embedding_ND: np.ndarray, rows: np.ndarray, centre_D: np.ndarray) -> np.ndarray:
    """Return x of some rows, (N, D) float32: centred, of length √D."""
    x_ND = as_float32(embedding_ND[rows]) - centre_D
    length_N = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND * np.sqrt(x_ND.shape[1]) / np.maximum(length_N, 1e-6)


def pool_mean(embedding_ND: np.ndarray) -> np.ndarray:
    """Return the mean embedding, of evenly spaced rows where there are many."""
    return as_float32(embedding_ND[:: max(1, len(embedding_ND) // SAMPLE)]).mean(0)


@one_blas_thread()
def fit_head(
    embedding_ND: np.ndarray,
    rows: np.ndarray,
    label_L: np.ndarray,
    classes: int,
    *,
    group_N: np.ndarray | None = None,
    folds: int = FOLDS,
    penalty: float = PENALTY,
    temperature: float | None = None,
) -> Head:
    """Fit a head to labels.

    Parameters
    ----------
    embedding_ND : ndarray
        The pool's embedding, float16 or float32; may be mapped from disk. Rows without an embedding are 0.
    rows, label_L : ndarray
        Labeled pool rows and their class numbers; never check particles.
    classes : int
        Number of classes of the session.
    group_N : ndarray, optional
        A number for each pool row: items of one number (twins, overlapping picks) stay in one fold.
    folds : int
        Folds for held-out answers and temperature; fewer where there are fewer labels.
    penalty : float
        C of the regression.
    temperature : float, optional
        T, from another head: then no folds are made, which takes a sixth of the time, and there are no held-out
        answers.

    Raises
    ------
    TomoTutorError
        Fewer than two classes have labels, a label is no class, or an embedding is not finite.
    """
    rows, label_L = np.asarray(rows, np.int64), np.asarray(label_L, np.int64)
    known = np.unique(label_L)
    if len(known) < 2:
        raise TomoTutorError(
            f"head: {len(label_L)} labels in {len(known)} classes; expected labels in two classes at least"
        )
    if known[0] < 0 or known[-1] >= classes:
        raise TomoTutorError(
            f"head: found class number {known[-1] if known[0] >= 0 else known[0]} of {classes} classes"
        )
    if rows.min() < 0 or rows.max() >= len(embedding_ND):
        raise TomoTutorError(
            f"head: the embedding has {len(embedding_ND)} rows, a label is of row {rows.max()}; expected the embedding "
            "of this pool"
        )
    centre_D = pool_mean(embedding_ND)
    x_LD = features(embedding_ND, rows, centre_D)
    if not (np.isfinite(x_LD).all() and np.isfinite(centre_D).all()):
        raise TomoTutorError(
            "head: the embedding holds numbers that are not finite; expected finite ones: embed the pool anew"
        )
    weight_DK, bias_K, _ = _fit(x_LD, label_L, penalty)
    fold_L = np.full(len(rows), -1)
    logits_LC = np.full((len(rows), classes), -np.inf)
    if temperature is None:
        fold_L = assign_folds(label_L, None if group_N is None else group_N[rows], folds)
        for fold in np.unique(fold_L):
            out = fold_L == fold
            if len(np.unique(label_L[~out])) > 1:
                w_DK, b_K, seen = _fit(x_LD[~out], label_L[~out], penalty)
                logits_LC[np.ix_(out, seen)] = x_LD[out] @ w_DK + b_K
        temperature = fit_temperature(logits_LC, label_L)
    held_out_LC = _log_softmax(logits_LC / temperature)
    return Head(weight_DK, bias_K, centre_D, known, classes, temperature, rows, label_L, fold_L, held_out_LC)


def _log_softmax(z_NC: np.ndarray) -> np.ndarray:
    """Return log-probabilities; rows that are -inf throughout stay so."""
    with np.errstate(invalid="ignore"):
        log_p_NC = z_NC - np.logaddexp.reduce(z_NC, axis=1, keepdims=True)
    return np.where(np.isnan(log_p_NC), -np.inf, log_p_NC)


def _fit(x_LD: np.ndarray, label_L: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return W (D, K), b (K) and the K class numbers that minimise C·Σ −log softmax(W·x + b)_y + ‖W‖²/2, by L-BFGS.

    scikit-learn's fit is the same, but it warns where it stops early, which no thread beside a screen may do.
    """
    from scipy.optimize import minimize

    seen, y_L = np.unique(label_L, return_inverse=True)
    x_LE = np.column_stack([x_LD, np.ones(len(x_LD))]).astype(np.float64)  # the last column is b's
    one_hot_LK = np.eye(len(seen))[y_L]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w_EK = flat.reshape(x_LE.shape[1], len(seen))
        z_LK = x_LE @ w_EK
        z_LK -= z_LK.max(1, keepdims=True)
        p_LK = np.exp(z_LK)
        total_L = p_LK.sum(1, keepdims=True)
        held_EK = w_EK.copy()
        held_EK[-1] = 0
        value = penalty * float(np.log(total_L).sum() - (z_LK * one_hot_LK).sum()) + float(np.square(held_EK).sum()) / 2
        return value, (penalty * (x_LE.T @ (p_LK / total_L - one_hot_LK)) + held_EK).ravel()

    found = minimize(
        loss,
        np.zeros(x_LE.shape[1] * len(seen)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 300, "ftol": 1e-7, "gtol": 1e-4 * penalty * len(y_L)},
    )
    w_EK = found.x.reshape(x_LE.shape[1], len(seen)).astype(np.float32)
    return w_EK[:-1], w_EK[-1], seen


def assign_folds(label_L: np.ndarray, group_L: np.ndarray | None, folds: int) -> np.ndarray:
    """Return the fold of each label: each class spread over the folds, labels of one group together, nothing drawn.

    The labels of a class go to the folds in turn, in the order they stand, so that one more label moves no other.
    """
    group_L = np.arange(len(label_L)) if group_L is None else group_L
    first_L = np.unique(group_L, return_index=True, return_inverse=True)[1:]
    fold_G = np.zeros(len(first_L[0]), np.int64)
    turn: dict[int, int] = {}
    for g in np.argsort(first_L[0], kind="stable").tolist():
        c = int(label_L[first_L[0][g]])
        fold_G[g] = (turn.get(c, 0) + c) % folds  # classes begin in different folds, so that these are of one size
        turn[c] = turn.get(c, 0) + 1
    return fold_G[first_L[1]]


def fit_temperature(logits_LC: np.ndarray, label_L: np.ndarray, prior: float = PRIOR) -> float:
    """Return the T that minimises Σ −log softmax(z/T)_y + (log T)²/(2·prior²) over held-out labels.

    Labels whose class the head of the other folds did not know tell nothing of T, and are left out. The prior keeps T
    near 1 while there are few; without it this is temperature scaling (Guo et al., ICML 2017).
    """
    from scipy.optimize import minimize_scalar

    told_L = np.isfinite(logits_LC[np.arange(len(label_L)), label_L])
    z_LC, y_L = logits_LC[told_L], label_L[told_L]

    def loss(log_t: float) -> float:
        scaled_LC = z_LC / np.exp(log_t)
        own_L = scaled_LC[np.arange(len(y_L)), y_L]
        return float((np.logaddexp.reduce(scaled_LC, axis=1) - own_L).sum() + log_t**2 / (2 * prior**2))

    return float(np.exp(minimize_scalar(loss, bounds=(-2.5, 2.5), method="bounded").x))


def _check_length(embedding_ND: np.ndarray, expected: int) -> None:
    if embedding_ND.ndim != 2 or embedding_ND.shape[1] != expected:
        raise TomoTutorError(
            f"head: fitted on embeddings of {expected} numbers, found {embedding_ND.shape[1:]}; expected the embedding "
            "of the same networks"
        )


@one_blas_thread()
def answer(
    teacher: Head,
    student: Head,
    teacher_ND: np.ndarray,
    student_ND: np.ndarray,
    *,
    source: str,
    version: int,
    label_rows: Sequence[int] | np.ndarray = (),
    label_M: Sequence[int] | np.ndarray = (),
) -> Answers:
    """Answer the whole pool: a head on the teacher's embedding predicts, one on the student's says where to doubt it.

    Parameters
    ----------
    teacher, student : Head
        Fitted on the same labels.
    teacher_ND, student_ND : ndarray
        Both embeddings of the pool.
    source : str
        What answers, in words: "head on round 3".
    version : int
        Number of the fit.
    label_rows, label_M : sequence of int
        All labels, which are the answer where there is one: pool rows and class numbers.

    Raises
    ------
    TomoTutorError
        The two embeddings are of different pools or of other networks than the heads.
    """
    n = len(teacher_ND)
    if len(student_ND) != n or not np.array_equal(teacher.known, student.known):
        raise TomoTutorError(
            f"head: the teacher's embedding has {n} rows, the student's {len(student_ND)}; expected both of one pool, "
            "and heads on the same labels"
        )
    class_N = np.empty(n, np.int64)
    confidence_N, disagreement_N = np.empty(n, np.float32), np.empty(n, np.float32)
    both = zip(teacher.blocks(teacher_ND), student.blocks(student_ND), strict=True)
    for (part, p_KN), (_, q_KN) in both:
        best_N = p_KN.argmax(0)
        class_N[part] = teacher.known[best_N]
        confidence_N[part] = p_KN[best_N, np.arange(p_KN.shape[1])]
        ratio_KN = np.log(np.maximum(p_KN, 1e-30)) - np.log(np.maximum(q_KN, 1e-30))
        disagreement_N[part] = np.maximum((p_KN * ratio_KN).sum(0), 0)
    labeled_N = np.zeros(n, bool)
    at = np.asarray(label_rows, np.int64)
    labeled_N[at], class_N[at], confidence_N[at] = True, np.asarray(label_M, np.int64), 1.0
    return Answers(class_N, confidence_N, disagreement_N, labeled_N, source, version, teacher.unknown)
