"""A folder of 2D images; and reading image files for the data sets."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Cut, Pool
from tomotutor.data.sources.base import Source
from tomotutor.formats.image import open_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def resized(image: Image.Image, size: tuple[int, ...], *, nearest: bool = False) -> Image.Image:
    """Bring an image to a `Source.size`; `nearest` is for masks, whose values must not be mixed."""
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    if len(size) == 2:
        return image.resize(size[::-1], how)
    (edge,) = size
    scale = max(edge, round(edge * 8 / 7)) / min(image.size)
    width, height = (max(edge, round(s * scale)) for s in image.size)
    left, top = (width - edge) // 2, (height - edge) // 2
    return image.resize((width, height), how).crop((left, top, left + edge, top + edge))


def load_image(file: Path | BytesIO, size: tuple[int, ...] = (), *, mode: str = "", name: str = "") -> np.ndarray:
    """Read an image as (C, y, x), resized, and in one of Pillow's modes if that is given; `name` is for messages."""
    with open_image(file, name=name) as image:
        if mode or image.mode in ("P", "RGBA", "CMYK", "LA"):
            image = image.convert(mode or "RGB")
        pixels = np.asarray(resized(image, size) if size else image)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def find_images(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, in the order of their names."""
    if not folder.is_dir():
        raise TomoTutorError(f"{folder}: no such folder")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise TomoTutorError(f"{folder}: no images; expected files ending in {', '.join(SUFFIXES)}")
    return files


def image_pool(
    files: Sequence[Path],
    folder: Path,
    source: Source,
    *,
    mode: str = "",
    class_names: tuple[str, ...] = (),
    truth_N: Sequence[str] = (),
) -> Pool:
    """Return files as a pool; items are called by their path relative to `folder`. They must have one size and kind."""

    def load(row: int) -> np.ndarray:
        return load_image(files[row], source.preparation.size, mode=mode)

    shape = load(0).shape

    def cut(row: int) -> Cut:
        values = load(row)
        if values.shape != shape:
            raise TomoTutorError(
                f"{files[row]}: {values.shape[2]}×{values.shape[1]} pixels in {values.shape[0]} channels, but "
                f"{files[0].name} has "
                f"{shape[2]}×{shape[1]} in {shape[0]}; expected one size for all: give one with --size"
            )
        return Cut(values)

    ids = tuple(p.relative_to(folder).as_posix() for p in files)
    folder_N = np.array([i.rpartition("/")[0] for i in ids], object)
    return Pool(
        ids,
        shape,
        cut,
        source.reading.protein or "none",
        source.preparation.mean,
        source.preparation.std,
        tomogram_N=folder_N,
        class_names=class_names,
        truth_N=np.array(truth_N or [""] * len(ids), object),
    )


def open_images(source: Source) -> Pool:
    """Open a folder, subfolders included.

    Where every image lies in a subfolder, the first one's name serves as its class.
    """
    files = find_images(source.file)
    inner = [p.relative_to(source.file).parts[:-1] for p in files]
    return image_pool(files, source.file, source, truth_N=[parts[0] for parts in inner] if all(inner) else ())
