"""Query by committee."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy
from tomotutor.learn.strategies.uncertainty import entropy


class QueryByCommittee(Strategy):
    """Ask where networks of other seeds disagree: Jensen-Shannon H(p̄) − mean H(p_k) (Kuo et al., MICCAI 2018).

    The teacher is the first member; the others are trained from scratch, on the same labels, with seeds of their own.
    Every answer costs one class label here, so the cost-sensitive knapsack of that paper is the ranking itself.
    """

    summary = "Jensen-Shannon divergence of a committee"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        probs_KNC = np.stack([member.probs_NC for member in candidates.members(self.recipe.query.committee)])
        return entropy(probs_KNC.mean(0)) - entropy(probs_KNC).mean(0)
