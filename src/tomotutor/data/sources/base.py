"""What readers of sources share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.options import Source as Source
from tomotutor.data.pool import Pool
from tomotutor.formats.volumes.volume import is_volume, open_volume
from tomotutor.formats.volumes.voxels import Volume

_MOST_ITEMS = 5_000_000


def numbered(count: int, source: Source) -> tuple[str, ...]:
    """Return the ids of items that have none but their number, from 0; a file may declare any number of them."""
    if count > _MOST_ITEMS:
        raise TomoTutorError(f"{source.path}: it has {count} items; expected up to {_MOST_ITEMS}: split it")
    return tuple(map(str, range(count)))


def open_source_volume(path: Path, source: Source) -> Volume:
    """Open a file of volumes as a source describes it."""
    near = source.reading.voxel_size or source.preparation.rescale
    return open_volume(path, key=source.where.key, byte_sign=source.reading.byte_sign, near_angst=near)


def find_file(names: Sequence[str], source: Source, fits: Callable[[Path], bool] = is_volume) -> Path | None:
    """Find the first of some relative names that fits, under the list's folder, then its ancestors, then
    `tomogram_dir`.
    """
    root = Path(source.where.root).resolve()
    folders = [root, *root.parents]
    if source.where.tomogram_dir:
        folders.append(Path(source.where.tomogram_dir).resolve())
    for folder in folders:
        for name in names:
            with contextlib.suppress(OSError):  # a name that is too long for a file
                if fits(folder / name):
                    return folder / name
    return None


def measure_statistics(pool: Pool, sample: int = 1000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return per-channel mean and deviation of a pool over up to `sample` evenly spaced items."""
    rows = np.unique(np.linspace(0, len(pool) - 1, min(sample, len(pool))).astype(int))
    values = np.stack([np.asarray(pool.cut(int(row)).values_C, np.float64) for row in rows])
    axes = (0, *range(2, values.ndim))
    return tuple(values.mean(axes).tolist()), tuple(np.maximum(values.std(axes), 1e-6).tolist())
