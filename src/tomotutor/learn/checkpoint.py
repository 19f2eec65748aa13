"""A training that is ended goes on: its weights and optimizer states, written to disk now and then."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file

_RECORD = "checkpoint"  # the name of the JSON in the file's header


class Checkpoint:
    """One file of tensors, safetensors with JSON in its header, that holds all that a training needs to go on.

    Rates follow from the number of mini-batches done, and items from their own numbers, so that no random state is
    kept: a training that was ended and goes on gives the numbers of one that was not.

    Parameters
    ----------
    path : Path
        The file; where there is one, the training goes on from it.
    run : mapping
        What is trained on what, as plain values. A file of another run is refused.
    every_s : float
        Seconds between two writings.

    Attributes
    ----------
    done : int
        Mini-batches done.
    seconds : float
        That the training took, all its parts together.

    Raises
    ------
    TomoTutorError
        The file is damaged, or of another run.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], every_s: float) -> None:
        self.path, self.every_s, self.done, self._before = path, every_s, 0, 0.0
        self._run: dict[str, Any] = json.loads(json.dumps(run))  # as it reads back: lists, no tuples
        self._start = self._written = time.perf_counter()
        if not path.exists():
            return
        try:
            with safe_open(path, "pt") as opened:
                record = json.loads(opened.metadata()[_RECORD])
            found, self.done, self._before = dict(record["run"]), int(record["done"]), float(record["seconds"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as problem:
            raise TomoTutorError(
                f"{path}: damaged ({str(problem).splitlines()[0]}); expected the checkpoint of a pretraining; "
                "remove it to begin anew"
            ) from None
        other = [name for name in self._run if found.get(name) != self._run[name]]
        if other:
            raise TomoTutorError(
                f"{path}: of a pretraining with another {other[0]}; give the command that began it, or remove the file "
                "to begin anew"
            )

    @property
    def seconds(self) -> float:
        """Seconds that the training took so far, all its parts together."""
        return self._before + time.perf_counter() - self._start

    def load(self, nets: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Load what was written into networks and their optimizers, in place; nothing where nothing was."""
        if not self.done:
            return
        tensors = load_file(self.path)
        for number, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            net.load_state_dict({name: tensors[f"{number}.net.{name}"] for name in net.state_dict()})
            state: dict[int, dict[str, Tensor]] = {}
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for name, tensor in tensors.items():
                whose, what, *rest = name.split(".")
                if (whose, what) == (str(number), "optimizer"):
                    like = parameters[int(rest[0])]
                    if tensor.shape == like.shape:  # in the memory layout of its parameter
                        tensor = torch.empty_like(like, requires_grad=False).copy_(tensor)
                    state.setdefault(int(rest[0]), {})[rest[1]] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.perf_counter() - self._written >= self.every_s

    def save(self, done: int, nets: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Write the state after `done` mini-batches; the file is the old one or the new one at any moment.

        Raises
        ------
        TomoTutorError
            The disk is full.
        """
        tensors: dict[str, Tensor] = {}
        for number, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            tensors |= {f"{number}.net.{name}": value for name, value in net.state_dict().items()}
            for parameter, values in optimizer.state_dict()["state"].items():
                tensors |= {f"{number}.optimizer.{parameter}.{name}": v for name, v in values.items() if v is not None}
        record = json.dumps({"run": self._run, "done": done, "seconds": self.seconds})
        with new_file(self.path) as partial:
            partial.write_bytes(
                save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {_RECORD: record})
            )
        self.done, self._written = done, time.perf_counter()
