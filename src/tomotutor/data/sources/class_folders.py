"""Caltech101 and ImageNet: a folder of images for each class, of many sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Pool
from tomotutor.data.sources.base import Source
from tomotutor.data.sources.batches import split_of
from tomotutor.data.sources.images import find_images, image_pool

_SIZE = (224,)


def _classes(folder: Path, without: tuple[str, ...] = ()) -> list[str]:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name not in without) if folder.is_dir() else []
    if len(names) < 2:
        raise TomoTutorError(f"{folder}: found {len(names)} class folders; expected a folder of images for each class")
    return names


def _open(folder: Path, source: Source, files: dict[str, list[Path]]) -> Pool:
    truth = [name for name, found in files.items() for _ in found]
    paths = [path for found in files.values() for path in found]
    return image_pool(
        paths,
        folder,
        source.replace(size=source.preparation.size or _SIZE),
        mode="RGB",
        class_names=tuple(files),
        truth_N=truth,
    )


def open_caltech101(source: Source) -> Pool:
    """Open Caltech101 without its background class: of each class, 9 images of 10 (always the same) train and the
    others test.
    """
    split = split_of(source, ("train", "test"))
    inner = source.file / "101_ObjectCategories"
    folder = inner if inner.is_dir() else source.file
    files = {}
    for number, name in enumerate(_classes(folder, ("BACKGROUND_Google",))):
        found = find_images(folder / name)
        order = np.random.default_rng([101, number]).permutation(len(found))
        train = len(found) * 9 // 10
        chosen = order[:train] if split == "train" else order[train:]
        files[name] = [found[i] for i in sorted(chosen.tolist())]
    return _open(folder, source, files)


def open_imagenet(source: Source) -> Pool:
    """Open ImageNet: `train` and `val`, each with a folder for each class."""
    folder = source.file / split_of(source, ("train", "val"))
    return _open(folder, source, {name: find_images(folder / name) for name in _classes(folder)})
