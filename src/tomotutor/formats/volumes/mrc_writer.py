"""Writing MRC files piece by piece, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

MODES: dict[int, np.dtype] = {0: np.dtype("<i1"), 1: np.dtype("<i2"), 2: np.dtype("<f4"), 12: np.dtype("<f2")}


class MrcWriter:
    """Takes the voxels of a file in their order and keeps the statistics of its header.

    Attributes
    ----------
    mode : int
        MRC mode, a key of `MODES`.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], mode: int, voxel_size_angst: float, label: str) -> None:
        self.mode = mode
        self._file = path.open("wb")
        self._header = _header(shape, mode, voxel_size_angst, label)
        self._file.write(self._header.tobytes())
        self._low, self._high, self._sum, self._squares, self._count = np.inf, -np.inf, 0.0, 0.0, 0

    def write(self, voxels: np.ndarray) -> None:
        """Append voxels; in integer modes they are rounded and clipped to the range of the type."""
        dtype = MODES[self.mode]
        if dtype.kind == "i":
            limit = np.iinfo(dtype).max
            voxels = np.clip(np.rint(voxels), -limit, limit)
        voxels = np.ascontiguousarray(voxels, dtype)
        self._file.write(voxels.tobytes())
        exact = voxels.astype(np.float64)
        self._low, self._high = min(self._low, float(exact.min())), max(self._high, float(exact.max()))
        self._sum, self._squares, self._count = (
            self._sum + exact.sum(),
            self._squares + (exact**2).sum(),
            self._count + exact.size,
        )

    def close(self) -> None:
        """Write the statistics and close the file."""
        if self._count:
            mean = self._sum / self._count
            self._header["dmin"], self._header["dmax"], self._header["dmean"] = self._low, self._high, mean
            self._header["rms"] = np.sqrt(max(self._squares / self._count - mean**2, 0.0))
            self._file.seek(0)
            self._file.write(self._header.tobytes())
        self._file.close()


@contextmanager
def write_mrc(
    path: Path, shape: tuple[int, ...], mode: int, voxel_size_angst: float, label: str
) -> Iterator[MrcWriter]:
    """Open an MRC file for writing: a volume (z, y, x), or (N, z, y, x) for a stack of volumes (ISPG 401). No time
    stamp goes in.
    """
    writer = MrcWriter(path, shape, mode, voxel_size_angst, label)
    try:
        yield writer
    finally:
        writer.close()


def _header(shape: tuple[int, ...], mode: int, voxel_size_angst: float, label: str) -> np.ndarray:
    """Return the 1024 bytes that MRC2014 begins with."""
    depth, height, width = shape[-3:]
    count = shape[0] if len(shape) == 4 else 1
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nx"], header["ny"], header["nz"] = width, height, depth * count
    header["mode"] = mode
    header["mx"], header["my"], header["mz"] = width, height, depth
    header["cella"]["x"], header["cella"]["y"], header["cella"]["z"] = (
        n * voxel_size_angst for n in (width, height, depth)
    )
    for angle in ("alpha", "beta", "gamma"):
        header["cellb"][angle] = 90
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["ispg"] = 401 if len(shape) == 4 else 1
    header["exttyp"] = b""
    header["nversion"] = 20141
    header["map"] = b"MAP "
    header["machst"][:2] = 0x44
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = 0, -1, -2, -1  # not known yet
    header["nlabl"] = 1
    header["label"][0] = label[:80].encode()
    return header
