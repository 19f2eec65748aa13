"""A folder of 2D images."""

from __future__ import annotations

import numpy as np
from PIL import Image, UnidentifiedImageError

from tomotutor.errors import TomoTutorError
from tomotutor.pool import Cut, Pool
from tomotutor.sources.base import Source

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def open_images(source: Source) -> Pool:
    """Open a folder, subfolders included; items are called by relative path. All images must have one size and kind."""
    folder = source.file
    if not folder.is_dir():
        raise TomoTutorError(f"{folder}: no such folder")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise TomoTutorError(f"{folder}: no images; expected files ending in {', '.join(SUFFIXES)}")

    def load(row: int) -> np.ndarray:
        try:
            with Image.open(files[row]) as image:
                pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "RGBA", "CMYK", "LA") else image)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as problem:
            raise TomoTutorError(f"{files[row]}: not an image that can be read ({str(problem).splitlines()[0]})") from None
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)

    shape = load(0).shape

    def cut(row: int) -> Cut:
        values = load(row)
        if values.shape != shape:
            raise TomoTutorError(
                f"{files[row]}: {values.shape[2]}×{values.shape[1]} pixels in {values.shape[0]} channels, but {files[0].name} has "
                f"{shape[2]}×{shape[1]} in {shape[0]}; expected one size for all: resize them"
            )
        return Cut(values)

    ids = tuple(p.relative_to(folder).as_posix() for p in files)
    group = np.array([i.rpartition("/")[0] for i in ids], object)
    return Pool(ids, shape, cut, source.protein or "none", source.mean, source.std, group_N=group)
