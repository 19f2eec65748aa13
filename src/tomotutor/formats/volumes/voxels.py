"""What every volume format gives: voxels read where they are asked for, and what the file says about them."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.formats.file_array import FileArray, Index

MAX_UNPACKED_BYTES = 2**28  # of a file that is compressed to less than a hundredth
MAX_READ_BYTES = 2**35  # what is read at once; larger volumes are read in parts
MAX_CHUNK_BYTES = 2**31  # a chunk is decompressed as a whole, whatever small part of it is asked for


class LazyArray:
    """Voxels of an HDF5 or Zarr array, read where they are asked for, in the axes [z, y, x] or [item, z, y, x].

    Indexed by integers and slices; what is read is a NumPy array.

    Parameters
    ----------
    array : h5py.Dataset or zarr.Array
        Where the voxels are.
    path : Path
        Its file, for messages.
    axes : tuple of int
        Which axis of `array` each of ours is; the others have one element.
    """

    def __init__(self, array: Any, path: Path, axes: tuple[int, ...]) -> None:
        self._array, self._path, self._axes = array, path, axes
        self.shape: tuple[int, ...] = tuple(int(array.shape[axis]) for axis in axes)
        self.dtype = np.dtype(array.dtype)
        self.ndim = len(axes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Index) -> np.ndarray:
        given = index if isinstance(index, tuple) else (index,)
        parts = [part if isinstance(part, slice) else operator.index(part) for part in given]
        parts += [slice(None)] * (self.ndim - len(parts))
        theirs: list[int | slice] = [0] * len(self._array.shape)
        for axis, part in zip(self._axes, parts, strict=True):
            theirs[axis] = part
        asked = [
            len(range(*part.indices(size)))
            for size, part in zip(self.shape, parts, strict=True)
            if isinstance(part, slice)
        ]
        if math.prod(asked) * self.dtype.itemsize > MAX_READ_BYTES:
            raise TomoTutorError(
                f"{self._path}: {size_text(tuple(asked))} voxels are too many to be read at once; expected up to 32 GiB"
            )
        try:
            values = np.asarray(self._array[tuple(theirs)])
        except TomoTutorError:
            raise
        except Exception as problem:  # decompressors of many makes raise whatever they like about a damaged file
            raise unreadable(self._path, problem, "a volume", "the file is damaged: copy it again") from None
        kept = [axis for axis, part in zip(self._axes, parts, strict=True) if isinstance(part, slice)]
        return values.transpose([sorted(kept).index(axis) for axis in kept])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


Voxels = np.ndarray | LazyArray | FileArray


@dataclass(frozen=True)
class Volume:
    """An open file of volumes.

    Attributes
    ----------
    data : ndarray, LazyArray or FileArray
        Voxels, [z, y, x] or [item, z, y, x], in the file's own type, read where they are asked for.
    voxel_size_angst : float
        From the header; 0 where the header has none.
    is_volume_stack : bool
        Whether the file holds several volumes; `data` is then 4D.
    is_image_stack : bool
        Whether the header calls the file a stack of 2D images (MRC with ISPG 0 and MZ 1).
    """

    data: Voxels
    voxel_size_angst: float = 0.0
    is_volume_stack: bool = False
    is_image_stack: bool = False


def byte_type(byte_sign: str, default: str) -> str:
    """Return the type of 8-bit voxels: as asked ("signed", "unsigned"), or `default` where nothing was."""
    return {"": default, "signed": "int8", "unsigned": "uint8"}[byte_sign]


def check_size(path: Path, found: int, expected: int, header: str) -> None:
    """Raise a TomoTutorError where a file has fewer bytes than its header needs."""
    if found < expected:
        raise TomoTutorError(
            f"{path}: the file is cut short: {found} bytes, but its header ({header}) needs {expected}; copy it again"
        )


def check_chunk(path: Path, chunk: tuple[int, ...] | None, dtype: np.dtype) -> None:
    """Raise a TomoTutorError where the pieces that an array is stored in are too large to be read."""
    if chunk and int(np.prod([int(c) for c in chunk], dtype=object)) * dtype.itemsize > MAX_CHUNK_BYTES:
        raise TomoTutorError(
            f"{path}: it is stored in chunks of {'×'.join(map(str, chunk))} voxels; expected up to 2 GiB each: rechunk "
            "it"
        )


def size_text(shape: tuple[int, ...]) -> str:
    """Return a size with x first, as programs of the field print it."""
    return "×".join(str(size) for size in shape[::-1])


def check_unpacked(path: object, packed: int, unpacked: int, mend: str) -> None:
    """Raise a TomoTutorError where a small compressed file says that it unpacks to a huge one (sizes in bytes)."""
    if unpacked > MAX_UNPACKED_BYTES and unpacked > 100 * packed:
        raise TomoTutorError(
            f"{path}: {packed} bytes that unpack to {unpacked}; expected at most 100 times as many: if that is meant, "
            f"{mend}"
        )
