"""The folder of a round, rounds/0003: weights, scores and metrics, whole or not there."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file, new_folder
from tomotutor.formats.arrays import read_npz
from tomotutor.learn.results import PoolMap, PoolScores, renumbered

if TYPE_CHECKING:
    from torch import nn


log = logging.getLogger(__name__)

POOL_MAP = "start/look.npz"


@dataclass(frozen=True)
class RoundScores:
    """What the model of a round says: `queue_rows` in the order to ask; the rest by `rows`, ascending."""

    queue_rows: np.ndarray
    rows: np.ndarray
    teacher_probs_NC: np.ndarray
    student_probs_NC: np.ndarray
    disagreement_N: np.ndarray

    def of(self, row: int) -> tuple[np.ndarray, np.ndarray, float] | None:
        """Return teacher's and student's probabilities and the disagreement of an item; None if it was not scored."""
        at = int(np.searchsorted(self.rows, row))
        if at == len(self.rows) or self.rows[at] != row:
            return None
        return self.teacher_probs_NC[at], self.student_probs_NC[at], float(self.disagreement_N[at])

    def renumbered(self, number_C: Sequence[int], classes: int) -> RoundScores:
        """Return the scores in other classes, see `tomotutor.learn.results.renumbered`."""
        teacher, student = (renumbered(p, number_C, classes) for p in (self.teacher_probs_NC, self.student_probs_NC))
        return dataclasses.replace(self, teacher_probs_NC=teacher, student_probs_NC=student)

    def fits(self, items: int) -> bool:
        """Whether the arrays belong together and name items of a pool of this size."""
        n, arrays = len(self.rows), (self.teacher_probs_NC, self.student_probs_NC, self.disagreement_N)
        named = np.concatenate([self.rows.ravel(), self.queue_rows.ravel()])
        return (
            all(len(a) == n for a in arrays)
            and self.teacher_probs_NC.shape == self.student_probs_NC.shape
            and self.teacher_probs_NC.ndim == 2
            and named.dtype.kind in "iu"
            and (not len(named) or (named.min() >= 0 and named.max() < items))
            and bool(np.isfinite(self.teacher_probs_NC).all() and np.isfinite(self.student_probs_NC).all())
        )


def round_folder(session: Path, number: int) -> Path:
    """Return the folder of a round."""
    return session / "rounds" / f"{number:04d}"


def write_round(
    session: Path, number: int, networks: Mapping[str, nn.Module], scores: RoundScores, metrics: dict[str, Any]
) -> None:
    """Write a round's folder; a leftover of a crash, never recorded in the database, is replaced."""
    from safetensors.torch import save

    folder = round_folder(session, number)
    if folder.exists():
        shutil.rmtree(folder)
    with new_folder(folder) as partial:
        for name, net in networks.items():
            tensors = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
            (partial / f"{name}.safetensors").write_bytes(save(tensors))  # save_file would let nobody else read it
        np.savez(partial / "scores.npz", **dataclasses.asdict(scores))
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")


def has_weights(folder: Path) -> bool:
    """Whether the weights of a round are there and whole."""
    from safetensors import SafetensorError, safe_open

    try:
        for name in ("teacher", "student"):
            with safe_open(folder / f"{name}.safetensors", "np") as file:
                if not list(file.keys()):
                    return False
    except (OSError, SafetensorError):
        return False
    return True


def _load(path: Path, *keys: str, mend: str = "train anew") -> list[np.ndarray]:
    mend = f"the labels are safe: {mend}"
    found = read_npz(path, keys, mend)
    if lacking := [key for key in keys if key not in found]:
        raise TomoTutorError(f"{path}: damaged, it lacks {', '.join(lacking)}; {mend}")
    return [found[key] for key in keys]


def read_scores(session: Path, number: int, items: int) -> RoundScores:
    """Read a round's scores.

    Raises
    ------
    TomoTutorError
        They are missing or damaged, or name items that a pool of so many `items` does not have.
    """
    path = round_folder(session, number) / "scores.npz"
    scores = RoundScores(*_load(path, *(field.name for field in dataclasses.fields(RoundScores))))
    if not scores.fits(items):
        raise TomoTutorError(f"{path}: damaged (its arrays do not fit together); the labels are safe: train anew")
    return scores


def write_pool_map(session: Path, look: PoolMap) -> None:
    """Keep the look at the pool before the first label."""
    with new_file(session / POOL_MAP) as path, path.open("wb") as handle:
        np.savez(handle, **dataclasses.asdict(look))


def read_pool_map(session: Path, items: int) -> PoolMap | None:
    """Return the kept look, None if there is none."""
    path = session / POOL_MAP
    if not path.is_file():
        return None
    look = PoolMap(*_load(path, *(field.name for field in dataclasses.fields(PoolMap)), mend="delete it"))
    if len(look.rows) and not 0 <= look.rows.min() <= look.rows.max() < items:
        raise TomoTutorError(f"{path}: names items that the session does not have; delete it")
    return look


def write_pool_scores(session: Path, number: int, scores: PoolScores) -> None:
    """Keep the scores of the whole pool with their round."""
    with new_file(round_folder(session, number) / "pool.npz") as path, path.open("wb") as handle:
        np.savez(handle, **dataclasses.asdict(scores))


def read_pool_scores(session: Path, number: int, items: int) -> PoolScores | None:
    """Return the kept scores of the whole pool; None where there are none that can be read and fit its `items`."""
    path = round_folder(session, number) / "pool.npz"
    if not path.is_file():
        return None
    try:
        scores = PoolScores(*_load(path, *(field.name for field in dataclasses.fields(PoolScores))))
    except TomoTutorError as problem:
        log.warning("%s; they are made anew", problem)
        return None
    return scores if len(scores.disagreement_N) == len(scores.teacher_probs_NC) == items else None
