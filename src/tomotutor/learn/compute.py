"""Where and how to compute: device, precision, memory layout and threads, chosen by measuring and accepted by checking.

A fast path is worth nothing if its gradients are wrong. torch 2.13 on CPUs with AVX512-BF16 returns weight gradients of
bfloat16 3D convolutions that are 100 % off where the feature map is 2³, and training then stays at chance without an
error. So each candidate is compared with float32 before it is used, layer by layer: every layer gets the input and the
output gradient that it has in the network, and what it makes of them is compared. Gradients of the network as a whole
would not tell: batch norm amplifies the rounding of bfloat16 to 45 % of a gradient and more, in deep networks even that
of float32 to 2 %.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import os
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tomotutor.base.errors import TomoTutorError

log = logging.getLogger(__name__)

# relative L2 error of what a layer computes; rounding to bfloat16 costs 0.003, a broken kernel 0.9 and more, or inf
TOLERANCE = 0.05
CPU_WIDTH = 0.25
PROBE_S = 0.25  # training time by which each number of threads is measured


@dataclass(frozen=True)
class Compute:
    """A way to run a network.

    Attributes
    ----------
    device : str
        torch device.
    precision : {"float32", "bfloat16"}
        bfloat16 runs under autocast; weights, batch norm statistics and losses stay float32.
    channels_last : bool
        Memory layout of activations and weights.
    float32_below : int
        Stages whose map has a smaller edge run in float32 (0: none).
    threads : int
        CPU threads of torch, at most.
    pinned : bool
        Whether there are never fewer, whatever else runs: the same seed gives the same numbers.
    """

    device: str = "cpu"
    precision: str = "float32"
    channels_last: bool = False
    float32_below: int = 0
    threads: int = 1
    pinned: bool = False

    def describe(self) -> str:
        """Say it in a few words, for logs and the screen."""
        layout = "channels-last" if self.channels_last else "contiguous"
        place = f"{self.threads} CPU thread{'s' * (self.threads > 1)}" if self.device == "cpu" else self.device
        return f"{place}, {self.precision}, {layout}"

    def prepare(self, net: nn.Module) -> None:
        """Move a network to the device and layout, in place."""
        net.float32_below = self.float32_below  # type: ignore[assignment]  # every network of ours has it
        net.to(self.device)
        if self.channels_last:
            net.to(memory_format=_layout(net))  # type: ignore[call-overload]

    def put(self, x: Tensor) -> Tensor:
        """Move a batch (N, C, ...spatial) to the device and layout."""
        x = x.to(self.device, non_blocking=True)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last_3d if x.ndim == 5 else torch.channels_last)
        return x

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context to run a forward pass in."""
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.precision == "bfloat16")

    def apply_threads(self) -> None:
        """Set torch's thread count, once a round."""
        torch.set_num_threads(self.threads)


def _layout(net: nn.Module) -> torch.memory_format:
    is_3d = any(p.ndim == 5 for p in net.parameters())
    return torch.channels_last_3d if is_3d else torch.channels_last


def best_device() -> str:
    """Return "cuda" or "mps" where torch sees such a device, else "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def default_width(device: str) -> float:
    """Return the width that recipes with width 0 take: the whole network on a GPU, a quarter on a CPU."""
    return CPU_WIDTH if device == "cpu" else 1.0


def cores() -> int:
    """Return the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_threads(*, keep_one: bool = False) -> int:
    """Return the CPU threads torch may use: all cores, or fewer where OMP_NUM_THREADS says so; `keep_one` leaves a core
    to the screen.
    """
    threads = cores()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and int(limit):
        threads = min(threads, int(limit))
    return max(1, threads - 1) if keep_one else threads


def _run(net: nn.Module, x: Tensor, compute: Compute) -> None:
    """Run a network forward and backward on a batch: a fixed cross-entropy, batch norm in training mode."""
    compute.prepare(net)
    net.train()
    net.zero_grad(set_to_none=True)
    with compute.autocast():
        logits = net(compute.put(x)).logits
    target = torch.arange(len(x), device=logits.device) % logits.shape[1]
    target = target.view(-1, *[1] * (logits.ndim - 2)).expand(
        -1, *logits.shape[2:]
    )  # a segmenting network has a class for each pixel
    nn.functional.cross_entropy(logits.float(), target).backward()


