"""Pretraining: a pair that learns to tell complexes apart under conditions drawn anew for every item, before it meets
anybody's data.
"""

from __future__ import annotations

import dataclasses
import datetime
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import tomotutor
from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_folder
from tomotutor.base.progress import Clock, Progress, Report, ignore
from tomotutor.learn.checkpoint import Checkpoint
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import Pair, build_pair
from tomotutor.learn.pretrain_settings import BATCH, PretrainSettings
from tomotutor.learn.recipe import Recipe
from tomotutor.learn.start import write_start
from tomotutor.learn.strategies import Strategy
from tomotutor.learn.train import learn, predict
from tomotutor.simulate.densities import Structure
from tomotutor.simulate.library_file import read_library, write_library
from tomotutor.simulate.variation import Variation
from tomotutor.simulate.varied import Library, make_library, make_varied

TEST_ITEMS = 1024
CHECKPOINT_S = 300.0


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Batches of a set: batch i has items i · BATCH … (i + 1) · BATCH − 1, made when asked for, in whichever process
    that is, on `device`; the first ones can be left out.
    """

    def __init__(
        self, library: Library, variation: Variation, seed: int, count: int, first: int = 0, device: str = "cpu"
    ) -> None:
        self._library, self._variation, self._seed, self._numbers = library, variation, seed, range(first, count)
        self._device = device

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # in a worker or not, the same sums in the same order
        items_N = np.arange(BATCH) + self._numbers[index] * BATCH
        x_NDHW, class_N = make_varied(self._library, items_N, self._seed, self._variation, self._device)
        torch.set_num_threads(threads)
        return x_NDHW[:, None].clone(), class_N


def _feed(loader: DataLoader[tuple[Tensor, Tensor]], batches_each: int) -> Iterator[tuple[Tensor, Tensor]]:
    fresh = iter(loader)
    while parts := list(islice(fresh, batches_each)):
        yield torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def pretrain(
    folder: Path,
    structures: Sequence[Structure],
    settings: PretrainSettings,
    variation: Variation,
    compute: Compute,
    report: Report = ignore,
    more: Mapping[str, Any] | None = None,
    checkpoint_s: float = CHECKPOINT_S,
    library: Library | None = None,
) -> dict[str, Any]:
    """Train a pair on complexes simulated on the fly, and write it as a start for sessions.

    A checkpoint beside the folder (see `checkpoint_path`) is written now and then, after the last mini-batch and when
    `report` raises CancelledError; with it, and the densities beside it, the same call goes on where it was. Only the
    number of steps (the rates then follow the new length), workers and where it runs may change.

    Parameters
    ----------
    folder : Path
        New; it appears whole or not at all. See `tomotutor.learn.start` for what is in it.
    structures : sequence of Structure
        The complexes; what is not among them stays unseen.
    settings, variation, compute
        How long, under which conditions, and where to run.
    report : callable
        Called after each density, each mini-batch, and each batch of the test.
    more : mapping, optional
        What else the card should hold.
    checkpoint_s : float
        Seconds between two checkpoints.
    library : Library, optional
        The densities of these structures, where they have been made already.

    Returns
    -------
    dict
        The card: everything that made the weights, with their accuracy on unseen items of the same complexes.

    Raises
    ------
    TomoTutorError
        A structure cannot be read or none fits; the folder exists already, or cannot be made; the checkpoint is
        damaged, or of another pretraining.
    """
    check_folder(folder)
    fixed = {name: value for name, value in vars(settings).items() if name not in ("steps", "workers")}
    # now, while the files are those that will be read
    run = {**fixed, **dataclasses.asdict(variation), "complexes": [s.describe() for s in structures]}
    checkpoint = Checkpoint(checkpoint_path(folder), run, checkpoint_s)
    if checkpoint.done > settings.steps:
        raise TomoTutorError(
            f"{checkpoint.path}: {checkpoint.done} mini-batches are done already; expected as many steps or more, "
            f"found {settings.steps}"
        )
    library = library or _densities(checkpoint.path, structures, run, settings, variation, report)
    # without workers a GPU simulates what it trains on
    simulates = compute.device if compute.device.startswith("cuda") and not settings.workers else "cpu"
    library = library.to(simulates)
    complexes = [s for s in run["complexes"] if s["name"] in library.names]
    classes = len(library.names) + 1
    pair = build_pair(
        "resnet18", ndim=3, channels=1, edge=variation.box, classes=classes, width=settings.width, seed=settings.seed
    )
    recipe = Recipe(
        name="pretrain",
        width=settings.width,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
    )
    if settings.objective == "metric":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            for net in pair.parts().values():
                net.fc = _Cosine(net.fc.weight.shape[1], classes)
    batches_each = settings.batch_size // BATCH
    count = settings.steps * batches_each
    loader = DataLoader(
        _Batches(library, variation, settings.seed, count, checkpoint.done * batches_each, simulates),
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=8 if settings.workers else None,
        worker_init_fn=_leave_interrupts,
    )
    compute.apply_threads()
    nets = list(pair.parts().values())
    try:
        learn(
            pair,
            nets,
            _feed(loader, batches_each),
            settings.steps,
            count * BATCH,
            recipe,
            compute,
            Strategy(recipe).aux_loss,
            report,
            checkpoint,
        )
    except RuntimeError as problem:
        if "DataLoader worker" not in str(problem):
            raise
        raise TomoTutorError(
            f"pretraining: a process that simulates was ended ({str(problem).splitlines()[0].rstrip('. ')}); take "
            "fewer workers, or 0"
        ) from None
    accuracy = _test(pair, library.to("cpu"), variation, settings, compute, report)
    card = {
        "teacher": recipe.network.teacher,
        "stem": "3s2",
        "width": settings.width,
        "box": variation.box,
        "complexes": complexes,
        "variation": dataclasses.asdict(variation),
        "settings": dataclasses.asdict(settings),
        "compute": compute.describe(),
        "accuracy": accuracy,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(checkpoint.seconds),
        "versions": {"tomotutor": tomotutor.__version__, **{name: version(name) for name in ("torch", "numpy")}},
        **(more or {}),
    }
    with new_folder(folder) as partial:
        write_start(partial, pair.parts(), card)
    checkpoint.path.unlink(missing_ok=True)
    _densities_path(checkpoint.path).unlink(missing_ok=True)
    return card


def _densities(
    checkpoint: Path,
    structures: Sequence[Structure],
    run: Mapping[str, Any],
    settings: PretrainSettings,
    variation: Variation,
    report: Report,
) -> Library:
    """Return the densities: those beside the checkpoint where it has them, else new ones, which are kept there."""
    made_of = {name: run[name] for name in ("complexes", "box", "voxel_size_angst")}
    path = _densities_path(checkpoint)
    library = read_library(path, made_of)
    if not library:
        library = make_library(
            structures, variation, lambda done, total: report(Progress("densities", done, total)), settings.workers
        )
        write_library(path, library, made_of)
    return library


def _densities_path(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".densities")


def checkpoint_path(folder: Path) -> Path:
    """Return the checkpoint of a pretraining into a folder: beside it, until all is done."""
    return folder.with_name(f"{folder.name}.checkpoint")


def _leave_interrupts(_worker: int) -> None:
    """Let the process that trains decide when a worker ends: a terminal interrupts them all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_folder(folder: Path) -> None:
    """Check now that a folder can be written when the training is over.

    Raises
    ------
    TomoTutorError
        It exists already, or cannot be made.
    """
    if folder.exists():
        raise TomoTutorError(f"{folder}: exists already; choose another folder for the weights")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent):
            pass
    except OSError as problem:
        raise TomoTutorError(
            f"{folder}: cannot be written ({problem.strerror or problem}); choose another folder for the weights"
        ) from None


def _test(
    pair: Pair, library: Library, variation: Variation, settings: PretrainSettings, compute: Compute, report: Report
) -> dict[str, float]:
    """Return each network's accuracy on items that were not trained on."""
    test = _Batches(library, variation, settings.seed + 1, TEST_ITEMS // BATCH)
    parts, clock = [], Clock(report, "score", TEST_ITEMS)
    for done in range(1, len(test) + 1):
        parts.append(test[done - 1])
        clock.tell(done * BATCH)
    x_NC, y_N = torch.cat([x for x, _ in parts]).numpy(), torch.cat([y for _, y in parts]).numpy()
    scores = predict(pair.parts(), lambda rows: x_NC[rows], np.arange(len(y_N)), compute)
    return {name: float((s.log_probs_NC.argmax(1) == y_N).mean()) for name, s in scores.items()}


class _Cosine(torch.nn.Linear):
    """A last layer of cosines times 16."""

    def forward(self, input: Tensor) -> Tensor:
        """Return 16 cos(embedding, weight of each class)."""
        return 16 * torch.nn.functional.linear(
            torch.nn.functional.normalize(input, dim=1), torch.nn.functional.normalize(self.weight, dim=1)
        )
