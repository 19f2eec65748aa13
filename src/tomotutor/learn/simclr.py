"""Self-supervised features: SimCLR in 2D and 3D (Chen et al., ICML 2020), learned once a session and kept with it."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.base.progress import Clock, Report, ignore
from tomotutor.formats.arrays import read_npy
from tomotutor.learn.augment import asymmetric, augment
from tomotutor.learn.compute import Compute
from tomotutor.learn.models import Net
from tomotutor.learn.train import batches, predict

TEMPERATURE = 0.5
PROJECTION = 128
LEARNING_RATE = 1e-3
MIN_BATCH = 32  # items; each has two views, and the others' views are what it is told apart from


def view(x: Tensor, generator: torch.Generator, asymmetric_N: Sequence[bool] = ()) -> Tensor:
    """Return one random view of each item of (N, C, ...spatial); `asymmetric_N` as in `tomotutor.learn.augment`.

    In 3D: a half turn and a shift (`tomotutor.learn.augment`, which keep missing wedge and hand), a box of a quarter to
    half the edge set to the mean, a gain, and added noise. No mirror and no free rotation: the first makes the other
    hand, the second turns the wedge. In 2D: flip and shift, a random crop of 30 to 100 % resized, gain and offset per
    channel.
    """
    n, ndim = len(x), x.ndim - 2
    x = augment(x.clone(), "strong", generator, asymmetric_N)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, *(1,) * ndim, generator=generator)

    if ndim == 2:
        scale = uniform(0.3, 1.0, 1).sqrt().flatten()
        centre = (1 - scale)[:, None] * (2 * torch.rand(n, 2, generator=generator) - 1)
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = scale
        theta[:, :, 2] = centre
        grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
        x = nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
        return x * uniform(0.6, 1.4, x.shape[1]) + uniform(-0.4, 0.4, x.shape[1])
    for item in x:
        box = []
        for size in item.shape[1:]:
            edge = int(torch.randint(size // 4, size // 2 + 1, (), generator=generator))
            start = int(torch.randint(0, size - edge + 1, (), generator=generator))
            box.append(slice(start, start + edge))
        item[(slice(None), *box)] = 0
    return x * uniform(0.8, 1.2, 1) + uniform(0.0, 0.5, 1) * torch.randn(x.shape, generator=generator)


def nt_xent(z_ND: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return SimCLR's loss of 2B projections, view a of items 1…B and then view b: each is to find its other view among
    all.
    """
    z_ND = nn.functional.normalize(z_ND.float(), dim=1)
    similarity = z_ND @ z_ND.T / temperature
    similarity.fill_diagonal_(-math.inf)
    other = torch.arange(len(z_ND), device=z_ND.device).roll(len(z_ND) // 2)
    return nn.functional.cross_entropy(similarity, other)


def learn(
    net: Net,
    read: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    compute: Compute,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    tilt_range_N2: np.ndarray | None = None,
    report: Report = ignore,
) -> None:
    """Train a network, in place, to recognise items through their views; labels are not used.

    Parameters
    ----------
    net : Net
        A freshly initialised network like the teacher.
    read : callable
        `pool.read`: row numbers to (N, C, ...spatial) float32.
    rows : ndarray
        Items to learn from.
    compute, steps, batch_size, seed, report
        Where to run, mini-batches, items in one (two views each), seed of everything random, progress.
    tilt_range_N2 : ndarray, optional
        Smallest and largest tilt of each of `rows`, degrees, nan where unknown.
    """
    compute.apply_threads()
    batch_size = max(2, min(max(batch_size, MIN_BATCH), len(rows)))
    generator = torch.Generator().manual_seed(seed)
    width = net.fc.weight.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTION))
    for part in (net, head):
        compute.prepare(part)
        part.train()
    parameters = list(itertools.chain(net.parameters(), head.parameters()))
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, weight_decay=1e-6)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    lopsided_N = np.array(asymmetric(tilt_range_N2)) if tilt_range_N2 is not None else np.zeros(len(rows), bool)
    clock = Clock(report, "train", steps)
    for step, index in enumerate(batches(len(rows), batch_size, steps, generator), start=1):
        x = torch.from_numpy(read(rows[index.numpy()]))
        lopsided = lopsided_N[index.numpy()].tolist()
        views = torch.cat([view(x, generator, lopsided), view(x, generator, lopsided)])
        optimizer.zero_grad(set_to_none=True)
        with compute.autocast():
            embedding = net(compute.put(views)).embedding
        loss = nt_xent(head(embedding))
        loss.backward()
        optimizer.step()
        scheduler.step()
        clock.tell(step, epoch=1, epochs=1, loss=float(loss.detach()))


def features(
    folder: Path | None,
    key: dict[str, object],
    net: Callable[[], Net],
    read: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    items: int,
    compute: Compute,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    tilt_range_N2: np.ndarray | None = None,
    report: Report = ignore,
) -> np.ndarray:
    """Return features (items, D) float32 of a whole pool, from `folder` if they were learned before with the same
    `key`.

    Parameters
    ----------
    folder : Path or None
        Where to keep them (`features-<hash of key>.npy`); None keeps nothing.
    key : dict
        What they depend on.
    net : callable
        Builds a network: a fresh one, or with `steps` 0 one that is taken as it is.
    rows, items
        Rows to learn from; number of items in the pool.
    read, compute, steps, batch_size, seed, tilt_range_N2, report
        As in `learn`.

    Raises
    ------
    TomoTutorError
        The kept file is damaged.
    """
    name = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    path = folder / f"features-{name}.npy" if folder else None
    if path and path.is_file():
        found = read_npy(path, mend="delete it, and the features are learned anew")
        if found.ndim != 2 or len(found) != items:
            raise TomoTutorError(f"{path}: holds {found.shape}, expected a row for each of {items} items; delete it")
        return found
    network = net()
    if steps:
        learn(
            network,
            read,
            rows,
            compute,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            tilt_range_N2=tilt_range_N2,
            report=report,
        )
    found = predict({"net": network}, read, np.arange(items), compute, report=report)["net"].embedding_ND
    if path:
        with new_file(path) as partial, partial.open("wb") as handle:
            np.save(handle, found, allow_pickle=False)
    return found
