"""fit() trains teacher and student together; predict() runs them over a pool. Both report progress, and stop where a
report raises.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tomotutor.base.errors import CancelledError, TomoTutorError, TrainingDivergedError
from tomotutor.base.progress import Clock, Report, ignore
from tomotutor.learn.augment import asymmetric
from tomotutor.learn.busy import Load, Pace
from tomotutor.learn.checkpoint import Checkpoint
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import Net, Output, Pair
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.strategies import Scores, Strategy
from tomotutor.learn.tasks import TASKS, Task
from tomotutor.learn.transfer import transfer_loss

T = TypeVar("T")
Read = Callable[[np.ndarray], np.ndarray]
AuxLoss = Callable[
    [Output, Tensor], Tensor | float
]  # (teacher's output, its loss for each item): what a strategy adds to the mean
MOST_VOXELS = 2**22  # of one channel, scored at a time


def number_of_steps(recipe: Recipe, items: int, *, warm: bool) -> int:
    """Return the mini-batches of one training: whole epochs, or the recipe's number of steps or passes (half of it when
    warm).
    """
    if recipe.training.epochs:
        return max(1, math.ceil(recipe.training.epochs * items / recipe.training.batch_size))
    steps = max(recipe.training.steps, math.ceil(recipe.training.passes * items / recipe.training.batch_size))
    return max(1, steps // 2) if warm else steps


def batches(items: int, batch_size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield `steps` index tensors from an endless run of random permutations, so that every item is seen
    equally often.
    """
    waiting = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(waiting) < batch_size:
            waiting = torch.cat((waiting, torch.randperm(items, generator=generator)))
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def _optimizer(
    net: nn.Module, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer: torch.optim.Optimizer
    if recipe.training.optimizer == "adam":
        optimizer = torch.optim.Adam(
            net.parameters(), recipe.training.learning_rate, weight_decay=recipe.training.weight_decay
        )
    else:
        optimizer = torch.optim.SGD(
            net.parameters(),
            recipe.training.learning_rate,
            momentum=recipe.training.momentum,
            weight_decay=recipe.training.weight_decay,
        )
    if recipe.training.schedule == "one_cycle":
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.training.learning_rate, total_steps=steps, cycle_momentum=False
        )
    milestone = max(1, round(steps * recipe.training.decay_at))
    return optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, [milestone], gamma=0.1)


def fit(
    pair: Pair,
    read: Read,
    y_N: np.ndarray,
    recipe: Recipe,
    compute: Compute,
    *,
    seed: int,
    warm: bool = False,
    with_student: bool = True,
    strategy: Strategy | None = None,
    tilt_range_N2: np.ndarray | None = None,
    report: Report = ignore,
) -> None:
    """Train teacher and student together, in place.

    One mini-batch and one augmentation serve both. The teacher sees only its cross-entropy; the student adds
    λ times the attention transfer from the teacher's detached maps (arXiv 2509.15805, section III).

    Parameters
    ----------
    pair : Pair
        The networks.
    read : callable
        Gives a mini-batch when it is its turn: positions in `y_N` to (N, C, ...spatial) float32 items.
    y_N : ndarray
        (N,) class numbers from 0; (N, y, x) in segmentation, 255 where a pixel is void.
    recipe, compute
        Settings, and where to run.
    seed : int
        Seeds data order and augmentation.
    warm : bool
        Whether the pair comes from an earlier round (a step-counted recipe then trains half as long).
    with_student : bool
        False trains the teacher alone; its gradients are bit-identical either way.
    strategy : Strategy, optional
        May hook into the teacher, add to its loss, and have networks of its own trained along.
    tilt_range_N2 : ndarray, optional
        Smallest and largest tilt of each item, degrees, nan where unknown: augmentation keeps the missing wedge in
        place.
    report : callable
        Called after each mini-batch; what it raises (a cancellation) ends the training.

    Raises
    ------
    TrainingDivergedError
        The loss, or a weight at the end, is not finite.
    """
    compute.apply_threads()
    steps = number_of_steps(recipe, len(y_N), warm=warm)
    strategy = strategy or Strategy(recipe)
    compute.prepare(pair.teacher)
    along = strategy.attach(pair.teacher, compute.put(torch.from_numpy(read(np.zeros(1, np.int64)))), seed)
    generator = torch.Generator().manual_seed(seed)
    task = TASKS[recipe.task]
    y = torch.from_numpy(y_N)
    lopsided_N = np.array(asymmetric(tilt_range_N2)) if tilt_range_N2 is not None else np.zeros(len(y), bool)

    def feed() -> Iterator[tuple[Tensor, Tensor]]:
        for index in batches(len(y), recipe.training.batch_size, steps, generator):
            x = torch.from_numpy(read(index.numpy()))
            yield task.augment(x, y[index].long(), recipe.training.augmentation, generator, lopsided_N[index].tolist())

    nets = [pair.teacher, *([pair.student] if with_student else []), *along]
    learn(pair, nets, feed(), steps, len(y), recipe, compute, strategy.aux_loss, report)


