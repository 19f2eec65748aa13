"""Pool: the items of a session, by stable id, read lazily and normalised."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Clock, Report, ignore


@dataclass(frozen=True)
class Cut:
    """One raw item as its file has it.

    Attributes
    ----------
    values_C : ndarray
        (C, z, y, x) or (C, y, x), any real type; voxels outside the tomogram hold anything.
    valid : tuple of slice or None
        Spatial extent that lies in the tomogram; None: all of it.
    """

    values_C: np.ndarray
    valid: tuple[slice, ...] | None = None


class ItemCache:
    """The items read last, up to a number of bytes: for input that takes long to prepare."""

    def __init__(self, max_bytes: int = 2**28) -> None:
        self._items: OrderedDict[int, np.ndarray] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._guard = threading.Lock()  # the screen and the trainer read at the same time

    def get(self, row: int, make: Callable[[int], np.ndarray]) -> np.ndarray:
        """Return an item, made anew where it is not there."""
        with self._guard:
            if row in self._items:
                self._items.move_to_end(row)
                return self._items[row]
        item = make(row)
        with self._guard:
            if row not in self._items:
                self._items[row] = item
                self._bytes += item.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._items.popitem(last=False)[1].nbytes
        return item


def _column(unknown: Any, *width: int) -> dict[str, np.ndarray]:
    """Return what tells a column of Pool from its other fields: its row for an item of which nothing is known."""
    return {"unknown": np.full((1, *width), unknown, object if unknown == "" else type(unknown))}


def _left_out() -> Any:
    return None


@dataclass(frozen=True)
class Pool:
    """Items in the order of their list.

    The columns (`_N`, `_N2`, `_N3`) have a value for each item, always.

    Attributes
    ----------
    ids : tuple of str
        Stable item ids.
    shape : tuple of int
        (C, z, y, x) or (C, y, x) of every item.
    cut : callable
        Row number to `Cut`.
    protein : {"dark", "bright", "none"}
        Contrast of the input; "dark" items are inverted, so that protein is bright in what `read` returns.
    mean_C, std_C : tuple of float
        Per-channel statistics of the data set, for 2D images; empty: each item is normalised over its valid voxels.
    voxel_size_angst : float
        0 where unknown.
    prepared : callable or None
        Row number to the `Cut` that `read` takes where that is more than the raw one: low-passed.
    statistics : callable or None
        Row number to the mean and deviation of its tomogram, to normalise by; None: each item by its own valid voxels.
    cache : ItemCache or None
        Keeps what `read` returns, where that takes long.
    class_names : tuple of str
        Classes of a data set that knows them.
    truth_mask : callable or None
        Row number to the (y, x) uint8 mask of a data set for segmentation: numbers of `class_names`, 255 for void.
    padded_N : ndarray of bool
        Whether a box leaves its tomogram; what lies outside is 0, the mean, after normalisation.
    tomogram_N : ndarray of str
        Tomogram of each item (of files in a folder, their subfolder); "" where it has none.
    tilt_range_N2 : ndarray
        Smallest and largest tilt of each item's tomogram, degrees; nan where unknown.
    angles_deg_N3 : ndarray
        Orientations as RELION's rot, tilt, psi (see `formats.euler`); nan where unknown.
    offset_zyx_N3 : ndarray
        Where in its box a particle lies, voxels from the centre voxel size // 2; 0 where nothing else is known.
    truth_N : ndarray of str
        Class name of each item, "" where the data set does not tell. An oracle's, never trained on.
    """

    ids: tuple[str, ...]
    shape: tuple[int, ...]
    cut: Callable[[int], Cut]
    protein: str = "bright"
    mean_C: tuple[float, ...] = ()
    std_C: tuple[float, ...] = ()
    voxel_size_angst: float = 0.0
    prepared: Callable[[int], Cut] | None = None
    statistics: Callable[[int], tuple[float, float]] | None = None
    cache: ItemCache | None = None
    class_names: tuple[str, ...] = ()
    truth_mask: Callable[[int], np.ndarray] | None = None
    padded_N: np.ndarray = field(default_factory=_left_out, metadata=_column(False))
    tomogram_N: np.ndarray = field(default_factory=_left_out, metadata=_column(""))
    tilt_range_N2: np.ndarray = field(default_factory=_left_out, metadata=_column(np.nan, 2))
    angles_deg_N3: np.ndarray = field(default_factory=_left_out, metadata=_column(np.nan, 3))
    offset_zyx_N3: np.ndarray = field(default_factory=_left_out, metadata=_column(0.0, 3))
    truth_N: np.ndarray = field(default_factory=_left_out, metadata=_column(""))

    def __post_init__(self) -> None:
        for column in _columns():
            values, unknown = getattr(self, column.name), column.metadata["unknown"]
            if values is None:
                values = np.repeat(unknown, len(self.ids), axis=0)
                object.__setattr__(self, column.name, values)
            assert values.shape == (len(self.ids), *unknown.shape[1:]), column.name

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ndim(self) -> int:
        """Spatial dimensions: 2 or 3."""
        return len(self.shape) - 1

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return items as (N, C, ...spatial) float32: mean 0, deviation 1, protein bright.

        Raises
        ------
        TomoTutorError
            An item holds NaN or infinite voxels, or its file can no longer be read.
        """
        x = np.zeros((len(rows), *self.shape), np.float32)
        for out, row in zip(x, rows, strict=True):
            out[:] = self.cache.get(int(row), self._item) if self.cache else self._item(int(row))
        return x

    def _item(self, row: int) -> np.ndarray:
        cut = (self.prepared or self.cut)(row)
        inside = (slice(None), *(cut.valid or (slice(None),) * self.ndim))
        item = np.zeros(self.shape, np.float32)
        item[inside] = self._normalise(np.asarray(cut.values_C[inside], np.float32), row)
        return item

    def _normalise(self, values_C: np.ndarray, row: int) -> np.ndarray:
        if values_C.size == 0:
            return values_C
        if not np.isfinite(values_C).all():
            bad = int((~np.isfinite(values_C)).sum())
            raise TomoTutorError(
                f"item {self.ids[row]}: {bad} of its {values_C.size} voxels are NaN or infinite; expected finite "
                "numbers: "
                "repair the volume (or leave the item out of the list)"
            )
        axes = tuple(range(1, values_C.ndim))
        if self.mean_C:
            mean, std = np.asarray(self.mean_C, np.float64), np.asarray(self.std_C, np.float64)
        elif self.statistics:
            mean, std = np.array(self.statistics(row)).reshape(2, 1)
        else:
            mean, std = values_C.mean(axes, dtype=np.float64), values_C.std(axes, dtype=np.float64)
        std = np.where(std > 1e-12, std, 1.0) * (-1.0 if self.protein == "dark" else 1.0)
        expand = (slice(None), *(None,) * (values_C.ndim - 1))
        return ((values_C - mean[expand]) / std[expand]).astype(np.float32)

    def take(self, rows: np.ndarray) -> Pool:
        """Return some items as a pool."""

        def of_row(function: Callable[[int], Any] | None) -> Callable[[int], Any] | None:
            return None if function is None else lambda i: function(int(rows[i]))

        functions: dict[str, Any] = {
            name: of_row(getattr(self, name)) for name in ("cut", "prepared", "statistics", "truth_mask")
        }
        columns: dict[str, Any] = {column.name: getattr(self, column.name)[rows] for column in _columns()}
        cache = ItemCache() if self.cache else None
        return dataclasses.replace(self, ids=tuple(self.ids[row] for row in rows), cache=cache, **functions, **columns)


