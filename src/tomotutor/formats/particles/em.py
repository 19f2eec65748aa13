"""EM motive lists (TOM, AV3, cryoCAT): an EM file of 20 float32 rows, a column for each particle.

Rows counted from 1: 1 cc, 5 tomogram, 8-10 x, y, z, 11-13 shifts, 17-19 phi, psi, theta, 20 class, in voxels of the
tomogram. Position = (x, y, z) + shifts, voxel i being at i, as cryoCAT converts them (copick takes off 1 for MATLAB's
first index). On writing, x, y, z are whole voxels and the rest is the shift, which keeps the precision that float32 has
not at large numbers. A table map (.doc, as Dynamo has it) beside the list names the tomograms, else they are called by
their numbers.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.base.files import new_file
from tomotutor.formats.particles.dynamo import checked_numbers, copy_map, named, write_map
from tomotutor.formats.particles.euler import em_from_relion, relion_from_em
from tomotutor.formats.particles.table import UNTOLD, Column, Extra, ParticleTable, Reading, class_numbers

_HEADER = 512
_BIG_ENDIAN = (0, 3, 5)  # machine codes: OS-9, SGI/Sun, Mac; 1, 2 and 6 are little-endian
_TYPES = {5: "f4", 9: "f8"}


def read_em(path: Path, reading: Reading = UNTOLD) -> ParticleTable:
    """Read a motive list.

    Raises
    ------
    TomoTutorError
        Another kind of EM file, cut short, or with numbers that are none.
    """
    rows, _ = _load(path)
    v = rows.astype(np.float64).T
    number_N = class_numbers(v[4], path, "row 5 (tomogram)")
    return ParticleTable(
        path,
        named(number_N, path),
        (v[7:10] + v[10:13]).T,
        "voxel",
        "corner",
        reading.coordinate_pixel_size,
        angles_deg_N3=relion_from_em(v[16:19].T),
        class_N=class_numbers(v[19], path, "row 20 (class)") if v[19].any() else None,
        score_N=v[0].copy() if v[0].any() else None,
        other=("rows 2-4, 6, 7 and 14-16 of the motive list",),
    )


def _load(path: Path) -> tuple[np.ndarray, bytes]:
    """Return the particles (N, 20) as they are stored, and the header."""
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise unreadable(path, problem, "an EM file") from None
    if len(raw) < _HEADER:
        raise TomoTutorError(f"{path}: found {len(raw)} bytes; expected an EM file, with a header of {_HEADER}")
    order = ">" if raw[0] in _BIG_ENDIAN else "<"
    x, y, z = struct.unpack_from(f"{order}3i", raw, 4)
    if raw[3] not in _TYPES or x != 20 or y < 1 or z != 1:
        raise TomoTutorError(
            f"{path}: an EM file of {x}×{y}×{z} numbers of type {raw[3]}; expected a motive list: 20×N×1 of type 5 "
            "(float32)"
        )
    dtype = np.dtype(order + _TYPES[raw[3]])
    if len(raw) < _HEADER + 20 * y * dtype.itemsize:
        raise TomoTutorError(
            f"{path}: the file is cut short: {len(raw)} bytes, but {y} particles need "
            f"{_HEADER + 20 * y * dtype.itemsize}; copy it again"
        )
    return np.frombuffer(raw, dtype, 20 * y, _HEADER).reshape(y, 20), raw[:_HEADER]


def write_em(table: ParticleTable, path: Path) -> None:
    """Write a motive list and its map. `table` must be in corner voxels."""
    numbers = checked_numbers(table, path)
    with new_file(path) as partial:
        rows = np.zeros((len(table), 20), "<f4")
        whole = np.round(table.xyz_N3)
        rows[:, 3] = np.arange(1, len(table) + 1)
        rows[:, 4] = [numbers[name] for name in table.tomogram_N.tolist()]
        rows[:, 7:10], rows[:, 10:13] = whole, table.xyz_N3 - whole
        if table.angles_deg_N3 is not None:
            rows[:, 16:19] = em_from_relion(table.angles_deg_N3)
        for row, values in ((0, table.score_N), (19, table.class_N)):
            if values is not None:
                rows[:, row] = values
        header = struct.pack("<4B3i", 6, 0, 0, 5, 20, len(table), 1)
        partial.write_bytes(header.ljust(_HEADER, b"\0") + rows.tobytes())
    write_map(numbers, path)


def rewrite_em(source: Path, target: Path, class_N: Column = None, rows: Column = None, extra: Extra = None) -> None:
    """Write a list again, bit for bit, with its class numbers. Further columns have no place in it."""
    particles, header = _load(source)
    particles = particles.copy()
    if class_N is not None:
        particles[:, 19] = class_N
    if rows is not None:
        particles = particles[rows]
    order = ">" if header[0] in _BIG_ENDIAN else "<"
    with new_file(target) as partial:
        partial.write_bytes(header[:8] + struct.pack(f"{order}i", len(particles)) + header[12:] + particles.tobytes())
    copy_map(source, target)
