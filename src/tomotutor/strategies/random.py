"""The baseline without a model."""

from __future__ import annotations

import numpy as np

from tomotutor.strategies.base import Candidates, Strategy


class Random(Strategy):
    """Ask anything, uniformly."""

    summary = "uniform, no forward pass"
    per_pixel = True

    def score(self, candidates: Candidates) -> np.ndarray:  # noqa: D102
        return candidates.rng.random(len(candidates))
