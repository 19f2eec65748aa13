"""The folder of a round, rounds/0003: weights, scores and metrics, whole or not there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file, new_folder
from tomotutor.formats.arrays import read_npz
from tomotutor.learn.results import Look, PoolScores

if TYPE_CHECKING:
    from torch import nn


LOOK = "start/look.npz"


@dataclass(frozen=True)
class RoundScores:
    """What the model of a round says: `queue_rows` in the order to ask; the rest by `rows`, ascending."""

    queue_rows: np.ndarray
    rows: np.ndarray
    teacher_probs_NC: np.ndarray
    student_probs_NC: np.ndarray
    disagreement_N: np.ndarray


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


def _load(path: Path, *keys: str, mend: str = "run 'tomotutor round' to train anew") -> list[np.ndarray]:
    mend = f"the labels are safe: {mend}"
    found = read_npz(path, keys, mend)
    if lacking := [key for key in keys if key not in found]:
        raise TomoTutorError(f"{path}: damaged, it lacks {', '.join(lacking)}; {mend}")
    return [found[key] for key in keys]


def read_scores(session: Path, number: int) -> RoundScores:
    """Read a round's scores."""
    names = [field.name for field in dataclasses.fields(RoundScores)]
    return RoundScores(*_load(round_folder(session, number) / "scores.npz", *names))


def write_look(session: Path, look: Look) -> None:
    """Keep the look at the pool before the first label."""
    with new_file(session / LOOK) as path, path.open("wb") as handle:
        np.savez(handle, **dataclasses.asdict(look))


def read_look(session: Path, items: int) -> Look | None:
    """Return the kept look, None if there is none."""
    path = session / LOOK
    if not path.is_file():
        return None
    look = Look(*_load(path, *(field.name for field in dataclasses.fields(Look)), mend="delete it"))
    if len(look.rows) and not 0 <= look.rows.min() <= look.rows.max() < items:
        raise TomoTutorError(f"{path}: names items that the session does not have; delete it")
    return look


def write_pool_scores(session: Path, number: int, scores: PoolScores) -> None:
    """Keep the scores of the whole pool with their round."""
    with new_file(round_folder(session, number) / "pool.npz") as path, path.open("wb") as handle:
        np.savez(handle, **dataclasses.asdict(scores))


def read_pool_scores(session: Path, number: int) -> PoolScores | None:
    """Return the kept scores of the whole pool, None if there are none."""
    path = round_folder(session, number) / "pool.npz"
    return (
        PoolScores(*_load(path, *(field.name for field in dataclasses.fields(PoolScores)))) if path.is_file() else None
    )
