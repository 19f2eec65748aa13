"""MRC stacks: 4D stacks of subtomograms, or stacks of 2D images."""

from __future__ import annotations

from tomotutor.errors import TomoTutorError
from tomotutor.formats.mrc import open_mrc
from tomotutor.pool import Cut, Pool
from tomotutor.sources.base import Source


def open_stack(source: Source) -> Pool:
    """Open a stack; items are called by their number from 0. Protein is bright by default in 3D.

    A file with ISPG 401 or with a depth that is a multiple of MZ = box is a stack of volumes. RELION writes plain maps with
    ISPG 0 too, so a file that is neither clearly a stack of volumes nor called .mrcs is only opened when `ndim` says what it is.
    """
    mrc = open_mrc(source.file)
    data = mrc.data
    if data.ndim == 3:
        depth, height, width = data.shape
        cubes = height == width and depth % width == 0
        ndim = source.ndim or (2 if source.file.suffix == ".mrcs" and mrc.is_image_stack and not (cubes and depth > width) else 0)
        if ndim == 3:
            if not cubes:
                raise TomoTutorError(
                    f"{source.path}: {depth} slices of {height}×{width} are no whole number of cubes; expected a multiple of {width}"
                )
            data = data.reshape(-1, width, height, width)
        elif ndim == 0:
            raise TomoTutorError(
                f"{source.path}: its header does not tell whether its {depth} slices of {height}×{width} are images or volumes; "
                "say so with --ndim 2 (images) or --ndim 3 (a stack of cubes)"
            )
    items = data
    ndim = items.ndim - 1
    return Pool(
        tuple(str(i) for i in range(len(items))), (1, *items.shape[1:]), lambda row: Cut(items[row][None]),
        source.protein or ("bright" if ndim == 3 else "none"), source.mean, source.std,
        voxel_size_angst=source.voxel_size or mrc.voxel_size_angst,
    )  # fmt: skip
