"""The parts of a session's pool: the input it was made with, and what was added to it later."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError, shown
from tomotutor.base.files import new_folder, safe_names
from tomotutor.data.pool import Cut, ItemCache, Pool
from tomotutor.data.sources import Source, open_pool, resolve, with_tilts_of
from tomotutor.data.sources.copies import absolute, copy_lists, in_folder
from tomotutor.session.database import SessionStore
from tomotutor.session.session_file import SessionFile

FOLDER = "added"
ADDED = "added"  # where the database keeps what was added


@dataclass(frozen=True)
class Part:
    """One input of a session.

    Attributes
    ----------
    prefix : str
        What its items' ids begin with, before a slash; "" for the input the session was made with.
    source : Source
        Where its items come from, as session.toml or the database has it.
    """

    prefix: str
    source: Source

    def __post_init__(self) -> None:
        if self.prefix in (".", "..") or any(c in self.prefix for c in "/\\:\0"):
            raise TomoTutorError(
                f"labels.sqlite: an added input is called {shown(self.prefix, 80)!r}; expected the name of a folder in "
                f"'{FOLDER}'"
            )

    def source_in(self, folder: Path) -> Source:
        """Return the source with the session's own copies of the lists."""
        return in_folder(self.source, folder / FOLDER / self.prefix if self.prefix else folder)

    def open(self, folder: Path) -> Pool:
        """Open its items, called by their ids in the session."""
        pool = open_pool(self.source_in(folder))
        return (
            dataclasses.replace(pool, ids=tuple(f"{self.prefix}/{item_id}" for item_id in pool.ids))
            if self.prefix
            else pool
        )


def parts_of(file: SessionFile, store: SessionStore) -> list[Part]:
    """Return all parts of a session, the one it was made with first."""
    added = json.loads(store.meta(ADDED, "[]"))
    return [Part("", file.source), *(Part(values["prefix"], Source.from_dict(values["source"])) for values in added)]


def to_json(parts: Sequence[Part]) -> str:
    """Return the parts that were added, for the database."""
    return json.dumps([{"prefix": part.prefix, "source": part.source.to_dict()} for part in parts])


def new_part(source: Source, first: Source, prefixes: Sequence[str]) -> Part:
    """Describe an input to add: its items are prepared as those of the session's first input, and called after its
    file.
    """
    source = absolute(resolve(source))
    alike = ("box", "rescale", "low_pass", "normalise", "mean", "std", "size")
    source = with_tilts_of(first, source.replace(**{name: getattr(first, name) for name in alike}))
    return Part(safe_names([*prefixes, source.file.stem])[-1], source)


def copy_part(part: Part, folder: Path) -> None:
    """Copy the lists of a part into the session; what a crash left there, known to no database, is replaced."""
    target = folder / FOLDER / part.prefix
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(exist_ok=True)
    with new_folder(target) as partial:
        copy_lists(part.source, partial)


def join(pools: Sequence[Pool]) -> Pool:
    """Return one pool with the items of several, in their order.

    Raises
    ------
    TomoTutorError
        Their items differ in shape, contrast or voxel size.
    """
    first = pools[0]
    if len(pools) == 1:
        return first
    for pool in pools[1:]:
        if pool.shape != first.shape or pool.protein != first.protein:
            raise TomoTutorError(
                f"the new items have the shape {pool.shape} and protein {pool.protein}, those of the session "
                f"{first.shape} and "
                f"{first.protein}; expected the same (see --protein)"
            )
        sizes = (pool.voxel_size_angst, first.voxel_size_angst)
        if all(sizes) and abs(sizes[0] - sizes[1]) > 0.01 * sizes[1]:
            raise TomoTutorError(
                f"the new voxels have {sizes[0]:g} Å, those of the session {sizes[1]:g} Å; expected the same (see "
                "--voxel-size)"
            )
    start_N = np.cumsum([0, *(len(pool) for pool in pools)])

    def where(row: int) -> tuple[Pool, int]:
        k = int(np.searchsorted(start_N, row, side="right")) - 1
        return pools[k], row - int(start_N[k])

    def cut(row: int) -> Cut:
        pool, own = where(row)
        return pool.cut(own)

    def prepared(row: int) -> Cut:
        pool, own = where(row)
        return (pool.prepared or pool.cut)(own)

    def statistics(row: int) -> tuple[float, float]:
        pool, own = where(row)
        assert pool.statistics is not None
        return pool.statistics(own)

    def table(name: str, missing: Any) -> np.ndarray:
        """Return a column of all parts, `missing` where a part has none; as the first one's (empty) where no part has
        it.
        """
        columns = [getattr(pool, name) for pool in pools]
        if not any(len(column) for column in columns):
            return columns[0]
        width = next(column for column in columns if len(column)).shape[1:]
        filled = (c if len(c) else np.full((len(p), *width), missing) for c, p in zip(columns, pools, strict=True))
        return np.concatenate(list(filled))

    has_angles = all(len(pool.angles_deg_N3) for pool in pools)
    return dataclasses.replace(
        first,
        ids=tuple(item_id for pool in pools for item_id in pool.ids),
        cut=cut,
        prepared=prepared if any(pool.prepared for pool in pools) else None,
        statistics=statistics if first.statistics else None,
        cache=ItemCache() if any(pool.cache for pool in pools) else None,
        padded_N=table("padded_N", False),
        group_N=table("group_N", ""),
        tilt_range_N2=table("tilt_range_N2", np.nan),
        angles_deg_N3=table("angles_deg_N3", 0.0) if has_angles else np.zeros((0, 3)),
        offset_zyx_N3=table("offset_zyx_N3", 0.0),
        truth_N=table("truth_N", ""),
    )


def relocate_session(folder: Path, old: str, new: str) -> int:
    """Tell a session that its input moved: paths under `old` are looked for under `new` from now on.

    Parameters
    ----------
    folder : Path
        The session.
    old : str
        A folder as session.toml names it; of Windows or of POSIX, whatever this machine is.
    new : str
        The same folder on this machine.

    Returns
    -------
    int
        Items found at the new place.

    Raises
    ------
    TomoTutorError
        No path of the session lies under `old`, or its items are not found under `new`; the session stays as it was.
    """
    file = SessionFile.read(folder)
    store = SessionStore(folder, write=True)
    try:
        parts = parts_of(file, store)
        moved = [Part(part.prefix, part.source.relocated(old, str(Path(new).resolve()))) for part in parts]
        if moved == parts:
            known = ", ".join(path for part in parts for path in part.source.paths().values())
            raise TomoTutorError(f"{folder}: none of its paths lies under {old}; they are {known}")
        pool = join([part.open(folder) for part in moved])
        ids, _, _ = store.items()
        if pool.ids != ids:
            raise TomoTutorError(
                f"{new}: it has {len(pool)} items, other than the {len(ids)} this session was made with; copy the "
                "original files there"
            )
        store.set_meta(ADDED, to_json(moved[1:]))
        file.with_source(moved[0].source).write(folder)
        return len(pool)
    finally:
        store.close()
