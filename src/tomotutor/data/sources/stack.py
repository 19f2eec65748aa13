"""Stacks in one file: 4D stacks of subtomograms, or stacks of 2D images."""

from __future__ import annotations

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Cut, Pool
from tomotutor.data.sources.base import Source, numbered, open_source_volume


def open_stack(source: Source) -> Pool:
    """Open a stack (MRC, EM, HDF5, Zarr); items are called by their number from 0. Protein is bright by default in 3D.

    An HDF5 or Zarr array with four axes is a stack of volumes, and so is an MRC file with ISPG 401 or with a depth that
    is a multiple of MZ = box. RELION writes plain maps with ISPG 0 too, so a file of slices that is neither clearly a
    stack of volumes nor called .mrcs is only opened when `ndim` says what it is.
    """
    opened = open_source_volume(source.file, source)
    data = opened.data
    shape, slices = data.shape[1:], 0  # of an item, and how many slices it has where the file is one pile of them
    if data.ndim == 3:
        depth, height, width = data.shape
        cubes = height == width and depth % width == 0
        ndim = source.reading.ndim or (
            2 if source.file.suffix == ".mrcs" and opened.is_image_stack and not (cubes and depth > width) else 0
        )
        if ndim == 3:
            if not cubes:
                raise TomoTutorError(
                    f"{source.path}: {depth} slices of {height}×{width} are no whole number of cubes; expected a "
                    f"multiple of {width}"
                )
            shape, slices = (width, height, width), width
        elif ndim == 0:
            raise TomoTutorError(
                f"{source.path}: its header does not tell whether its {depth} slices of {height}×{width} are images or "
                "volumes; "
                "say so with --ndim 2 (images) or --ndim 3 (a stack of cubes)"
            )

    def cut(row: int) -> Cut:
        return Cut((data[row * slices : (row + 1) * slices] if slices else data[row])[None])

    return Pool(
        numbered(len(data) // max(slices, 1), source),
        (1, *shape),
        cut,
        source.reading.protein or ("bright" if len(shape) == 3 else "none"),
        source.preparation.mean,
        source.preparation.std,
        voxel_size_angst=source.reading.voxel_size or opened.voxel_size_angst,
    )
