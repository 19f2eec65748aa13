"""LL4AL: a small network learns to predict the teacher's loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy

if TYPE_CHECKING:
    from tomotutor.learn.models import Output

HIDDEN = 128
MARGIN = 1.0
CUT = 0.6  # share of the training after which the predicted loss no longer shapes the teacher


class LossNet(nn.Module):
    """Each hooked module → average → 128 → ReLU; all of them side by side → 1."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.taps = nn.ModuleList(nn.Linear(c, HIDDEN) for c in channels)
        self.out = nn.Linear(HIDDEN * len(channels), 1)

    def forward(self, modules: Sequence[Tensor]) -> Tensor:
        """Return the predicted loss of each item."""
        hidden = [torch.relu(tap(m.float().flatten(2).mean(2))) for tap, m in zip(self.taps, modules, strict=True)]
        return self.out(torch.cat(hidden, 1))[:, 0]


def ranking_loss(predicted_N: Tensor, loss_N: Tensor) -> Tensor:
    """Mean over the pairs (i, B−1−i) of max(0, 1 − sign(l_i − l_j)(l̂_i − l̂_j)); the item in the middle of an odd
    batch has no pair.
    """
    pairs = len(predicted_N) // 2
    if not pairs:
        return predicted_N.sum() * 0.0
    difference = (predicted_N - predicted_N.flip(0))[:pairs]
    loss_N = loss_N.detach()
    sign = torch.where((loss_N - loss_N.flip(0))[:pairs] > 0, 1.0, -1.0)
    return torch.relu(MARGIN - sign * difference).mean()


class LossPrediction(Strategy):
    """Ask where the loss is predicted to be highest (Yoo and Kweon, CVPR 2019).

    The loss network starts anew in each round and shares the teacher's optimizer settings and schedule.
    """

    summary = "the loss that a small network on the teacher's maps predicts"

    @override
    def attach(self, teacher: nn.Module, x: Tensor, seed: int) -> Sequence[nn.Module]:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = LossNet([m.shape[1] for m in teacher.eval()(x).modules])
        return (self.net,)

    @override
    def aux_loss(self, output: Output, loss_N: Tensor, progress: float) -> Tensor:
        modules = output.modules if progress < CUT else [m.detach() for m in output.modules]
        return ranking_loss(self.net(modules), loss_N)

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        teacher = candidates.backend.net("teacher")
        self.net.eval()
        return candidates.run(lambda x: self.net(teacher(x).modules))