def learn(
    pair: Pair,
    nets: Sequence[nn.Module],
    feed: Iterable[tuple[Tensor, Tensor]],
    steps: int,
    items: int,
    recipe: Recipe,
    compute: Compute,
    aux_loss: Callable[..., Tensor | float],
    report: Report = ignore,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train networks, in place, on the `steps` mini-batches that `feed` gives; the loop of `fit`.

    Parameters
    ----------
    pair, recipe, compute, report
        As in `fit`.
    nets : sequence of Module
        All that is trained: the teacher, the student if it is to be, and what a strategy has trained along.
    feed : iterable of (x, y)
        Mini-batches (N, C, ...spatial) and their class numbers or masks.
    steps, items : int
        Mini-batches in all, and items in a pass over the data.
    aux_loss : callable
        `Strategy.aux_loss`.
    checkpoint : Checkpoint, optional
        Goes on from it, after its `done` mini-batches, which `feed` leaves out; it is written when due, after the last
        mini-batch, and when `report` cancels.
    """
    optimizers, schedulers = [], []
    for net in nets:
        compute.prepare(net)
        net.train()
        optimizer, scheduler = _optimizer(net, recipe, steps)
        optimizers.append(optimizer)
        schedulers.append(scheduler)
    done = checkpoint.done if checkpoint else 0
    if checkpoint:
        checkpoint.load(nets, optimizers)
        _forward(schedulers, done)
    pieces = 1
    epochs = max(1, math.ceil(steps * recipe.training.batch_size / items))
    clock, load = Clock(report, "train", steps, done), Load(compute)
    for step, (x_batch, y_batch) in enumerate(feed, start=done + 1):
        strategy_loss = partial(aux_loss, progress=(step - 1) / steps)
        with load.watched():
            pieces, loss = _step_in_memory(pair, nets, x_batch, y_batch, recipe, compute, pieces, strategy_loss)
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"training: the loss became {loss} at mini-batch {step} of {steps}; the previous model stays in use. "
                f"Lower the learning rate (now {recipe.training.learning_rate:g}) or look for broken items among the "
                "labeled ones"
            )
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        if checkpoint and (checkpoint.due() or step == steps):
            checkpoint.save(step, nets, optimizers)
        epoch = min(epochs, 1 + (step * recipe.training.batch_size - 1) // items)
        try:
            clock.tell(step, epoch=epoch, epochs=epochs, loss=loss, busy=load.is_busy)
        except CancelledError:
            if checkpoint:
                checkpoint.save(step, nets, optimizers)
            raise
    for net in nets:  # the last step comes after the last loss
        if not all(bool(torch.isfinite(value).all()) for value in net.state_dict().values()):
            raise ran_away("a weight", recipe)


def ran_away(what: str, recipe: Recipe) -> TrainingDivergedError:
    """Return the error to raise where a training ends in numbers that are not finite."""
    return TrainingDivergedError(
        f"training: it ran away, {what} is not finite; the previous model stays in use. Lower the learning rate (now "
        f"{recipe.training.learning_rate:g}) or look for broken items among the labeled ones"
    )


def _forward(schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler], steps: int) -> None:
    """Bring schedules to where they are after some mini-batches."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Detected call of `lr_scheduler.step\\(\\)` before"
        )  # nothing is trained here
        for scheduler in schedulers:
            for _ in range(steps):
                scheduler.step()


def _step_in_memory(
    pair: Pair,
    nets: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    compute: Compute,
    pieces: int,
    aux_loss: AuxLoss,
) -> tuple[int, float]:
    """Accumulate the gradients of one mini-batch; where device memory ends, split the batch further and
    start it again.
    """
    while True:
        for net in nets:
            net.zero_grad(set_to_none=True)
        try:
            return pieces, _accumulate(pair, nets, x, y, recipe, compute, pieces, aux_loss)
        except torch.OutOfMemoryError:
            if pieces * 4 > len(x):  # batch norm needs two items in a piece
                raise TomoTutorError(
                    f"training: {compute.device} has too little free memory even for a few items at a time; "
                    "close other programs that use it, or choose a smaller width"
                ) from None
            pieces *= 2
        if compute.device.startswith("cuda"):
            torch.cuda.empty_cache()


