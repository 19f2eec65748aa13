"""Pool: the items of a session, by stable id, read lazily and normalised."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tomotutor.base.errors import TomoTutorError


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


@dataclass(frozen=True)
class Pool:
    """Items in the order of their list.

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
    padded_N : ndarray of bool
        Whether a box leaves its tomogram; what lies outside is 0, the mean, after normalisation.
    group_N : ndarray of str
        What an item belongs to (its tomogram), for figures per group; all "" where there are no groups.
    voxel_size_angst : float
        0 where unknown.
    prepared : callable or None
        Row number to the `Cut` that `read` takes where that is more than the raw one: low-passed.
    statistics : callable or None
        Row number to the mean and deviation of its tomogram, to normalise by; None: each item by its own valid voxels.
    cache : ItemCache or None
        Keeps what `read` returns, where that takes long.
    tilt_range_N2 : ndarray
        Smallest and largest tilt of each item's tomogram, degrees, nan where unknown; (0, 2) where none is known.
    angles_deg_N3 : ndarray
        Orientations as RELION's rot, tilt, psi (see `formats.euler`); (0, 3) where there are none.
    offset_zyx_N3 : ndarray
        Where in its box a particle lies, voxels from the centre voxel size // 2; (0, 3) where there is no such offset.
    class_names : tuple of str
        Classes of a data set that knows them.
    truth_N : ndarray of str
        Class name of each item where the data set has one, "" where not; empty: none has. An oracle's, never trained
        on.
    truth_mask : callable or None
        Row number to the (y, x) uint8 mask of a data set for segmentation: numbers of `class_names`, 255 for void.
    """

    ids: tuple[str, ...]
    shape: tuple[int, ...]
    cut: Callable[[int], Cut]
    protein: str = "bright"
    mean_C: tuple[float, ...] = ()
    std_C: tuple[float, ...] = ()
    padded_N: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    group_N: np.ndarray = field(default_factory=lambda: np.zeros(0, object))
    voxel_size_angst: float = 0.0
    prepared: Callable[[int], Cut] | None = None
    statistics: Callable[[int], tuple[float, float]] | None = None
    cache: ItemCache | None = None
    tilt_range_N2: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    angles_deg_N3: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    offset_zyx_N3: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    class_names: tuple[str, ...] = ()
    truth_N: np.ndarray = field(default_factory=lambda: np.zeros(0, object))
    truth_mask: Callable[[int], np.ndarray] | None = None

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


def find_twins(pool: Pool, report: Callable[[int, int], None] | None = None, batch_size: int = 256) -> np.ndarray:
    """Read every item once, so that a broken one is found now and not in the middle of a session, and link exact
    duplicates.

    Returns
    -------
    ndarray
        (N,) row of the first item with the same voxels; its own row where an item is unique.
    """
    first: dict[bytes, int] = {}
    twin_N = np.arange(len(pool))
    for start in range(0, len(pool), batch_size):
        rows = np.arange(start, min(start + batch_size, len(pool)))
        for row, x in zip(rows.tolist(), pool.read(rows), strict=True):
            twin_N[row] = first.setdefault(hashlib.blake2b(x.tobytes(), digest_size=16).digest(), row)
        if report:
            report(int(rows[-1]) + 1, len(pool))
    return twin_N
