"""Other programs on this machine: whether they take the processor, and how many threads are fastest beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from tomotutor.learn.compute import Compute

T = TypeVar("T")

BUSY = 0.7  # a thread that computes and runs for less than this share of the time waits for other programs
AGAIN = 64  # batches after which all threads are tried again: other programs come and go


class Load:
    """Whether other programs take a good part of the processor, which makes a computation slower.

    Parameters
    ----------
    compute : Compute
        Where it runs; on a device other than the CPU nothing is seen.
    """

    def __init__(self, compute: Compute) -> None:
        self._on_cpu = compute.device == "cpu"
        self._own_s = self._wall_s = 0.0
        self.is_busy = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch one batch, which this thread and those that it waits for compute."""
        wall, own = time.perf_counter(), time.thread_time()
        yield
        # of the last few batches: a time slice of another program is longer than some of them
        self._wall_s = 0.8 * self._wall_s + time.perf_counter() - wall
        self._own_s = 0.8 * self._own_s + time.thread_time() - own
        self.is_busy = self._on_cpu and self._own_s < BUSY * self._wall_s


class Pace(Load):
    """Runs one batch after the other, beside other programs with fewer threads where that is faster: all threads wait
    for the one that was interrupted.

    Nothing is measured but the batches themselves, and only while the machine is busy are fewer threads tried: work of
    a few batches, or on a machine that is free, takes as long as ever.

    Parameters
    ----------
    compute : Compute
        How the batches are run, and the most threads.
    """

    def __init__(self, compute: Compute) -> None:
        super().__init__(compute)
        self._most, self._may_change = compute.threads, compute.device == "cpu" and not compute.pinned
        self.threads = self._most
        self._speed: dict[int, float] = {}
        self._warm: set[int] = set()
        self._batches = 0

    def run(self, function: Callable[[Tensor], T], x: Tensor) -> T:
        """Return what a function makes of a batch."""
        torch.set_num_threads(self.threads)
        start = time.perf_counter()
        with self.watched():
            found = function(x)
        if self._may_change:
            self._choose(len(x) / max(time.perf_counter() - start, 1e-9))
        return found

    def _choose(self, items_a_second: float) -> None:
        """Choose the threads of the next batch: half of the fastest number where that was not tried yet."""
        if self.threads not in self._warm:  # the first batch makes what later ones use
            self._warm.add(self.threads)
            return
        self._speed[self.threads] = items_a_second
        self._batches += 1
        if self._batches % AGAIN == 0:
            self._speed, self.threads = {}, self._most
            return
        best = max(self._speed, key=self._speed.__getitem__)
        self.threads = best // 2 if self.is_busy and best > 1 and best // 2 not in self._speed else best
