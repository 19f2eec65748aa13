"""EM volumes (TOM toolbox, Dynamo, Artiatomi).

The header has 512 bytes: machine, two unused bytes, voxel type, then nx, ny, nz as 32-bit integers; x runs fastest. It
has no voxel size that programs agree on. Source: tom_emread.m of the TOM toolbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.file_array import FileArray
from tomotutor.formats.volumes.voxels import Volume, byte_type, check_size

_HEADER_BYTES = 512
_BYTE_ORDER: dict[int, Literal["<", ">"]] = {
    0: ">",
    3: ">",
    5: ">",
    1: "<",
    2: "<",
    6: "<",
}  # OS-9, SGI and Mac; VAX, Convex and PC
_TYPES = {1: "int8", 2: "int16", 4: "int32", 5: "float32", 9: "float64"}


def open_em(path: Path, byte_sign: str = "") -> Volume:
    """Open an EM file, whose voxels are read where they are asked for; bytes are signed unless `byte_sign` says
    otherwise.

    Raises
    ------
    TomoTutorError
        The file is missing, truncated, no EM file, or has no real voxels.
    """
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file")
    with path.open("rb") as handle:
        head = handle.read(_HEADER_BYTES)
    if len(head) < _HEADER_BYTES or head[0] not in _BYTE_ORDER:
        raise TomoTutorError(
            f"{path}: not an EM file (its header should be 512 bytes long and begin with the code of a machine)"
        )
    if head[3] not in _TYPES:
        kind = "complex voxels" if head[3] in (8, 10) else "voxels of an unknown kind"
        raise TomoTutorError(f"{path}: EM type {head[3]} holds {kind}; expected 1, 2, 4, 5 or 9: convert it to float32")
    order = _BYTE_ORDER[head[0]]
    nx, ny, nz = (int(n) for n in np.frombuffer(head, f"{order}i4", 3, offset=4))
    if min(nx, ny, nz) < 1:
        raise TomoTutorError(
            f"{path}: the header gives a size of {nx}×{ny}×{nz} voxels; expected at least 1 on each axis"
        )
    name = byte_type(byte_sign, "int8") if head[3] == 1 else _TYPES[head[3]]
    dtype = np.dtype(name).newbyteorder(order)
    check_size(
        path, path.stat().st_size, _HEADER_BYTES + dtype.itemsize * nx * ny * nz, f"{nx}×{ny}×{nz}, type {head[3]}"
    )
    return Volume(FileArray(path, dtype, (nz, ny, nx), _HEADER_BYTES))
