"""TCM: typical items first, then unsure ones."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy
from tomotutor.learn.strategies.low_budget import TypiClust
from tomotutor.learn.strategies.uncertainty import Margin

TYPICAL = 3  # labels a class, on average, before margins are asked for


class TCM(Strategy):
    """TypiClust while there are few labels, margin from then on (Doucet et al., arXiv 2403.03728).

    The paper changes over after a few rounds of TypiClust, whose number it gives by budget; here it is 3 labels a class
    (ours).
    """

    summary = "typiclust up to three labels a class, then margin"

    def _phase(self, candidates: Candidates) -> Strategy:
        classes = candidates.teacher.log_probs_NC.shape[1]
        return (TypiClust if len(candidates.labeled_rows) < TYPICAL * classes else Margin)(self.recipe)

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return self._phase(candidates).score(candidates)

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        return self._phase(candidates).select(utility_N, k, candidates)
