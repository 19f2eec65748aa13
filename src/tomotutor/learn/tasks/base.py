"""What the training loop asks of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tomotutor.learn.models import Output
from tomotutor.learn.strategies import Scores


@dataclass(frozen=True)
class Task:
    """A task, as plain functions.

    Attributes
    ----------
    loss : callable
        Logits and targets of a mini-batch to the loss of each item; their mean is the loss of the mini-batch.
    augment : callable
        Items, targets, kind of augmentation, generator, and which items have an asymmetric wedge, to items and targets.
    scores : callable
        Outputs of a batch by network to what is kept of them, one row an item.
    check_trainable : callable
        Raises a TomoTutorError unless the targets suffice to train on.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    augment: Callable[[Tensor, Tensor, str, torch.Generator, Sequence[bool]], tuple[Tensor, Tensor]]
    scores: Callable[[Mapping[str, Output]], dict[str, Scores]]
    check_trainable: Callable[[np.ndarray], None]
