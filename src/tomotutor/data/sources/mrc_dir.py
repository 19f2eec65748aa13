"""A folder of subtomograms, one MRC or EM file each."""

from __future__ import annotations

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Cut, Pool
from tomotutor.data.sources.base import Source, open_source_volume
from tomotutor.formats.volumes.voxels import size_text

ENDINGS = (".mrc", ".em", ".mrc.gz", ".mrc.bz2")


def open_mrc_dir(source: Source) -> Pool:
    """Open a folder, subfolders included; items are called by relative path. Protein is bright by default."""
    folder = source.file
    if not folder.is_dir():
        raise TomoTutorError(f"{folder}: no such folder")
    files = sorted(p for p in folder.rglob("*") if p.name.lower().endswith(ENDINGS) and p.is_file())
    if not files:
        reason = (
            "only .mrcs files, which are stacks of images (2D subtomograms of RELION and Warp are cut out of the tilts "
            "and are no volumes)"
            if next(folder.rglob("*.mrcs"), None)
            else "no .mrc or .em files"
        )
        raise TomoTutorError(f"{folder}: {reason}; expected one subtomogram a file, ending in {', '.join(ENDINGS)}")
    first = open_source_volume(files[0], source)
    if first.data.ndim != 3:
        raise TomoTutorError(f"{files[0]}: found a stack of volumes; expected one subtomogram a file (use --stack)")
    shape = first.data.shape

    def cut(row: int) -> Cut:
        data = open_source_volume(files[row], source).data
        if data.shape != shape:
            raise TomoTutorError(
                f"{files[row]}: {size_text(data.shape)} voxels, but {files[0].name} has {size_text(shape)}; expected "
                "one size"
            )
        return Cut(np.asarray(data)[None])

    ids = tuple(p.relative_to(folder).as_posix() for p in files)
    folder_N = np.array([i.rpartition("/")[0] for i in ids], object)
    voxel = source.reading.voxel_size or first.voxel_size_angst
    return Pool(ids, (1, *shape), cut, source.reading.protein or "bright", tomogram_N=folder_N, voxel_size_angst=voxel)
