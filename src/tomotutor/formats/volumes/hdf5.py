"""HDF5 volumes: any file with one 3D or 4D array, EMAN2's stacks and Chimera's maps among them.

Only arrays in the file itself are read: a link, a virtual array or external storage that points to another file is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.formats.volumes.voxels import LazyArray, Volume, check_chunk, size_text

_MAX_DEPTH, _MAX_NODES = 8, 1_000_000
_EMAN = "MDF/images"  # EMAN2 keeps each volume of a stack as an array of its own: MDF/images/<number>/image


class _Stack:
    """Arrays of one shape, one after the other, as one array with a first axis."""

    def __init__(self, arrays: list[h5py.Dataset]) -> None:
        self._arrays = arrays
        self.shape = (len(arrays), *arrays[0].shape)
        self.dtype = arrays[0].dtype

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        if isinstance(index[0], slice):
            return np.stack([array[index[1:]] for array in self._arrays[index[0]]])
        return np.asarray(self._arrays[index[0]][index[1:]])


def open_hdf5(path: Path, key: str = "") -> Volume:
    """Open the array called `key`, or the only one with 3 or 4 axes.

    Raises
    ------
    TomoTutorError
        Missing or damaged, no such array or several, no real numbers, or voxels that lie in another file.
    """
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file")
    file = None
    try:
        file = h5py.File(path, "r", locking=False)  # nothing is written, and shared disks often refuse locks
        array, voxel = _choose(file, path, key)
    except Exception as problem:  # HDF5 raises OSError, RuntimeError, KeyError, ValueError and more about damaged files
        if file:
            file.close()
        if isinstance(problem, TomoTutorError):
            raise
        raise unreadable(path, problem, "an HDF5 file") from None
    return Volume(LazyArray(array, path, tuple(range(len(array.shape)))), voxel, is_volume_stack=len(array.shape) == 4)


def _choose(file: h5py.File, path: Path, key: str) -> tuple[Any, float]:
    arrays: dict[str, h5py.Dataset] = dict(_walk(file, path, "", 0, []))
    stack = {
        int(n.split("/")[2]): a for n, a in arrays.items() if n.startswith(f"{_EMAN}/") and n.split("/")[2].isdecimal()
    }
    if key.strip("/") in arrays:
        array = arrays[key.strip("/")]
    elif len(stack) == len(arrays) > 1 and len({(a.shape, a.dtype) for a in stack.values()}) == 1:
        return _Stack([_checked(stack[n], path) for n in sorted(stack)]), _voxel_size(stack[min(stack)])
    elif len(arrays) == 1:
        array = next(iter(arrays.values()))
    else:
        names = ", ".join(f"{n} ({size_text(a.shape)})" for n, a in list(arrays.items())[:6]) or "none"
        raise TomoTutorError(
            f"{path}: arrays with 3 or 4 axes are {names}; expected one: say which holds the voxels with --key"
        )
    return _checked(array, path), _voxel_size(array)


def _walk(
    group: h5py.Group, path: Path, prefix: str, depth: int, seen: list[str]
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the arrays with 3 or 4 axes by name, following hard links alone."""
    for name in group:
        seen.append(name)
        if len(seen) > _MAX_NODES:
            raise TomoTutorError(
                f"{path}: it has more than {_MAX_NODES} parts; expected a file with one array of voxels"
            )
        full = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise TomoTutorError(
                f"{path}: its part {full} is a link to another file ({link.filename}), which is not followed; open "
                "that file"
            )
        if not isinstance(link, h5py.HardLink):
            continue  # what a soft link points to is found under its own name
        node = group.get(name)
        if isinstance(node, h5py.Dataset) and len(node.shape or ()) in (3, 4):
            yield full, node
        elif isinstance(node, h5py.Group) and depth < _MAX_DEPTH:
            yield from _walk(node, path, f"{full}/", depth + 1, seen)


def _checked(array: h5py.Dataset, path: Path) -> h5py.Dataset:
    if array.is_virtual or array.external:
        raise TomoTutorError(
            f"{path}: the voxels of its array {array.name} lie in other files, which are not opened; open those files"
        )
    if array.dtype.kind not in "biuf":
        raise TomoTutorError(f"{path}: its array {array.name} holds {array.dtype}; expected real numbers")
    if min(array.shape) < 1:
        raise TomoTutorError(
            f"{path}: its array {array.name} has the size {size_text(array.shape)}; expected at least 1 on each axis"
        )
    check_chunk(path, array.chunks, array.dtype)
    return array


def _voxel_size(array: h5py.Dataset) -> float:
    """Return Å from the attributes of EMAN2 (Å), Chimera (Å) and ilastik or ImageJ (µm), x; 0 where there are none."""
    places = [array.attrs, array.parent.attrs]
    for name, position, factor in (("EMAN.apix_x", 0, 1.0), ("step", 0, 1.0), ("element_size_um", -1, 1e4)):
        for attributes in places:
            if name in attributes:
                value = np.ravel(np.asarray(attributes[name], np.float64))
                if value.size and np.isfinite(value[position]) and value[position] > 0:
                    return float(value[position]) * factor
    return 0.0
