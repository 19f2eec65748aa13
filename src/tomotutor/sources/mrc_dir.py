"""A folder of subtomograms, one MRC file each."""

from __future__ import annotations

import numpy as np

from tomotutor.errors import TomoTutorError
from tomotutor.formats.mrc import open_mrc
from tomotutor.pool import Cut, Pool
from tomotutor.sources.base import Source


def open_mrc_dir(source: Source) -> Pool:
    """Open a folder, subfolders included; items are called by relative path. Protein is bright by default."""
    folder = source.file
    if not folder.is_dir():
        raise TomoTutorError(f"{folder}: no such folder")
    files = sorted(p for p in folder.rglob("*.mrc") if p.is_file())
    if not files:
        raise TomoTutorError(f"{folder}: no .mrc files; expected one subtomogram a file")
    first = open_mrc(files[0])
    if first.data.ndim != 3:
        raise TomoTutorError(f"{files[0]}: found a stack of volumes; expected one subtomogram a file (use --stack)")
    shape = first.data.shape

    def cut(row: int) -> Cut:
        data = open_mrc(files[row]).data
        if data.shape != shape:
            raise TomoTutorError(f"{files[row]}: {_size(data)} voxels, but {files[0].name} has {_size(first.data)}; expected one size")
        return Cut(data[None])

    ids = tuple(p.relative_to(folder).as_posix() for p in files)
    group = np.array([i.rpartition("/")[0] for i in ids], object)
    voxel = source.voxel_size or first.voxel_size_angst
    return Pool(ids, (1, *shape), cut, source.protein or "bright", group_N=group, voxel_size_angst=voxel)


def _size(data: np.ndarray) -> str:
    return "×".join(str(s) for s in data.shape[::-1])