def _columns() -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(Pool) if "unknown" in f.metadata]


def concat(pools: Sequence[Pool]) -> Pool:
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
                f"{first.shape} and {first.protein}; expected the same (see --protein)"
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

    columns: dict[str, Any] = {c.name: np.concatenate([getattr(pool, c.name) for pool in pools]) for c in _columns()}
    return dataclasses.replace(
        first,
        ids=tuple(item_id for pool in pools for item_id in pool.ids),
        cut=cut,
        prepared=prepared if any(pool.prepared for pool in pools) else None,
        statistics=statistics if first.statistics else None,
        cache=ItemCache() if any(pool.cache for pool in pools) else None,
        **columns,
    )


def find_twins(pool: Pool, report: Report = ignore, batch_size: int = 256) -> np.ndarray:
    """Read every item once, so that a broken one is found now and not in the middle of a session, and link exact
    duplicates.

    Returns
    -------
    ndarray
        (N,) row of the first item with the same voxels; its own row where an item is unique.
    """
    first: dict[bytes, int] = {}
    twin_N, clock = np.arange(len(pool)), Clock(report, "read", len(pool))
    for start in range(0, len(pool), batch_size):
        rows = np.arange(start, min(start + batch_size, len(pool)))
        for row, x in zip(rows.tolist(), pool.read(rows), strict=True):
            twin_N[row] = first.setdefault(hashlib.blake2b(x.tobytes(), digest_size=16).digest(), row)
        clock.tell(int(rows[-1]) + 1)
    return twin_N