def _accumulate(
    pair: Pair,
    nets: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    compute: Compute,
    pieces: int,
    aux_loss: AuxLoss,
) -> float:
    transfer, task_loss = transfer_loss(recipe.training.transfer, recipe.training.at_form), TASKS[recipe.task].loss
    total = 0.0
    for x_piece, y_piece in zip(x.tensor_split(pieces), y.tensor_split(pieces), strict=True):
        share = len(x_piece) / len(x)
        x_piece, y_piece = compute.put(x_piece), y_piece.to(compute.device)
        with compute.autocast():
            teacher = pair.teacher(x_piece)
        loss_N = task_loss(teacher.logits, y_piece)
        loss = loss_N.mean() + aux_loss(teacher, loss_N.detach())
        (loss * share).backward()
        total += float(loss.detach()) * share
        if pair.student in nets:
            with compute.autocast():
                student = pair.student(x_piece)
            student_loss = task_loss(student.logits, y_piece).mean()
            if recipe.training.transfer_weight:
                student_loss = student_loss + recipe.training.transfer_weight * transfer(student, teacher)
            (student_loss * share).backward()
            if not math.isfinite(float(student_loss.detach())):
                return math.nan
    return total


def map_batches(
    function: Callable[[Tensor], T],
    read: Read,
    rows: np.ndarray,
    compute: Compute,
    batch_size: int,
    report: Report,
    pace: Pace | None = None,
) -> Iterator[tuple[np.ndarray, T]]:
    """Yield the rows of each batch, in order, and what a function returns for it.

    `batch_size` is the most items at a time; fewer where they are large, and half of it where device memory ends.
    `pace` goes on with the threads of batches before.
    """
    pace = pace or Pace(compute)
    if len(rows):
        batch_size = max(1, min(batch_size, MOST_VOXELS // max(1, math.prod(read(rows[:1]).shape[2:]))))
    clock, done = Clock(report, "score", len(rows)), 0
    while done < len(rows):
        index = rows[done : done + batch_size]
        try:
            found = pace.run(function, compute.put(torch.from_numpy(read(index))))
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise TomoTutorError(f"scoring: {compute.device} has too little free memory for one item") from None
            batch_size = max(1, batch_size // 2)
            continue
        yield index, found
        done += len(index)
        clock.tell(done, busy=pace.is_busy)


def predict(
    nets: dict[str, Net],
    read: Read,
    rows: np.ndarray,
    compute: Compute,
    *,
    task: Task = TASKS["classification"],
    batch_size: int = 64,
    each: Callable[[np.ndarray, dict[str, Output]], None] | None = None,
    report: Report = ignore,
    pace: Pace | None = None,
) -> dict[str, Scores]:
    """Run networks over items in eval mode, without augmentation, at temperature 1.

    Parameters
    ----------
    nets : dict of str to Net
        Networks by name; each batch is read once for all.
    read : callable
        `pool.read`: row numbers to (N, C, ...spatial) float32.
    rows : ndarray
        Rows to score, in this order.
    task : Task
        Says what is kept of a batch.
    each : callable
        Called with the rows and outputs of each batch, for what would be too large to keep.
    compute, batch_size, report, pace
        As in `fit` and `map_batches`.

    Returns
    -------
    dict of str to Scores
        One per network, in the order of `rows`.
    """
    for net in nets.values():
        compute.prepare(net)
        net.eval()
    parts: dict[str, list[Scores]] = {name: [] for name in nets}

    def run(x: Tensor) -> dict[str, Output]:
        with torch.inference_mode(), compute.autocast():
            return {name: net(x) for name, net in nets.items()}

    for index, outputs in map_batches(run, read, rows, compute, batch_size, report, pace):
        for name, scores in task.scores(outputs).items():
            parts[name].append(scores)
        if each:
            each(index, outputs)
    return {name: Scores.join(parts[name]) if parts[name] else _no_scores(net) for name, net in nets.items()}


def _no_scores(net: Net) -> Scores:
    classes, features = net.fc.weight.shape[:2]
    return Scores(np.zeros((0, classes)), np.zeros((0, features), np.float32))
