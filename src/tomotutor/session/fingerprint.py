"""What a session keeps of its input, to recognise it: labels belong to voxels, not to names of files.

Of a few items the projections on fixed random directions are kept, not hashes: items that are resampled, or decoded by
another library, are the same up to rounding.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Pool
from tomotutor.data.sources import Opened, Source
from tomotutor.formats.particles.lists import files_of

ITEMS = 64
_DIRECTIONS = 8
_PERIOD = 65521  # voxels after which a direction repeats itself; odd, so that it fits no edge of a box
_SAME = 0.02  # projections of independent items differ by about √2; rounding changes them by less than 0.001


@dataclass(frozen=True)
class Fingerprint:
    """What an input looked like.

    Attributes
    ----------
    shape : tuple of int
        (C, z, y, x) or (C, y, x) of its items.
    voxel_size_angst : float
        0 where unknown.
    rows : tuple of int
        Items that were looked at.
    projection_RD : tuple of tuple of float
        Their projections.
    particle_list : str
        SHA-256 of the session's copy of the particle list; "" where there is none.
    """

    shape: tuple[int, ...]
    voxel_size_angst: float
    rows: tuple[int, ...]
    projection_RD: tuple[tuple[float, ...], ...]
    particle_list: str = ""

    @staticmethod
    def take(opened: Opened, copied: Source) -> Fingerprint:
        """Look at an input; `copied` is its source with the session's own copies of the lists."""
        pool, rows = opened.pool, _spread(opened.pool)
        projection_RD = tuple(tuple(round(v, 4) for v in values) for values in _project(pool, rows).tolist())
        return Fingerprint(pool.shape, pool.voxel_size_angst, tuple(rows.tolist()), projection_RD, _digest(copied))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, with a sum over them: a bit that turns one number into another is found by it alone."""
        values = dataclasses.asdict(self)
        return {**values, "sum": _sum(values)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Fingerprint:
        """Read plain values back; ValueError where they are damaged. Those of earlier versions have no sum."""
        values = dict(values)
        if values.pop("sum", None) not in (None, _sum(values)):
            raise ValueError("what an input looked like is damaged")
        projection_RD = tuple(tuple(map(float, found)) for found in values["projection_RD"])
        rows, shape = tuple(values["rows"]), tuple(values["shape"])
        whole = all(type(row) is int and row >= 0 for row in rows) and len(rows) == len(projection_RD)
        if not whole or not rows or any(len(found) != _DIRECTIONS for found in projection_RD):
            raise ValueError("what an input looked like is not whole")
        return Fingerprint(
            shape, float(values["voxel_size_angst"]), rows, projection_RD, str(values.get("particle_list", ""))
        )

    def check(self, opened: Opened, copied: Source) -> None:
        """Refuse an input that is another one now.

        Raises
        ------
        TomoTutorError
            Its items have another shape, voxel size or other voxels, or the list was changed.
        """
        pool, mend = opened.pool, "bring the original files back, or make a new session"
        if pool.shape != self.shape:
            raise TomoTutorError(
                f"{copied.path}: its items have {_edges(pool.shape)} voxels, those of this session "
                f"{_edges(self.shape)}; {mend}"
            )
        sizes = (pool.voxel_size_angst, self.voxel_size_angst)
        if all(sizes) and abs(sizes[0] - sizes[1]) > 0.01 * sizes[1]:
            raise TomoTutorError(
                f"{copied.path}: its voxels have {sizes[0]:g} Å, those of this session {sizes[1]:g} Å; {mend}"
            )
        self.check_list(copied)
        rows = np.array(self.rows)
        if rows.max() >= len(pool):
            raise TomoTutorError(f"{copied.path}: it has {len(pool)} items, fewer than those of this session; {mend}")
        apart_R = np.abs(_project(pool, rows) - np.array(self.projection_RD)).max(1)
        other = rows[apart_R > _SAME].tolist()
        if other:
            named = ", ".join(pool.ids[row] for row in other[:5]) + (", …" if len(other) > 5 else "")
            raise TomoTutorError(
                f"{copied.path}: {len(other)} of {len(rows)} items that were looked at have other voxels than when "
                f"this session was made ({named}); {mend}"
            )

    def check_list(self, copied: Source) -> None:
        """Refuse a session's own copy of a particle list that was changed."""
        if _digest(copied) != self.particle_list:
            raise TomoTutorError(
                f"{copied.path}: this is the session's own copy of its particle list, and it was changed, so labels "
                "might move to other particles; copy the original list there, or make a new session"
            )


def _sum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _spread(pool: Pool) -> np.ndarray:
    """Return up to `ITEMS` rows, spread over the tomograms: the first, the last and some of each."""
    names, number_N = np.unique(pool.tomogram_N.astype(str), return_inverse=True)
    chosen = {0, len(pool) - 1}
    for number in np.unique(np.linspace(0, len(names) - 1, min(len(names), ITEMS - 2)).astype(int)).tolist():
        rows = np.flatnonzero(number_N == number)
        some = min(len(rows), max(1, (ITEMS - 2) // len(names)))
        chosen.update(rows[np.unique(np.linspace(0, len(rows) - 1, some).astype(int))].tolist())
    return np.array(sorted(chosen))


def _project(pool: Pool, rows: np.ndarray) -> np.ndarray:
    """Return (R, D) projections of items as their files have them, at mean 0 and deviation 1."""
    size = int(np.prod(pool.shape))
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(b"tomotutor").digest(_PERIOD), np.uint8))
    sign_DV = 2.0 * bits.reshape(_DIRECTIONS, _PERIOD) - 1
    plain = dataclasses.replace(pool, prepared=None, statistics=None, mean_C=(), std_C=(), protein="bright", cache=None)
    found = []
    for row in rows.tolist():
        folded = np.zeros(-(-size // _PERIOD) * _PERIOD)
        folded[:size] = plain.read(np.array([row])).ravel()
        found.append(sign_DV @ folded.reshape(-1, _PERIOD).sum(0))
    return np.array(found) / np.sqrt(size)


def _digest(copied: Source) -> str:
    if copied.kind != "particles":
        return ""
    digest = hashlib.sha256()
    for file in files_of(copied.file):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _edges(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape[:0:-1]))
