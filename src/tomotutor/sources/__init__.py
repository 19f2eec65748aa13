"""Kinds of input, one file each: every one turns files into a Pool. Adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from tomotutor.pool import Pool
from tomotutor.sources.array import open_array
from tomotutor.sources.base import Source, with_statistics
from tomotutor.sources.batches import open_cifar10, open_cifar100, open_svhn
from tomotutor.sources.class_folders import open_caltech101, open_imagenet
from tomotutor.sources.images import open_images
from tomotutor.sources.mrc_dir import open_mrc_dir
from tomotutor.sources.stack import open_stack
from tomotutor.sources.street import open_camvid, open_cityscapes
from tomotutor.sources.tomogram import open_particles

SOURCES: dict[str, Callable[[Source], Pool]] = {
    "particles": open_particles,
    "stack": open_stack,
    "mrc_dir": open_mrc_dir,
    "array": open_array,
    "images": open_images,
}

# published data sets with their truth, named by --dataset
DATASETS: dict[str, Callable[[Source], Pool]] = {
    "cifar10": open_cifar10,
    "cifar100": open_cifar100,
    "svhn": open_svhn,
    "caltech101": open_caltech101,
    "imagenet": open_imagenet,
    "cityscapes": open_cityscapes,
    "camvid": open_camvid,
}


def open_pool(source: Source) -> Pool:
    """Open the input that `source` describes, without reading voxels."""
    return (SOURCES | DATASETS)[source.kind](source)


__all__ = ["DATASETS", "SOURCES", "Source", "open_pool", "with_statistics"]
