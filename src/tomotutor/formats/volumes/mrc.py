"""MRC files, plain or compressed, with errors a person can act on."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from mrcfile.mrcinterpreter import MrcInterpreter

from tomotutor.base.errors import TomoTutorError, reason, unreadable
from tomotutor.formats.file_array import FileArray
from tomotutor.formats.volumes.voxels import Volume, byte_type, check_size, check_unpacked

log = logging.getLogger(__name__)

_REAL_MODES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
_HEADER_BYTES = 1024
_IMOD_STAMP = 1146047817  # word 39 of a header whose word 40 holds IMOD's flags; bit 0 of them: bytes are signed


def open_mrc(path: Path, byte_sign: str = "") -> Volume:
    """Open an MRC file, whose voxels are read where they are asked for.

    A file compressed with gzip or bzip2 is decompressed once into an unnamed temporary file (in the folder TMPDIR
    names), which is read like any other and gone when it is closed. Axes other than x, y, z (MAPC, MAPR, MAPS) are
    brought to [z, y, x].

    Parameters
    ----------
    path : Path
        The file.
    byte_sign : {"", "signed", "unsigned"}
        What the bytes of mode 0 are; "": signed as the MRC2014 standard says, unless IMOD's flags in the header say
        unsigned.

    Raises
    ------
    TomoTutorError
        The file is missing, truncated, no MRC file, or of a mode without real voxels.
    """
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file")
    try:
        opener = _opener(path)
        with (opener or Path.open)(path, "rb") as stream:
            head = stream.read(_HEADER_BYTES)
        # the extended header stays out: its size is what the file says, and mrcfile would make room for it first
        opened = MrcInterpreter(io.BytesIO(head[:92] + bytes(4) + head[96:]), header_only=True)
        header = opened.header
        nxyz = [int(header.nx), int(header.ny), int(header.nz)]
        mode, mz, ispg = int(header.mode), int(header.mz), int(header.ispg)
        byte_order = header.mode.dtype.byteorder
        extended = int(np.frombuffer(head, np.dtype("i4").newbyteorder(byte_order), 1, offset=92)[0])
        with np.errstate(all="ignore"):  # a header of nothing but zeros divides by them
            voxel = [float(opened.voxel_size[axis]) for axis in ("x", "y", "z")]
        axes = [int(header.mapc), int(header.mapr), int(header.maps)]
        words = head[152:160]
    except (ValueError, OSError, EOFError, zlib.error) as problem:
        raise unreadable(path, problem, "an MRC file") from None
    if mode not in _REAL_MODES:
        kind = "complex voxels" if mode in (3, 4) else "voxels of an unsupported kind"
        raise TomoTutorError(
            f"{path}: MRC mode {mode} holds {kind}; expected a real mode (0, 1, 2, 6 or 12): "
            "convert it, for example with IMOD's 'newstack -mode 2'"
        )
    name = _REAL_MODES[mode]
    if mode == 0:
        stamp, flags = np.frombuffer(words, np.dtype("i4").newbyteorder(byte_order)).tolist()
        unsigned = stamp == _IMOD_STAMP and not flags & 1
        name = byte_type(byte_sign, "uint8" if unsigned else "int8")
    dtype = np.dtype(name).newbyteorder(byte_order)
    if min(nxyz) < 1 or extended < 0:
        raise TomoTutorError(
            f"{path}: the header gives a size of {nxyz[0]}×{nxyz[1]}×{nxyz[2]} voxels; expected at least 1 on each axis"
        )
    expected = _HEADER_BYTES + extended + dtype.itemsize * nxyz[0] * nxyz[1] * nxyz[2]
    plain = None if opener is None else _decompressed(path, opener, expected)
    found = path.stat().st_size if plain is None else plain.seek(0, 2)
    check_size(path, found, expected, f"{nxyz[0]}×{nxyz[1]}×{nxyz[2]}, mode {mode}")
    shape: tuple[int, ...] = (nxyz[2], nxyz[1], nxyz[0])
    is_volume_stack = 1 < mz < nxyz[2] and nxyz[2] % mz == 0 and (ispg >= 401 or mz == nxyz[0] == nxyz[1])
    if is_volume_stack:
        shape = (nxyz[2] // mz, mz, nxyz[1], nxyz[0])
    turned: tuple[int, ...] = ()
    if sorted(axes) == [1, 2, 3] and axes != [1, 2, 3] and not is_volume_stack:
        turned = tuple(axes[::-1].index(axis) for axis in (3, 2, 1))
    data = FileArray(path, dtype, shape, _HEADER_BYTES + extended, turned, None if plain is None else plain.fileno())
    if not np.isfinite(voxel).all() or min(voxel) < 0:
        voxel = [0.0] * 3
    if max(voxel) - min(voxel) > 1e-3 * max(*voxel, 1e-9):
        log.warning("%s: the voxel is not a cube (%.4f, %.4f, %.4f Å); x is used", path, *voxel)
    return Volume(data, voxel[0], is_volume_stack, ispg == 0 and mz == 1)


def _opener(path: Path) -> Callable[..., IO[bytes]] | None:
    """Return what opens a compressed file; None for a plain one."""
    with path.open("rb") as raw:
        start = raw.read(212)
    if start[208:] == b"MAP ":  # mrcfile's rule: a plain file's nx may begin with the bytes below
        return None
    found: Any = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}.get(start[:2])
    return found


def _decompressed(path: Path, opener: Callable[..., IO[bytes]], expected: int) -> IO[bytes]:
    """Return an unnamed file with up to `expected` bytes of a compressed one."""
    check_unpacked(path, path.stat().st_size, expected, "decompress it first")
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - who reads it keeps it open
    try:
        with opener(path, "rb") as packed:
            left = expected  # what a small file blows up to is bounded by its own header
            while piece := packed.read(min(left, 2**20)):
                left -= plain.write(piece)
        plain.flush()
    except (OSError, EOFError, ValueError, zlib.error) as problem:
        plain.close()
        raise TomoTutorError(f"{path}: it cannot be decompressed ({reason(problem)}); copy it again") from None
    return plain
