"""Monte-Carlo dropout: many answers of one network with random parts of its embedding off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy
from tomotutor.learn.strategies.uncertainty import entropy

if TYPE_CHECKING:
    from torch import nn

RATE = 0.5


def drop(embedding_ND: Tensor, generator: torch.Generator) -> Tensor:
    """Set each number to 0 with probability ½ and double the others."""
    kept = torch.rand(embedding_ND.shape, generator=generator) >= RATE
    return embedding_ND * kept.to(embedding_ND.device) / (1 - RATE)


class MCDropout(Strategy):
    """Ask where the mean of the passes is widest: H(p̄) (Gal and Ghahramani, ICML 2016; Gal, Islam and Ghahramani, ICML
    2017).

    The teacher is trained with dropout before its classifier. The trunk runs once, since nothing in it is random in
    eval mode; only the classifier is repeated.
    """

    summary = "entropy of the mean over passes with dropout"

    @override
    def attach(self, teacher: nn.Module, x: Tensor, seed: int) -> Sequence[nn.Module]:
        generator = torch.Generator().manual_seed(seed)

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
            return (drop(inputs[0], generator),) if module.training else None

        teacher.fc.register_forward_pre_hook(hook)  # type: ignore[union-attr]  # every network ends in `fc`
        return ()

    def passes(self, candidates: Candidates) -> Iterator[np.ndarray]:
        """Yield probs_NC of each pass, float64."""
        classifier = candidates.backend.net("teacher").fc
        embedding_ND = torch.from_numpy(candidates.teacher.embedding_ND).to(candidates.backend.device)
        generator = torch.Generator().manual_seed(int(candidates.rng.integers(2**31)))
        with torch.inference_mode():
            for _ in range(self.recipe.query.mc_passes):
                logits = classifier(drop(embedding_ND, generator))  # type: ignore[operator]
                yield torch.softmax(logits.cpu().double(), 1).numpy()

    def moments(self, candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
        """Return p̄ (N, C) and the mean entropy of the passes (N,)."""
        mean_NC = np.zeros_like(candidates.teacher.log_probs_NC)
        mean_entropy_N = np.zeros(len(candidates))
        for probs_NC in self.passes(candidates):
            mean_NC += probs_NC / self.recipe.query.mc_passes
            mean_entropy_N += entropy(probs_NC) / self.recipe.query.mc_passes
        return mean_NC, mean_entropy_N

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        return entropy(self.moments(candidates)[0])


class BALD(MCDropout):
    """Ask where the passes contradict each other: H(p̄) − mean H (Houlsby et al., arXiv 1112.5745)."""

    summary = "mutual information over passes with dropout"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        mean_NC, mean_entropy_N = self.moments(candidates)
        return entropy(mean_NC) - mean_entropy_N
