"""The pool as a pair of networks sees it: one row of numbers an item, kept on disk, finished bit by bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_folder
from tomotutor.base.progress import Clock, Report, ignore
from tomotutor.data.pool import Pool

if TYPE_CHECKING:
    from tomotutor.learn.busy import Pace
    from tomotutor.learn.compute import Compute
    from tomotutor.learn.models import Pair

CARD = "embedding.json"
PARTS = ("teacher", "student")
ONE_VIEW, ALL_VIEWS = 1, 2  # how far a row is: the box as it is; the mean over it and its half turns
HIGHEST = float(np.finfo(np.float16).max)
BLOCK = 256  # rows between two writes; what a crash costs


@dataclass(frozen=True)
class Embedding:
    """What a pair of networks sees in each item, as far as it has looked.

    Attributes
    ----------
    teacher_ND, student_ND : ndarray
        (N, D) float16 in the order of the pool, mapped from disk; rows of 0 where `view_N` is 0.
    view_N : ndarray of uint8
        0 nothing yet, 1 the box as it is, 2 the mean over the box and its half turns.
    network : str
        Which networks made it, for example "start" or "round 3".
    """

    teacher_ND: np.ndarray
    student_ND: np.ndarray
    view_N: np.ndarray
    network: str

    @property
    def is_usable(self) -> bool:
        """Whether every item has been looked at once."""
        return bool((self.view_N >= ONE_VIEW).all())

    @property
    def is_complete(self) -> bool:
        """Whether every item has the mean over its half turns."""
        return bool((self.view_N >= ALL_VIEWS).all())


def pool_mark(pool: Pool) -> dict[str, Any]:
    """Return what tells one pool from another: the number of its items, their shape, and a hash of their ids."""
    digest = hashlib.blake2b("\n".join(pool.ids).encode(), digest_size=16).hexdigest()
    return {"items": len(pool), "shape": list(pool.shape), "ids": digest}


def open_embedding(folder: Path, pool: Pool, *, write: bool = False) -> Embedding:
    """Open an embedding that `embed_pool` made, complete or not; nothing is read before it is used.

    Parameters
    ----------
    folder : Path
        Where it lies.
    pool : Pool
        The items it has to be of.
    write : bool
        Whether the arrays may be written to.

    Raises
    ------
    TomoTutorError
        It is not there, damaged, or of another pool.
    """
    card = _read_card(folder)
    mark = pool_mark(pool)
    if {name: card.get(name) for name in mark} != mark:
        raise TomoTutorError(
            f"{folder / CARD}: an embedding of another pool ({card.get('items')} items); expected one of the "
            f"{mark['items']} items of this session: remove the folder, and it is made anew"
        )
    n = len(pool)
    teacher_ND, student_ND = (_map(folder / f"{name}.npy", np.dtype(np.float16), n, 2, write) for name in PARTS)
    return Embedding(
        teacher_ND, student_ND, _map(folder / "view.npy", np.dtype(np.uint8), n, 1, write), str(card["network"])
    )


def _read_card(folder: Path) -> Mapping[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text())
        return {**card, "network": str(card["network"])}
    except FileNotFoundError:
        raise TomoTutorError(f"{folder}: found no {CARD}; expected the embedding of a pool") from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise TomoTutorError(
            f"{path}: damaged ({problem}); expected the card of an embedding: remove the folder, and it is made anew"
        ) from None


def _map(path: Path, dtype: np.dtype, items: int, ndim: int, write: bool) -> np.ndarray:
    try:
        found = np.load(path, mmap_mode="r+" if write else "r", allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise TomoTutorError(
            f"{path}: cannot be read ({str(problem).splitlines()[0]}); expected part of an embedding: remove its "
            "folder, and it is made anew"
        ) from None
    if found.dtype != dtype or found.ndim != ndim or len(found) != items:
        raise TomoTutorError(
            f"{path}: holds {found.dtype} {found.shape}; expected {dtype} of {items} items: remove its folder, and it "
            "is made anew"
        )
    return found


def _begin(pair: Pair, pool: Pool, folder: Path, network: str) -> None:
    """Make the folder of an embedding in which nothing has been looked at yet."""
    with new_folder(folder) as partial:
        for name, net in pair.parts().items():
            shape = (len(pool), int(net.fc.weight.shape[1]))
            np.lib.format.open_memmap(partial / f"{name}.npy", mode="w+", dtype=np.float16, shape=shape).flush()
        np.save(partial / "view.npy", np.zeros(len(pool), np.uint8))
        (partial / CARD).write_text(json.dumps({"network": network, **pool_mark(pool)}, indent=1) + "\n")


def embed_pool(
    pair: Pair,
    pool: Pool,
    folder: Path,
    compute: Compute,
    *,
    network: str,
    order: np.ndarray | None = None,
    half_turns: bool = True,
    report: Report = ignore,
) -> Embedding:
    """Embed a pool with teacher and student, going on where an earlier call ended.

    First every item as it is, then each with its half turns about x, y and z (about y alone where the tilt range is
    asymmetric, as in the final answer): the mean of the embeddings. Rows are written in blocks; a row counts as done
    only after its numbers are on disk, so a crash or a cancellation costs one block.

    Parameters
    ----------
    pair : Pair
        The networks.
    pool : Pool
        The items.
    folder : Path
        Where the embedding lies or will lie: a folder of its own for each pair of networks, so that the old one and
        its head stay in use until the new one can replace them.
    compute : Compute
        Where to run.
    network : str
        Name of the networks, for example "round 3".
    order : ndarray, optional
        Rows to look at first, the most urgent in front; the others follow in the order of the pool.
    half_turns : bool
        False ends after one view of each item; images have one view in any case.
    report : callable
        Called after each block; what it raises ends the work and leaves what is done.

    Raises
    ------
    TomoTutorError
        An embedding is not finite, the folder holds one of another pool, or the disk is full.
    """
    from tomotutor.learn.busy import Pace

    if folder.exists() and _read_card(folder)["network"] != network:
        raise TomoTutorError(
            f"{folder}: holds the embedding of {_read_card(folder)['network']}; expected that of {network}: give each "
            "its own folder"
        )
    if not folder.exists():
        _begin(pair, pool, folder, network)
    found = open_embedding(folder, pool, write=True)
    rows = np.arange(len(pool))
    if order is not None:
        rows = np.concatenate([order, np.setdiff1d(rows, order)])
    last = ALL_VIEWS if half_turns else ONE_VIEW
    work = [(view, rows[found.view_N[rows] < view]) for view in range(ONE_VIEW, last + 1)]
    done, clock = 0, Clock(report, "embed", sum(len(waiting) for _, waiting in work))
    pace = Pace(compute)
    for view, waiting in work:
        for first in range(0, len(waiting), BLOCK):
            block = waiting[first : first + BLOCK]
            _write(found, block, _look(pair, pool, block, found, view, compute, pace), view)
            done += len(block)
            clock.tell(done, busy=pace.is_busy)
    return open_embedding(folder, pool)


def _look(
    pair: Pair, pool: Pool, block: np.ndarray, found: Embedding, view: int, compute: Compute, pace: Pace
) -> dict[str, np.ndarray]:
    """Return both embeddings of some rows: of the box as it is, or the mean that its half turns make with it."""
    import torch

    from tomotutor.learn.augment import asymmetric, half_turn
    from tomotutor.learn.train import predict

    x_NC = pool.read(block)
    place_N = np.empty(len(pool), np.int64)
    place_N[block] = np.arange(len(block))

    def run(turn: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        def read(part: np.ndarray) -> np.ndarray:
            x = x_NC[place_N[part]]
            return half_turn(torch.from_numpy(x), turn).numpy() if turn else x

        scores = predict(pair.parts(), read, rows, compute, pace=pace)
        return {name: score.embedding_ND for name, score in scores.items()}

    if view == ONE_VIEW:
        return run("", block)
    sums = {name: getattr(found, f"{name}_ND")[block].astype(np.float32) for name in PARTS}
    if pool.ndim == 2:
        return sums
    views_N = np.ones(len(block), np.float32)
    lopsided_N = np.array(asymmetric(pool.tilt_range_N2[block]), bool)
    for turn in "yxz":
        turned = np.flatnonzero(~lopsided_N) if turn != "y" else np.arange(len(block))
        if len(turned):
            for name, x_ND in run(turn, block[turned]).items():
                sums[name][turned] += x_ND
            views_N[turned] += 1
    return {name: x_ND / views_N[:, None] for name, x_ND in sums.items()}


def _write(found: Embedding, block: np.ndarray, parts: Mapping[str, np.ndarray], view: int) -> None:
    for name, x_ND in parts.items():
        if not (np.abs(x_ND) < HIGHEST).all():
            raise TomoTutorError(
                f"embedding: the {name} of {found.network} gives numbers that are not finite; the networks are broken, "
                "train them anew"
            )
    for name, x_ND in parts.items():
        getattr(found, f"{name}_ND")[block] = x_ND
    found.teacher_ND.flush()  # type: ignore[attr-defined]
    found.student_ND.flush()  # type: ignore[attr-defined]
    found.view_N[block] = view  # only now: a row that counts is on disk
    found.view_N.flush()  # type: ignore[attr-defined]
