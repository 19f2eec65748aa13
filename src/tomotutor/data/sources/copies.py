"""A session's own copies of particle lists, so that it does not depend on files that programs write again."""

from __future__ import annotations

import shutil
from pathlib import Path

from tomotutor.data.sources.base import Source
from tomotutor.formats.particles.lists import files_of

_TOMOGRAMS = "tomograms.star"


def absolute(source: Source) -> Source:
    """Return a source whose paths do not depend on the working folder."""
    paths = {name: str(Path(path).resolve()) for name, path in source.paths().items()}
    return source.replace(**{**paths, "root": str(source.file.resolve().parent) if source.kind == "particles" else ""})


def list_name(path: Path) -> str:
    """Return what the copy of a list is called; formats other than STAR read tomogram names off file names, so they
    keep theirs.
    """
    return "particles.star" if path.suffix.lower() == ".star" else f"particles/{path.name}"


def in_folder(source: Source, folder: Path) -> Source:
    """Return a source that reads the copies of its lists in a folder."""
    if source.kind != "particles":
        return source
    return source.replace(
        path=str(folder / list_name(source.file)), tomograms=str(folder / _TOMOGRAMS) if source.where.tomograms else ""
    )


def copy_lists(source: Source, folder: Path) -> None:
    """Copy the lists of a source into a folder, with all files that belong to them."""
    if source.kind != "particles":
        return
    original, target = source.file, folder / list_name(source.file)
    for file in files_of(original):
        copy = (
            target / file.relative_to(original)
            if original.is_dir()
            else target
            if file == original
            else target.with_suffix(file.suffix)
        )
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    if source.where.tomograms:
        shutil.copyfile(source.where.tomograms, folder / _TOMOGRAMS)
