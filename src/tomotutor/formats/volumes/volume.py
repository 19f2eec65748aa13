"""open_volume(): voxels of any format we read, chosen by the ending of the file."""

from __future__ import annotations

from pathlib import Path

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.volumes.em import open_em
from tomotutor.formats.volumes.mrc import open_mrc
from tomotutor.formats.volumes.voxels import Volume

MRC = (".mrc", ".rec", ".map", ".st", ".ali", ".mrcs", ".mrc.gz", ".mrc.bz2", ".rec.gz", ".map.gz")
EM = (".em",)
HDF5 = (".h5", ".hdf5", ".hdf")
ZARR = (".zarr",)
ENDINGS = (*MRC, *EM, *HDF5, *ZARR)
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def is_volume(path: Path) -> bool:
    """Whether there is a file, or a Zarr folder, at `path`."""
    return path.is_file() or is_zarr(path)


def is_zarr(path: Path) -> bool:
    """Whether `path` is a folder with Zarr's metadata in it."""
    return any((path / name).is_file() for name in _ZARR_FILES)


def open_volume(path: Path, *, key: str = "", byte_sign: str = "", near_angst: float = 0.0) -> Volume:
    """Open a file of volumes, without reading its voxels.

    Parameters
    ----------
    path : Path
        MRC (any ending that is not one of the others), EM, HDF5, or a Zarr folder.
    key : str
        Name of the array in an HDF5 or Zarr file that has several.
    byte_sign : {"", "signed", "unsigned"}
        What 8-bit voxels of MRC and EM files are; "" believes the header.
    near_angst : float
        Voxel size at which an OME-Zarr pyramid is wanted: its coarsest level that is not coarser is opened; 0 takes the
        finest.

    Raises
    ------
    TomoTutorError
        It is missing, damaged, or holds no real voxels.
    """
    ending = path.suffix.lower()
    if path.is_dir():
        if not is_zarr(path):
            raise TomoTutorError(f"{path}: a folder without Zarr metadata; expected a volume: a file, or a Zarr folder")
        from tomotutor.formats.volumes.zarr import open_zarr  # zarr is an extra

        return open_zarr(path, key, near_angst)
    if ending in EM:
        return open_em(path, byte_sign)
    if ending in HDF5:
        from tomotutor.formats.volumes.hdf5 import open_hdf5  # only where it is needed: it takes a while to import

        return open_hdf5(path, key)
    return open_mrc(path, byte_sign)
