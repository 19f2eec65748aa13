"""The baseline without a model."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy


class Random(Strategy):
    """Ask anything, uniformly."""

    summary = "uniform, no forward pass"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return candidates.rng.random(len(candidates))
