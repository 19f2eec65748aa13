"""Strategies that ask how much an item would move the teacher's weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from tomotutor.learn.strategies.base import Candidates, Strategy
from tomotutor.learn.strategies.per_sample import recorded
from tomotutor.learn.strategies.uncertainty import entropy


def reduce_norms(square_KN: Tensor, kind: str) -> Tensor:
    """Return Σ_k ‖g_k‖ over parameter tensors ("tensors"), or the norm of all of them together ("global"), of each
    item.
    """
    return square_KN.sqrt().sum(0) if kind == "tensors" else square_KN.sum(0).sqrt()


def last_layer(logit_gradient: np.ndarray, embedding_ND: np.ndarray) -> np.ndarray:
    """Return ‖∂ℓ/∂W‖ + ‖∂ℓ/∂b‖ of the classifier from ∂ℓ/∂z (..., N, C): an outer product's norm is the product of the
    norms.
    """
    return np.linalg.norm(logit_gradient, axis=-1) * (np.linalg.norm(embedding_ND.astype(np.float64), axis=1) + 1)


class EntropyGradient(Strategy):
    """Ask where the entropy of the teacher's answer has the largest gradient (Wang et al., AAAI 2022): Σ_k ‖∂ℓ/∂θ_k‖₂
    at batch 1, in eval mode.

    With ℓ = H(p) = −Σ p_i log p_i this is "entropy". With the expected loss ℓ = Σ p_i·CE(z, i), p not detached, it is
    "expected" - and CE(z, i) = −log p_i, so both are the same function and have the same gradient: one implementation,
    two names.
    """

    summary = "norm of the gradient of the entropy (equal to that of the expected loss)"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        kind = self.recipe.query.gradient_norm
        if kind == "last":
            p = candidates.teacher.probs_NC
            log_p = np.log(np.where(p > 0, p, 1.0))
            return last_layer(-p * (log_p + entropy(p)[:, None]), candidates.teacher.embedding_ND)
        teacher = candidates.backend.net("teacher")

        def norms(x: Tensor) -> Tensor:
            with recorded(teacher) as square_KN:
                log_p = torch.log_softmax(teacher(x.requires_grad_()).logits, 1)
                (-(log_p.exp() * log_p).sum()).backward(inputs=[x])
            return reduce_norms(torch.stack(square_KN), kind)

        return candidates.run(norms, gradients=True)


class ExpectedGradientLength(Strategy):
    """Ask where the gradient is expected to be longest: Σ_i p_i ‖∂CE(z, i)/∂θ‖, p held fixed (Settles, Craven and Ray,
    NIPS 2007).

    One backward pass for each class.
    """

    summary = "expected length of the gradient over the possible labels"

    @override
    def score(self, candidates: Candidates) -> np.ndarray:
        kind = self.recipe.query.gradient_norm
        if kind == "last":
            p = candidates.teacher.probs_NC
            error_CNC = p[None] - np.eye(p.shape[1])[:, None]
            return (p.T * last_layer(error_CNC, candidates.teacher.embedding_ND)).sum(0)
        teacher = candidates.backend.net("teacher")

        def norms(x: Tensor) -> Tensor:
            with recorded(teacher) as square_KN:
                log_p = torch.log_softmax(teacher(x.requires_grad_()).logits, 1)
                total = torch.zeros(len(x), device=x.device)
                for i in range(log_p.shape[1]):
                    square_KN.clear()
                    (-log_p[:, i].sum()).backward(inputs=[x], retain_graph=True)
                    total += log_p[:, i].detach().exp() * reduce_norms(torch.stack(square_KN), kind)
            return total

        return candidates.run(norms, gradients=True)
