"""Cityscapes and CamVid: street scenes with a class for each pixel."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Cut, Pool
from tomotutor.data.sources.array import load_array
from tomotutor.data.sources.base import Source
from tomotutor.data.sources.batches import split_of
from tomotutor.data.sources.images import image_pool, load_image, resized
from tomotutor.formats.image import open_image
from tomotutor.formats.mask_png import VOID

# label ids of Cityscapes that are evaluated, in the order of their train ids; all others are void
_CITYSCAPES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_CAMVID = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)


def _table(values: Sequence[int]) -> np.ndarray:
    """Return what each byte of a mask becomes: the position of a value in `values`, or void."""
    table = np.full(256, VOID, np.uint8)
    table[list(values)] = np.arange(len(values))
    return table


def _mask_reader(files: Sequence[Path], source: Source, table: np.ndarray) -> Callable[[int], np.ndarray]:
    """Return a function from row to mask: read when asked for, resized as the images are."""

    def read(row: int) -> np.ndarray:
        with open_image(files[row], "a mask") as opened:
            if opened.mode not in ("L", "P"):
                raise ValueError(f"found {opened.mode} pixels, expected one byte each")
            return table[
                np.asarray(
                    resized(opened, source.preparation.size, nearest=True) if source.preparation.size else opened
                )
            ]

    return read


def _open(
    images: list[Path], masks: list[Path], folder: Path, source: Source, names: Sequence[str], table: np.ndarray
) -> Pool:
    missing = next((m for m in masks if not m.is_file()), None)
    if missing:
        raise TomoTutorError(f"{missing}: no such file; expected a mask for each image of {folder}")
    pool = image_pool(images, folder, source, mode="RGB", class_names=tuple(names))
    return dataclasses.replace(pool, truth_mask=_mask_reader(masks, source, table))


def open_cityscapes(source: Source) -> Pool:
    """Open Cityscapes: leftImg8bit and gtFine side by side; the 19 classes that are evaluated."""
    split = split_of(source, ("train", "val"))
    folder, truth = source.file / "leftImg8bit" / split, source.file / "gtFine" / split
    images = sorted(folder.glob("*/*_leftImg8bit.png"))
    if not images:
        raise TomoTutorError(
            f"{folder}: no */*_leftImg8bit.png; expected the folders leftImg8bit and gtFine of Cityscapes"
        )
    names = [p.name.removesuffix("_leftImg8bit.png") for p in images]
    masks = [truth / p.parent.name / f"{name}_gtFine_labelIds.png" for p, name in zip(images, names, strict=True)]
    return _open(images, masks, folder, source, tuple(_CITYSCAPES.values()), _table(tuple(_CITYSCAPES)))


def open_camvid(source: Source) -> Pool:
    """Open CamVid: `train` beside `trainannot` and so on (11 classes, all else void), or all of it packed in an .npz
    file.
    """
    split = split_of(source, ("train", "val", "test"))
    if source.file.is_file():
        return _open_packed(source, split)
    folder = source.file / split
    images = sorted(folder.glob("*.png"))
    if not images:
        raise TomoTutorError(
            f"{folder}: no .png files; expected the folders train, trainannot, val, … of CamVid with 11 classes"
        )
    masks = [source.file / f"{split}annot" / p.name for p in images]
    return _open(images, masks, folder, source, _CAMVID, _table(range(len(_CAMVID))))


def _open_packed(source: Source, split: str) -> Pool:
    """Open an .npz file with images as WebP, one behind the other in xwebp_SPLIT (offsets xoff_SPLIT), and masks
    y_SPLIT.
    """
    names, blob, offsets, y = (
        load_array(source.file, k) for k in (f"name_{split}", f"xwebp_{split}", f"xoff_{split}", f"y_{split}")
    )
    if names is None or blob is None or offsets is None or y is None or not len(y) == len(names) == len(offsets) - 1:
        raise TomoTutorError(
            f"{source.path}: not CamVid as packed: expected name_{split}, xwebp_{split}, xoff_{split} and y_{split}"
        )
    table = _table(range(len(_CAMVID)))

    def load(row: int) -> np.ndarray:
        data = blob[offsets[row] : offsets[row + 1]].tobytes()
        return load_image(io.BytesIO(data), source.preparation.size, mode="RGB", name=f"{source.path}, image {row}")

    def truth(row: int) -> np.ndarray:
        mask = Image.fromarray(table[y[row]], "L")
        return np.asarray(resized(mask, source.preparation.size, nearest=True) if source.preparation.size else mask)

    return Pool(
        tuple(np.asarray(names).tolist()),
        load(0).shape,
        lambda row: Cut(load(row)),
        "none",
        source.preparation.mean,
        source.preparation.std,
        class_names=_CAMVID,
        truth_mask=truth,
    )
