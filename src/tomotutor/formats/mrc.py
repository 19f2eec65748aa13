"""MRC files, memory-mapped, with errors a person can act on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np

from tomotutor.errors import TomoTutorError

log = logging.getLogger(__name__)

_REAL_MODES = {0: "int8", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}


@dataclass(frozen=True)
class Mrc:
    """An open MRC file.

    Attributes
    ----------
    data : ndarray
        Memory-mapped voxels, [z, y, x] or [item, z, y, x], in the file's own type.
    voxel_size_angst : float
        From the header; 0 where the header has none.
    is_volume_stack : bool
        Whether the file holds volumes stacked along z (ISPG 401, or a depth that is a multiple of MZ); `data` is then 4D.
    is_image_stack : bool
        Whether the header calls the file a stack of 2D images (ISPG 0 with MZ 1).
    """

    data: np.ndarray
    voxel_size_angst: float
    is_volume_stack: bool
    is_image_stack: bool


def open_mrc(path: Path) -> Mrc:
    """Memory-map an MRC file.

    Raises
    ------
    TomoTutorError
        The file is missing, truncated, no MRC file, or of a mode without real voxels.
    """
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file")
    found = path.stat().st_size
    try:
        with mrcfile.open(path, header_only=True) as opened:
            header = opened.header
            nxyz = [int(header.nx), int(header.ny), int(header.nz)]
            mode, mz, ispg = int(header.mode), int(header.mz), int(header.ispg)
            extended = int(header.nsymbt)
            byte_order = header.mode.dtype.byteorder
            voxel = [float(opened.voxel_size[axis]) for axis in ("x", "y", "z")]
    except (ValueError, OSError) as problem:
        raise TomoTutorError(f"{path}: not a readable MRC file ({_first_sentence(problem)})") from None
    if mode not in _REAL_MODES:
        kind = "complex voxels" if mode in (3, 4) else "voxels of an unsupported kind"
        raise TomoTutorError(
            f"{path}: MRC mode {mode} holds {kind}; expected a real mode (0, 1, 2, 6 or 12): "
            "convert it, for example with IMOD's 'newstack -mode 2'"
        )
    dtype = np.dtype(_REAL_MODES[mode]).newbyteorder(byte_order)
    if min(nxyz) < 1:
        raise TomoTutorError(f"{path}: the header gives a size of {nxyz[0]}×{nxyz[1]}×{nxyz[2]} voxels; expected at least 1 on each axis")
    expected = 1024 + extended + dtype.itemsize * nxyz[0] * nxyz[1] * nxyz[2]
    if found < expected:
        raise TomoTutorError(
            f"{path}: the file is cut short: {found} bytes, but its header ({nxyz[0]}×{nxyz[1]}×{nxyz[2]}, mode {mode}) "
            f"needs {expected}; copy it again"
        )
    shape: tuple[int, ...] = (nxyz[2], nxyz[1], nxyz[0])
    is_volume_stack = 1 < mz < nxyz[2] and nxyz[2] % mz == 0 and (ispg >= 401 or mz == nxyz[0] == nxyz[1])
    if is_volume_stack:
        shape = (nxyz[2] // mz, mz, nxyz[1], nxyz[0])
    data = np.memmap(path, dtype, "r", offset=1024 + extended, shape=shape)
    if max(voxel) - min(voxel) > 1e-3 * max(*voxel, 1e-9):
        log.warning("%s: the voxel is not a cube (%.4f, %.4f, %.4f Å); x is used", path, *voxel)
    return Mrc(data, voxel[0], is_volume_stack, ispg == 0 and mz == 1)


def _first_sentence(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")
