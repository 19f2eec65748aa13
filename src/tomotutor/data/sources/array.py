"""NumPy arrays: .npy, read item by item, or .npz with the items under the key x. Nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError, shown
from tomotutor.data.pool import Cut, Pool
from tomotutor.data.sources.base import Source, numbered
from tomotutor.formats.arrays import names_in_npz, open_npy, read_npz
from tomotutor.formats.file_array import FileArray


def load_array(path: Path, key: str) -> np.ndarray | None:
    """Return the array `key` of an .npz file; None where there is none, and of an .npy file."""
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file")
    return None if path.suffix == ".npy" else read_npz(path, [key]).get(key)


def open_array(source: Source) -> Pool:
    """Open (N,D,H,W), (N,H,W) or (N,H,W,C): a last axis of 1, 3 or 4 means image channels unless `ndim` says otherwise.

    Items are called by their row number from 0. Protein is bright by default in 3D. An .npz file may bring `classes`
    (names) and `y` (a class number or name for each item, or a mask for each image, 255 for void): they serve as an
    oracle.
    """
    is_npy = source.file.suffix == ".npy"
    found: np.ndarray | FileArray | None
    if is_npy and source.where.key == "x":
        found = open_npy(source.file)
    else:
        found = load_array(source.file, source.where.key)
    if found is None:
        keys = ", ".join(["x"] if is_npy else names_in_npz(source.file)) or "no arrays"
        raise TomoTutorError(
            f"{source.path}: no array called {source.where.key!r}, but {shown(keys)}; say which holds the items with "
            "--key"
        )
    array = found
    if array.dtype.kind not in "biuf":
        raise TomoTutorError(f"{source.path}: x holds {array.dtype}; expected real numbers")
    axes = array.ndim - 1
    has_channels = source.reading.ndim == axes - 1 or (
        not source.reading.ndim and axes == 3 and array.shape[-1] in (1, 3, 4)
    )
    ndim = axes - has_channels
    if ndim not in (2, 3) or (source.reading.ndim and ndim != source.reading.ndim):
        raise TomoTutorError(
            f"{source.path}: x has the shape {array.shape}; expected (N,D,H,W), (N,H,W) or (N,H,W,C)"
            + (f" with --ndim {source.reading.ndim}" if source.reading.ndim else "")
        )
    if 0 in array.shape:
        raise TomoTutorError(f"{source.path}: x is empty, its shape is {array.shape}; expected at least one item")

    def cut(row: int) -> Cut:
        item = array[row]
        return Cut(np.moveaxis(item, -1, 0) if has_channels else item[None])

    spatial = array.shape[1 : 1 + ndim]
    channels = array.shape[-1] if has_channels else 1
    y, names = load_array(source.file, "y"), load_array(source.file, "classes")
    masks = y if y is not None and y.shape == (len(array), *spatial) else None
    return Pool(
        numbered(len(array), source),
        (channels, *spatial),
        cut,
        source.reading.protein or ("bright" if ndim == 3 else "none"),
        source.preparation.mean,
        source.preparation.std,
        voxel_size_angst=source.reading.voxel_size,
        class_names=() if names is None or names.dtype.kind != "U" else tuple(np.asarray(names).tolist()),
        truth_mask=None if masks is None else lambda row: masks[row],
    )