def layer_errors(net: nn.Module, x: Tensor, compute: Compute) -> dict[str, float]:
    """Run a network forward and backward and return how far each layer with weights is off itself in float32.

    Parameters
    ----------
    net : nn.Module
        Network; it stays on the device and in the layout of `compute`, with gradients.
    x : Tensor
        Batch (N, C, ...spatial).
    compute : Compute
        The path to check.

    Returns
    -------
    dict of str to float
        For each layer's name the largest relative L2 error of its output and of its gradients (input, weights), given
        the input and the output gradient that it had; inf where anything is not finite.
    """
    layers = {layer: name for name, layer in net.named_modules() if list(layer.parameters(recurse=False))}
    copies = {layer: copy.deepcopy(layer).to(compute.device).train() for layer in layers}
    given: dict[nn.Module, Tensor] = {}
    errors: dict[nn.Module, float] = {}
    plain = torch.autocast(compute.device.split(":")[0], enabled=False)

    # compared at once, where the tensors are at hand: kept, they would take several times the memory of training
    def forward(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        given[layer] = inputs[0].detach()
        with plain, torch.no_grad():
            errors[layer] = relative_error(output, copies[layer](given[layer].float().contiguous()))

    def backward(layer: nn.Module, input_gradients: tuple[Tensor | None, ...], gradients: tuple[Tensor, ...]) -> None:
        x = given.pop(layer).float().contiguous().requires_grad_()
        with plain, torch.enable_grad():
            copies[layer](x).backward(gradients[0].float().contiguous())
        if input_gradients[0] is not None and x.grad is not None:
            errors[layer] = max(errors[layer], relative_error(input_gradients[0], x.grad))

    hooks = [
        hook
        for layer in layers
        for hook in (layer.register_forward_hook(forward), layer.register_full_backward_hook(backward))
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Full backward hook is firing"
        )  # of the first layer, whose input needs no gradient
        _run(net, x, compute)
    for hook in hooks:
        hook.remove()
    for layer in errors:
        for found, expected in zip(layer.parameters(), copies[layer].parameters(), strict=True):
            if found.grad is not None and expected.grad is not None:
                errors[layer] = max(errors[layer], relative_error(found.grad, expected.grad))
    return {layers[layer]: error for layer, error in errors.items()}


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the relative L2 error of a tensor; inf where anything in it is not finite."""
    error = float((found.float() - expected).norm()) / max(float(expected.norm()), torch.finfo(torch.float32).tiny)
    return error if error == error else float("inf")


def _worst(net: nn.Module, x: Tensor, compute: Compute) -> tuple[str, float]:
    errors = layer_errors(net, x, compute)
    return max(errors.items(), key=lambda item: item[1])


def _seconds(net: nn.Module, x: Tensor, compute: Compute) -> float:
    """Time a forward and backward pass after one to warm up: the best of three, for other programs interrupt."""

    def once() -> float:
        start = time.perf_counter()
        _run(net, x, compute)
        if compute.device.startswith("cuda"):
            torch.cuda.synchronize()  # kernels run behind the calls that start them
        return time.perf_counter() - start

    once()
    return min(once() for _ in range(3))


def _bfloat16_pays(device: str) -> bool:
    """Time one small convolution: CPUs without bfloat16 arithmetic emulate it up to a hundred times slower than
    float32.
    """
    x, w = torch.randn(2, 16, 8, 8, 8, device=device), torch.randn(16, 16, 3, 3, 3, device=device)

    def seconds(dtype: torch.dtype) -> float:
        a, b, found = x.to(dtype), w.to(dtype), []
        for _ in range(6):  # the first warms up, and one of a tenth of a millisecond may be interrupted
            start = time.perf_counter()
            torch.nn.functional.conv3d(a, b, padding=1).sum().item()
            found.append(time.perf_counter() - start)
        return min(found)

    return seconds(torch.bfloat16) < 3 * seconds(torch.float32)


def candidates(device: str, threads: int) -> list[Compute]:
    """Return the paths worth trying on a device beside plain float32."""
    paths = [Compute(device, "float32", True, 0, threads)]
    if _bfloat16_pays(device):
        if device == "cpu":
            paths.append(Compute(device, "bfloat16", True, 4, threads))
        paths.append(Compute(device, "bfloat16", True, 0, threads))
    return paths


def choose(
    build: Callable[[], nn.Module],
    shape: tuple[int, ...],
    *,
    device: str | None = None,
    threads: int | None = None,
    paths: list[Compute] | None = None,
    batch: int = 8,
) -> Compute:
    """Measure the candidate paths on this machine and return the fastest whose layers agree with float32.

    Parameters
    ----------
    build : callable
        Returns a network; called once a path with torch's generator at a fixed seed, so all paths see the same weights.
    shape : tuple of int
        (C, ...spatial) of one item.
    device, threads, paths
        What to measure; by default this machine's best device, all its cores and `candidates`.
    batch : int
        Items in the measured batch.
    """
    device = device or best_device()
    threads = threads or available_threads()
    plain = Compute(device, "float32", False, 0, threads)
    plain.apply_threads()
    paths = candidates(device, threads) if paths is None else paths
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.randn(batch, *shape)
        torch.manual_seed(1)
        net = build()
        weights = {name: value.clone() for name, value in net.state_dict().items()}

        def fresh() -> nn.Module:
            torch.manual_seed(1)
            net = build()
            net.load_state_dict(weights)
            return net

        best, best_seconds, refused = plain, _seconds(fresh(), x, plain), []
        log.info("compute: %s: %.1f samples/s", plain.describe(), batch / best_seconds)
        for path in paths:
            try:
                layer, error = _worst(fresh(), x, path)
            except (RuntimeError, NotImplementedError) as problem:
                refused.append(f"{path.describe()} does not run here ({str(problem).splitlines()[0]})")
                continue
            if error > TOLERANCE:
                refused.append(
                    f"{path.describe()} is {100 * error:.0f} % off float32 in layer {layer} (limit "
                    f"{100 * TOLERANCE:.0f} %)"
                )
                continue
            seconds = _seconds(fresh(), x, path)
            log.info("compute: %s: %.1f samples/s, layers within %.2g", path.describe(), batch / seconds, error)
            if seconds < best_seconds:
                best, best_seconds = path, seconds
    for reason in refused:
        log.log(
            logging.WARNING if best == plain else logging.INFO,
            "compute: %s; falling back to %s",
            reason,
            best.describe(),
        )
    return best


def checked(path: Compute, build: Callable[[], nn.Module], shape: tuple[int, ...], batch: int = 8) -> Compute:
    """Return a path that somebody insists on, unless it computes something else than this network.

    Raises
    ------
    TomoTutorError
        It does.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.randn(batch, *shape)
        torch.manual_seed(1)
        layer, error = _worst(build(), x, path)
    if error > TOLERANCE:
        raise TomoTutorError(
            f"precision {path.precision}: on this machine layer {layer} is {100 * error:.0f} % off float32; choose "
            "float32 or auto"
        )
    return path


def measured_threads(compute: Compute, net: nn.Module, shape: tuple[int, ...]) -> Compute:
    """Return the path with as many threads, up to its own number, as are fastest at this moment.

    Beside other programs more threads can be slower than one: all wait for the one that was interrupted. One, half of
    them and all of them train for a quarter of a second each, by turns, for other programs come and go.

    Parameters
    ----------
    compute : Compute
        The path; one on a device other than the CPU, with one thread, or pinned, is returned as it is.
    net : nn.Module
        Network to measure with; it is trained.
    shape : tuple of int
        (C, ...spatial) of one item.
    """
    if compute.device != "cpu" or compute.threads == 1 or compute.pinned:
        return compute
    paths = [dataclasses.replace(compute, threads=n) for n in {1, compute.threads // 2, compute.threads}]
    seconds, passes = [0.0] * len(paths), [0] * len(paths)
    with torch.random.fork_rng(devices=[]):
        x = torch.randn(max(2, min(8, 2**18 // math.prod(shape))), *shape)
        _run(net, x, compute)  # to warm up
        while min(seconds) < PROBE_S:
            for i, path in enumerate(paths):
                path.apply_threads()
                start = time.perf_counter()
                while time.perf_counter() - start < PROBE_S / 4:
                    _run(net, x, path)
                    passes[i] += 1
                seconds[i] += time.perf_counter() - start
    best = min(range(len(paths)), key=lambda i: seconds[i] / passes[i])
    if paths[best] != compute:
        log.info("compute: %s, which is faster now than %s", paths[best].describe(), compute.describe())
    return paths[best]
