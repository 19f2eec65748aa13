"""How far to trust a probability: expected calibration error, and temperature scaling (Guo et al., ICML 2017)."""

from __future__ import annotations

import math

import numpy as np
import torch

LOWEST, HIGHEST = (
    0.1,
    10.0,
)  # a handful of held-out items, all of them right, would otherwise call for a temperature of 0


def expected_calibration_error(probs_NC: np.ndarray, y_N: np.ndarray, bins: int = 15) -> float:
    """Return ECE = Σ_b |B_b|/N · |accuracy(B_b) − confidence(B_b)| over equal bins ((b−1)/bins, b/bins] of the best
    class's probability.
    """
    if not len(y_N):
        return math.nan
    confidence_N = probs_NC.max(1)
    right_N = probs_NC.argmax(1) == y_N
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_N, right_N - confidence_N, minlength=bins)
    return float(np.abs(gap).sum() / len(y_N))


def fit_temperature(log_probs_NC: np.ndarray, y_N: np.ndarray) -> float:
    """Return the T that minimises the cross-entropy of softmax(log p / T), by L-BFGS over log T; between 0.1 and 10.

    softmax(z / T) does not change when a constant is added to the logits z, so log-probabilities serve as well.
    """
    if not len(y_N):
        return 1.0
    log_probs = torch.from_numpy(np.maximum(log_probs_NC, -1e4))
    y = torch.from_numpy(y_N).long()
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")
    low, high = math.log(LOWEST), math.log(HIGHEST)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(log_probs / log_t.exp(), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = float(log_t.detach())
    return math.exp(min(max(found, low), high)) if math.isfinite(found) else 1.0


def at_temperature(log_probs_NC: np.ndarray, temperature: float) -> np.ndarray:
    """Return log softmax(log p / T), float64."""
    return (
        log_probs_NC if temperature == 1 else torch.log_softmax(torch.from_numpy(log_probs_NC) / temperature, 1).numpy()
    )
