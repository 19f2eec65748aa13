"""NumPy's .npy and .npz files: sizes are held against the file before memory is taken, and nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.formats.file_array import FileArray
from tomotutor.formats.volumes.voxels import check_size, check_unpacked

_MEND = "copy it again"


def read_npy(path: Path, mend: str = _MEND) -> np.ndarray:
    """Read an .npy file; `mend` says what to do where it is damaged.

    Raises
    ------
    TomoTutorError
        It is missing, damaged, cut short, or holds Python objects.
    """
    return _load(path, mend, None)


def open_npy(path: Path) -> FileArray:
    """Open an .npy file, whose numbers are read where they are asked for; errors as in `read_npy`."""
    return FileArray.of(path, _load(path, _MEND, "r"))


def _load(path: Path, mend: str, mmap_mode: Literal["r"] | None) -> Any:
    try:
        with path.open("rb") as handle:
            _check_header(handle, path, path.stat().st_size)
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except TomoTutorError:
        raise
    except Exception as problem:  # a damaged header makes NumPy raise ValueError, TokenError, IndexError and more
        raise unreadable(path, problem, "a NumPy file", mend) from None


def read_npz(path: Path, keys: Sequence[str], mend: str = _MEND) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file; those of `keys` that it does not have are left out; `mend` as in `read_npy`.

    Raises
    ------
    TomoTutorError
        It is missing, damaged, holds Python objects, or unpacks to far more than its own size.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for name in members.keys() & set(keys):
                info = members[name]
                check_unpacked(path, info.compress_size, info.file_size, "save it without compression")
                with archive.open(info) as handle:
                    _check_header(handle, path, info.file_size)
                with archive.open(info) as handle:
                    found[name] = np.lib.format.read_array(handle, allow_pickle=False)
    except TomoTutorError:
        raise
    except Exception as problem:  # besides BadZipFile: zlib.error, NotImplementedError, RuntimeError of a password, …
        raise unreadable(path, problem, "a NumPy file", mend) from None
    return found


def names_in_npz(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as problem:
        raise unreadable(path, problem, "a NumPy file", _MEND) from None


def _check_header(handle: IO[bytes] | Any, path: Path, size: int) -> None:
    """Read the header of an array, which the handle is at, and hold what it says against the bytes there are."""
    version = np.lib.format.read_magic(handle)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(handle)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(handle)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not unpickled")
    if any(not 0 <= n < 2**48 for n in shape):
        raise ValueError(f"a size of {shape}")
    expected = handle.tell() + dtype.itemsize * math.prod(shape)
    check_size(path, size, expected, f"{shape}, {dtype}")
