"""The tilt range of each tomogram, which says where its missing wedge lies."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources.base import Source, find_file
from tomotutor.formats.particles.table import TomogramEntry
from tomotutor.formats.tilts import read_tilt_series, read_tlt

log = logging.getLogger(__name__)

UNKNOWN = (float("nan"), float("nan"))


def tilt_ranges(
    names: Sequence[str], entries: Mapping[str, TomogramEntry], source: Source
) -> dict[str, tuple[float, float]]:
    """Return smallest and largest tilt of each tomogram, degrees; nan where unknown.

    `tilt_range` holds for all. Next come the files in `tilt_dir`, then the tilt-series STAR files that the tomogram set
    names, where they are found as tomograms are: below the list's folder, its parents, or `tomogram_dir`.

    Raises
    ------
    TomoTutorError
        No tomogram has a file in `tilt_dir`, or one of the files holds no tilts.
    """
    if source.reading.tilt_range:
        return dict.fromkeys(names, (source.reading.tilt_range[0], source.reading.tilt_range[1]))
    if source.where.tilt_dir:
        return _from_folder(names, Path(source.where.tilt_dir))
    return _from_set(names, entries, source)


def _from_folder(names: Sequence[str], folder: Path) -> dict[str, tuple[float, float]]:
    found = dict.fromkeys(names, UNKNOWN)
    for name in names:
        files = [folder / f"{Path(name).name}{ending}" for ending in (".tlt", ".rawtlt")]
        file = next((file for file in files if file.is_file()), None)
        if file:
            found[name] = read_tlt(file)
        else:
            log.warning(
                "tomogram %s: no %s or .rawtlt in %s; its tilt range is taken as symmetric", name, files[0].name, folder
            )
    if names and np.isnan(list(found.values())).all():
        raise TomoTutorError(
            f"{folder}: no tilts of any of {len(names)} tomograms; expected files such as {names[0]}.tlt or "
            f"{names[0]}.rawtlt"
        )
    return found


def _from_set(
    names: Sequence[str], entries: Mapping[str, TomogramEntry], source: Source
) -> dict[str, tuple[float, float]]:
    found = dict.fromkeys(names, UNKNOWN)
    for name in names:
        file_name = entries[name].tilt_series if name in entries else ""
        parts = PurePosixPath(file_name)
        if not file_name or parts.is_absolute() or ".." in parts.parts:
            continue
        file = find_file([str(parts)], source)
        if file:
            found[name] = read_tilt_series(file)
        else:
            log.info(
                "tomogram %s: its tilt series %s is not at hand; its tilt range is taken as symmetric", name, parts
            )
    return found
