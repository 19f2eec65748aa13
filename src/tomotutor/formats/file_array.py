"""Numbers in a file, read piece by piece.

A memory-mapped file that becomes shorter while it is open (another program writes it again, a network disk) kills
whoever touches what is gone; a read only comes back short.
"""

from __future__ import annotations

import math
import operator
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError

Index = int | slice | tuple[int | slice, ...]


class FileArray:
    """An array that lies in a file as it is, C-ordered; indexed by integers and slices, what is read is a NumPy array.

    Parameters
    ----------
    path : Path
        The file; for messages only where `descriptor` is given.
    dtype : dtype
        Of the numbers, with their byte order.
    shape : tuple of int
        Of the array in the file.
    offset : int
        Bytes before it.
    axes : tuple of int, optional
        Which axis of the file each of ours is; by default as they are.
    descriptor : int, optional
        An open file to read from, which is duplicated.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype | str | type,
        shape: tuple[int, ...],
        offset: int = 0,
        axes: tuple[int, ...] = (),
        descriptor: int | None = None,
    ) -> None:
        self._path, self._offset, self._file_shape = path, offset, tuple(int(n) for n in shape)
        self._axes = axes or tuple(range(len(shape)))
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = tuple(self._file_shape[axis] for axis in self._axes)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags) if descriptor is None else os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)
        self._guard = threading.Lock()

    @staticmethod
    def of(path: Path, mapped: np.memmap) -> FileArray:
        """Return the array of a map of a file, in C or Fortran order."""
        if mapped.flags.c_contiguous:
            return FileArray(path, mapped.dtype, mapped.shape, mapped.offset)
        return FileArray(path, mapped.dtype, mapped.shape[::-1], mapped.offset, tuple(range(mapped.ndim))[::-1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Index) -> np.ndarray:
        given = index if isinstance(index, tuple) else (index,)
        parts = [*given, *[slice(None)] * (self.ndim - len(given))]
        ranges = [range(0)] * self.ndim  # of the file's axes
        for axis, part in zip(self._axes, parts, strict=True):
            size = self._file_shape[axis]
            if isinstance(part, slice):
                ranges[axis] = range(*part.indices(size))
            else:
                at = range(size)[operator.index(part)]
                ranges[axis] = range(at, at + 1)
        kept = tuple(slice(None) if isinstance(parts[ours], slice) else 0 for ours in range(self.ndim))
        return self._read(ranges).transpose(self._axes)[kept]

    def _read(self, ranges: list[range]) -> np.ndarray:
        """Return the product of ranges of the file's axes."""
        shape = self._file_shape
        found = np.empty([len(r) for r in ranges], self.dtype)
        if not found.size:
            return found
        # one read takes a piece of one axis and all that lies below it; rows of voxels are read whole
        axis = self.ndim - 1
        if axis and ranges[axis] != range(shape[axis]):
            axis -= 1
        else:
            while axis and ranges[axis] == range(shape[axis]):
                axis -= 1
        low, high = min(ranges[axis][0], ranges[axis][-1]), max(ranges[axis][0], ranges[axis][-1]) + 1
        piece = np.empty((high - low, *shape[axis + 1 :]), self.dtype)
        wanted = (_slice(ranges[axis], low), *(_slice(r, 0) for r in ranges[axis + 1 :]))
        below = math.prod(shape[axis + 1 :])
        for position in np.ndindex(*found.shape[:axis]):
            outer = 0
            for size, at, k in zip(shape[:axis], ranges[:axis], position, strict=True):
                outer = outer * size + at[k]
            self._fill(piece, self._offset + (outer * shape[axis] + low) * below * self.dtype.itemsize)
            found[position] = piece[wanted]
        return found

    def _fill(self, piece: np.ndarray, start: int) -> None:
        left = piece.reshape(-1).view(np.uint8).data
        try:
            while left:
                read = self._read_into(left, start)
                if not read:
                    raise TomoTutorError(
                        f"{self._path}: it became shorter while it was open, and ends at byte "
                        f"{os.fstat(self._descriptor).st_size}; copy it again, and let no program write it meanwhile"
                    )
                left, start = left[read:], start + read
        except OSError as problem:
            raise TomoTutorError(
                f"{self._path}: cannot be read any more ({problem.strerror}); is its disk still there?"
            ) from None

    def _read_into(self, left: memoryview, start: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [left], start)
        with self._guard:  # Windows has one position in a file for all
            os.lseek(self._descriptor, start, os.SEEK_SET)
            found = os.read(self._descriptor, len(left))
        left[: len(found)] = found
        return len(found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def _slice(wanted: range, low: int) -> slice:
    """Return a range as a slice of what was read from `low` on."""
    stop = wanted.stop - low
    return slice(wanted.start - low, stop if stop >= 0 else None, wanted.step)
