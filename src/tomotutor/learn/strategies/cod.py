"""Temporal discrepancy: the last round's teacher as the second opinion."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy


class TemporalDiscrepancy(Strategy):
    """Ask where this teacher and the last one differ: Σ (p − p′)² / 2 (Huang et al., ICCV 2021).

    No second network is trained. In the first round the order is random.
    """

    summary = "change since the last round's teacher"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        if candidates.previous is None:
            return candidates.rng.random(len(candidates))
        return 0.5 * np.square(candidates.teacher.probs_NC - candidates.previous.probs_NC).sum(1)
