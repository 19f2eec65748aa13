"""DropQuery: items whose class changes when parts of their embedding are off."""

from __future__ import annotations

import numpy as np
import torch
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy, fill
from tomotutor.learn.strategies.geometry import unit
from tomotutor.learn.strategies.margin_cluster import nearest_to_centres
from tomotutor.learn.strategies.uncertainty import margin

PASSES = 3
RATE = 0.75  # share of the embedding that is off, as published


class DropQuery(Strategy):
    """Among the items whose class changes in more than half of three dropout passes, one of each of M clusters (Gupte
    et al., TMLR 2024, arXiv 2401.14555).

    utility = share of passes with ŷ(drop(h)) ≠ ŷ(h); ties by margin, which adds less than one pass counts. The teacher
    is not trained with dropout: only its last layer sees it.
    """

    summary = "items whose class changes under dropout, one of each of M clusters"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        classifier = candidates.backend.net("teacher").fc
        h_ND = torch.from_numpy(np.asarray(candidates.teacher.embedding_ND, np.float32)).to(candidates.backend.device)
        generator = torch.Generator().manual_seed(int(candidates.rng.integers(2**31)))
        before_N = candidates.teacher.log_probs_NC.argmax(1)
        changes_N = np.zeros(len(candidates))
        with torch.inference_mode():
            for _ in range(PASSES):
                kept = (torch.rand(h_ND.shape, generator=generator) >= RATE).to(h_ND.device)
                after = classifier(h_ND * kept / (1 - RATE))  # type: ignore[operator]  # every network ends in `fc`
                changes_N += after.argmax(1).cpu().numpy() != before_N
        return (changes_N + 0.5 * (1 - margin(candidates.teacher.log_probs_NC))) / PASSES

    @override
    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        changing = np.flatnonzero(np.floor(utility_N * PASSES + 1e-9) > PASSES / 2)
        if not k or not len(changing):
            return fill([], utility_N, k, candidates)
        h_ND = unit(candidates.teacher.embedding_ND[changing])
        return fill(changing[nearest_to_centres(h_ND, min(k, len(changing)), candidates.rng)], utility_N, k, candidates)
