"""Kinds of input, one file each: every one turns files into a Pool. Adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from tomotutor.pool import Pool
from tomotutor.sources.array import open_array
from tomotutor.sources.base import Source, with_statistics
from tomotutor.sources.images import open_images
from tomotutor.sources.mrc_dir import open_mrc_dir
from tomotutor.sources.stack import open_stack
from tomotutor.sources.tomogram import open_particles, resolve

SOURCES: dict[str, Callable[[Source], Pool]] = {
    "particles": open_particles,
    "stack": open_stack,
    "mrc_dir": open_mrc_dir,
    "array": open_array,
    "images": open_images,
}


def open_pool(source: Source) -> Pool:
    """Open the input that `source` describes, without reading voxels."""
    return SOURCES[source.kind](source)


__all__ = ["SOURCES", "Source", "open_pool", "resolve", "with_statistics"]
