"""Numbers about one model, and numbers about a learning curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomotutor.learn.calibration import expected_calibration_error


def classification(probs_NC: np.ndarray, truth_N: np.ndarray) -> dict[str, Any]:
    """Return accuracy, per-class and balanced accuracy, macro-F1 and ECE.

    Parameters
    ----------
    probs_NC : ndarray
        (N, C) probabilities.
    truth_N : ndarray
        (N,) class numbers.

    Returns
    -------
    dict
        A class without any item has the accuracy None and is left out of the two means; so is, from macro-F1, a class
        that neither occurs nor is predicted.
    """
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    predicted_N, every = probs_NC.argmax(1), np.arange(probs_NC.shape[1])
    recall_C = recall_score(truth_N, predicted_N, labels=every, average=None, zero_division=np.nan)
    per_class = [None if np.isnan(value) else float(value) for value in recall_C]
    return {
        "accuracy": float(accuracy_score(truth_N, predicted_N)),
        "balanced_accuracy": float(np.nanmean(recall_C)),
        "macro_f1": float(f1_score(truth_N, predicted_N, average="macro")),
        "ece": expected_calibration_error(probs_NC, truth_N),
        "per_class": per_class,
    }


def last_layer_gradient_norm(probs_NC: np.ndarray, embedding_ND: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """Return ‖∂CE/∂(W, b)‖₂ of the classifier for each item under its true label: ‖p − 1_y‖₂ · √(‖h‖² + 1).

    The gradient of the cross-entropy with respect to W is the outer product (p − 1_y) ⊗ h, with respect to b it is p −
    1_y.
    """
    residual_NC = probs_NC.copy()
    residual_NC[np.arange(len(truth_N)), truth_N] -= 1.0
    return np.linalg.norm(residual_NC, axis=1) * np.sqrt((embedding_ND.astype(np.float64) ** 2).sum(1) + 1.0)


def top_hits(norm_N: np.ndarray, picked_N: np.ndarray) -> dict[str, float]:
    """Count the picks that are among the M of largest norm, M being the number of picks.

    Parameters
    ----------
    norm_N : ndarray
        (N,) norms of the candidates R_U.
    picked_N : ndarray of bool
        (N,) which of them were picked.

    Returns
    -------
    dict
        hits; chance, M²/|R_U|; z, the hits' distance from it in standard deviations of the hypergeometric distribution
        (0 where all candidates were picked).
    """
    n, m = len(norm_N), int(picked_N.sum())
    top = np.argsort(-norm_N, kind="stable")[:m]
    hits, chance = int(picked_N[top].sum()), m * m / n
    variance = chance * (1 - m / n) * (n - m) / (n - 1) if n > 1 else 0.0
    return {
        "picks": m,
        "candidates": n,
        "hits": hits,
        "chance": chance,
        "z": (hits - chance) / variance**0.5 if variance else 0.0,
    }


def auroc(score_N: np.ndarray, positive_N: np.ndarray) -> float | None:
    """Return the chance that a positive has a higher score than a negative, ties counting half; None where one of them
    is missing.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive_N, score_N)) if 0 < positive_N.sum() < len(positive_N) else None


def aubc(labels_B: np.ndarray, values_B: np.ndarray) -> float:
    """Return the area under a budget curve (trapezoid), divided by the budget it spans; of a single point its value."""
    if len(labels_B) == 1:
        return float(values_B[0])
    from sklearn.metrics import auc

    return float(auc(labels_B, values_B) / (labels_B[-1] - labels_B[0]))


def labels_to_target(labels_B: np.ndarray, values_B: np.ndarray, target: float) -> float | None:
    """Return the labels at which a curve first reaches the target, linear between its points; None if it never does."""
    reached = np.flatnonzero(values_B >= target)
    if not len(reached):
        return None
    b = int(reached[0])
    if b == 0:
        return float(labels_B[0])
    share = (target - values_B[b - 1]) / (values_B[b] - values_B[b - 1])
    return float(labels_B[b - 1] + share * (labels_B[b] - labels_B[b - 1]))
