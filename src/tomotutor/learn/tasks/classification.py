"""A class for each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.augment import augment
from tomotutor.learn.models import Output
from tomotutor.learn.recipe import LEAST_TO_TRAIN
from tomotutor.learn.strategies import Scores
from tomotutor.learn.tasks.base import Task


def _loss(logits: Tensor, y_N: Tensor) -> Tensor:
    return cross_entropy(logits, y_N, reduction="none")


def _augment(
    x: Tensor, y_N: Tensor, kind: str, generator: torch.Generator, asymmetric_N: Sequence[bool] = ()
) -> tuple[Tensor, Tensor]:
    return augment(x, kind, generator, asymmetric_N), y_N


def _scores(outputs: Mapping[str, Output]) -> dict[str, Scores]:
    """Keep the log-probabilities, in float64, and the embedding."""
    return {
        name: Scores(torch.log_softmax(output.logits.cpu().double(), 1).numpy(), output.embedding.cpu().numpy())
        for name, output in outputs.items()
    }


def _check_trainable(labels_N: np.ndarray) -> None:
    classes = len(np.unique(labels_N))
    if len(labels_N) < LEAST_TO_TRAIN or classes < 2:
        raise TomoTutorError(
            f"training: {len(labels_N)} labels in {classes} classes so far; expected {LEAST_TO_TRAIN} labels and two "
            "classes at least"
        )


CLASSIFICATION = Task(_loss, _augment, _scores, _check_trainable)
