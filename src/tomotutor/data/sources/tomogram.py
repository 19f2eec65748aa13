"""Tomograms with a particle list of any format: boxes cut lazily from volumes of any format."""

from __future__ import annotations

import dataclasses
import glob
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from gemmi import cif

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Cut, ItemCache, Pool
from tomotutor.data.resample import low_pass_margin
from tomotutor.data.sources.base import Source, find_file, open_source_volume
from tomotutor.data.sources.boxes import (
    cut_box,
    cut_resampled,
    leaves,
    low_pass_in_voxels,
    low_passed,
    sample_statistics,
)
from tomotutor.formats.particles.lists import read_list
from tomotutor.formats.particles.relion_sets import holds_tilt_stacks, named_in_set, read_tomograms
from tomotutor.formats.particles.table import ParticleTable, Reading, TomogramEntry, in_frame
from tomotutor.formats.star import check_names, parse_star
from tomotutor.formats.volumes.volume import ENDINGS, is_volume
from tomotutor.formats.volumes.voxels import LazyArray, Volume, size_text

log = logging.getLogger(__name__)

_WARP = ".tomostar"
Finder = Callable[[str, TomogramEntry | None, Source], Path]
_OPEN_FILES = 256  # tomograms kept open: systems often allow 1024 files


@dataclass(frozen=True)
class Particles:
    """A particle list and its tomogram set, as read: each of their files once.

    Attributes
    ----------
    source : Source
        Where they are; of a RELION 5 optimisation set, the files that it names.
    table : ParticleTable
        The list.
    entries : dict of str to TomogramEntry
        What the tomogram set tells of the list's tomograms, by name; {} without one.
    """

    source: Source
    table: ParticleTable
    entries: dict[str, TomogramEntry]


def read_particle_list(source: Source, *, to_cut: bool = False) -> Particles:
    """Read the particle list of a source, and of the tomogram set (if it has one) the tomograms of the list.

    Paths in a RELION 5 optimisation set are relative to the RELION project: they are tried in its folder, then in each
    of its ancestors.

    Parameters
    ----------
    source : Source
        Of kind "particles".
    to_cut : bool
        Boxes are to be cut from its tomograms; a list of 2D tilt stacks without tomograms is refused.
    """
    document = _parse(source.file)
    named = None if document is None else named_in_set(document, source.file)
    if named is not None:
        source = _named_source(source, *named)
        document = _parse(source.file)
    if document is not None:
        check_names(document, source.file)
    if (
        to_cut
        and document is not None
        and not (source.where.tomograms or source.where.tomogram_dir)
        and holds_tilt_stacks(document)
    ):
        raise TomoTutorError(
            f"{source.path}: its images are 2D tilt stacks, a projection for each tilt and no volume to look at; "
            "give the tomograms to cut boxes from with --tomogram-dir"
        )
    known = read_tomograms(Path(source.where.tomograms)) if source.where.tomograms else {}
    table = read_list(
        source.file, Reading(known, source.reading.coordinate_pixel_size, source.reading.centre, document)
    )
    names = list(dict.fromkeys(table.tomogram_N.tolist()))
    missing = [n for n in names if n not in known] if source.where.tomograms else []
    if missing:
        raise TomoTutorError(
            f"{source.path}: {len(missing)} of its {len(names)} tomograms (first: {missing[0]!r}) are not in "
            f"{source.where.tomograms}, "
            f"which has {', '.join(repr(n) for n in list(known)[:3])}{', …' if len(known) > 3 else ''}; names must "
            "match exactly"
        )
    return Particles(source, table, {n: known[n] for n in names if n in known})


def _parse(path: Path) -> cif.Document | None:
    return parse_star(path) if path.suffix.lower() == ".star" and path.is_file() else None


def _named_source(source: Source, particles: str, tomograms: str) -> Source:
    """Return the source of the files that an optimisation set names."""
    here = source.replace(root=source.where.root or str(source.file.resolve().parent))
    found = {}
    for field, name in (("path", particles), ("tomograms", tomograms)):
        if not name or (field == "tomograms" and source.where.tomograms):
            continue
        path = find_file([_inside(name, source.path)], here, Path.is_file)
        if path is None:
            raise TomoTutorError(
                f"{source.path}: the file {name} that it names is not in its folder or a parent of it; give the list "
                "itself"
            )
        found[field] = path.resolve()
    return source.replace(root=str(found["path"].parent), **{field: str(path) for field, path in found.items()})


def box_start(zyx_voxel_N3: np.ndarray, box: int) -> np.ndarray:
    """Return the first voxel of each box: the particle's nearest voxel lands on index box // 2, the
    centre of the box.
    """
    return np.floor(zyx_voxel_N3 + 0.5).astype(np.int64) - box // 2


def find_tomogram(name: str, entry: TomogramEntry | None, source: Source) -> Path:
    """Find the reconstruction of a tomogram.

    The path in the tomogram set is relative to the RELION project: it is tried in the list's folder, in each of its
    ancestors, then in `tomogram_dir` (there also by file name alone). A path may not leave the folder it is tried in.
    Without such a path the tomogram's name gives the file's.
    """
    names = (
        [_inside(entry.file, source.where.tomograms)]
        if entry and entry.file
        else _usual_names(_inside(name, source.path))
    )
    found = find_file(names, source)
    if found is None and source.where.tomogram_dir:
        folder = Path(source.where.tomogram_dir).resolve()
        plain = [PurePosixPath(names[0]).name, *_usual_names(PurePosixPath(name).name), f"rec_{name}.mrc"]
        found = next((folder / n for n in plain if is_volume(folder / n)), None)
        if found is None and name.endswith(_WARP):
            # WARP puts the voxel size into the names of its reconstructions
            fitting = sorted(folder.glob(f"{glob.escape(name.removesuffix(_WARP))}_*Apx.mrc"))
            found = fitting[0] if len(fitting) == 1 else None
        if found is not None and found.name != plain[0] and (found.name.startswith("rec_") or name.endswith(_WARP)):
            log.info(
                "tomogram %s: taken from %s, by the rule that RELION puts rec_ before a name and WARP .tomostar behind "
                "it",
                name,
                found,
            )
    if found is None:
        tried = f"{source.where.root}, its parent folders" + (
            f" and {source.where.tomogram_dir}" if source.where.tomogram_dir else ""
        )
        raise TomoTutorError(f"tomogram {name}: no file {names[0]} in {tried}; give its folder with --tomogram-dir")
    return found


def _inside(file: str, where: str) -> str:
    """Return a path from a file as a relative one; one that climbs is refused."""
    parts = PurePosixPath(file)
    if ".." in parts.parts:
        raise TomoTutorError(f"{where}: the path {file!r} leaves its folder; give the folder with --tomogram-dir")
    return str(parts.relative_to("/")) if parts.is_absolute() else file


def _usual_names(name: str) -> list[str]:
    """Return the files that a tomogram of this name may be in."""
    plain = name.removesuffix(_WARP)
    return [f"{n}{ending}" for n in dict.fromkeys((name, plain)) for ending in ENDINGS] + [name]


def _voxel_size(name: str, volume: Volume, entry: TomogramEntry | None, source: Source, *, needed: bool) -> float:
    """Choose between override, header and tomogram set; the header wins unless it says nothing or the notorious 1.0.

    Where nothing tells and a list in voxels does not need it, it stays 0.
    """
    stated = entry.voxel_size_angst if entry else 0.0
    header = volume.voxel_size_angst
    if source.reading.voxel_size:
        return source.reading.voxel_size
    if header <= 0 or (abs(header - 1.0) < 1e-3 and stated and abs(stated - 1.0) > 1e-3):
        if not stated and not needed:
            return 0.0
        if not stated:
            raise TomoTutorError(
                f"tomogram {name}: neither its header nor a tomogram set tells the voxel size; give --voxel-size"
            )
        log.warning(
            "tomogram %s: the header's voxel size is %.3f Å; the tomogram set's %.3f Å is used", name, header, stated
        )
        return stated
    if stated and abs(stated - header) > 1e-3 * header:
        log.warning(
            "tomogram %s: the tomogram set's voxel size is %.4f Å, the header's %.4f Å is used", name, stated, header
        )
    return header


def measure_tomogram(
    name: str,
    entry: TomogramEntry | None,
    source: Source,
    *,
    needed: bool,
    opener: Callable[[Path], Volume] | None = None,
    find: Finder = find_tomogram,
) -> tuple[Path, TomogramEntry]:
    """Find a tomogram and return its file with the size and voxel size that hold: those of the file, unless it has
    none.
    """
    path = find(name, entry, source)
    volume = opener(path) if opener else open_source_volume(path, source)
    if volume.data.ndim != 3:
        raise TomoTutorError(f"{path}: found a stack of volumes; expected one tomogram")
    z, y, x = volume.data.shape
    if (
        entry
        and all(entry.size_xyz)
        and entry.voxel_size_angst
        and np.abs(np.array(entry.size_xyz) - (x, y, z)).max() > 0.5
    ):
        log.warning(
            "tomogram %s: the set says %s voxels, its file has %s; the file's are used", name, entry.size_xyz, (x, y, z)
        )
    pixel = entry.pixel_size_angst if entry else 0.0
    return path, TomogramEntry(
        name, str(path), _voxel_size(name, volume, entry, source, needed=needed), (x, y, z), pixel
    )


def known_tomograms(particles: Particles) -> dict[str, TomogramEntry]:
    """Return what is known of a list's tomograms: by their files where `tomogram_dir` is given, else by the tomogram
    set.
    """
    source, entries = particles.source, particles.entries
    names = dict.fromkeys(particles.table.tomogram_N.tolist())
    if source.where.tomogram_dir:
        return {name: measure_tomogram(name, entries.get(name), source, needed=False)[1] for name in names}
    known = {name: entries.get(name, TomogramEntry(name)) for name in names}
    return {
        n: dataclasses.replace(e, voxel_size_angst=source.reading.voxel_size or e.voxel_size_angst)
        for n, e in known.items()
    }


def open_particles(source: Source) -> Pool:
    """Open a particle list with its tomograms; protein is dark by default."""
    return open_boxes(read_particle_list(source, to_cut=True))


def open_boxes(particles: Particles, find: Finder = find_tomogram) -> Pool:
    """Open the boxes about particles in their tomograms, which `find` finds; without voxels being read."""
    source, table, entries = particles.source, particles.table, particles.entries
    box = source.preparation.box

    @lru_cache(maxsize=_OPEN_FILES)
    def volume(path: Path) -> Volume:
        return open_source_volume(path, source)

    files: dict[str, Path] = {}
    tomograms: dict[str, TomogramEntry] = {}
    needed = table.unit == "angst" or bool(table.voxel_size_angst) or bool(source.preparation.rescale)
    for name in dict.fromkeys(table.tomogram_N.tolist()):
        files[name], tomograms[name] = measure_tomogram(
            name, entries.get(name), source, needed=needed, opener=volume, find=find
        )
        step = source.step(tomograms[name].voxel_size_angst)
        if min(tomograms[name].size_xyz) < box * step:
            at = f" of {source.preparation.rescale:g} Å, {box * step:.0f} of its own" if step != 1 else ""
            size = size_text(tuple(int(s) for s in tomograms[name].size_xyz[::-1]))
            raise TomoTutorError(
                f"{files[name]}: the tomogram has {size} voxels, less than the box of {box}{at}; choose a smaller --box"
            )
    # HDF5 and Zarr decompress whole chunks for each box
    chunked = any(isinstance(volume(path).data, LazyArray) for path in files.values())
    zyx_N3, step_N, size_N3, voxel_size = places(table, tomograms, source)
    outside = int(((zyx_N3 < -0.5) | (zyx_N3 >= size_N3 - 0.5)).any(1).sum())
    if outside and table.assumed:
        raise TomoTutorError(
            f"{source.path}: {outside} of its {len(table)} particles lie outside their tomograms; {table.assumed}: "
            "give what one pixel measures, in Å, with --coordinate-pixel-size"
        )
    start_N3 = box_start(zyx_N3, box)
    # without rescaling a box is whole voxels about the nearest one
    centre_N3 = np.where(step_N[:, None] == 1, start_N3 + box // 2, zyx_N3)
    padded_N = leaves(centre_N3, box, step_N[:, None], size_N3)

    @cache
    def statistics(name: str) -> tuple[float, float]:
        return sample_statistics(volume(files[name]).data)

    def cut(row: int, margin: int = 0) -> Cut:
        data, edge = volume(files[table.tomogram_N[row]]).data, box + 2 * margin
        if step_N[row] == 1:
            return cut_box(data, start_N3[row] - margin, edge)
        return cut_resampled(data, zyx_N3[row], edge, float(step_N[row]))

    resolution = low_pass_in_voxels(source, voxel_size) if source.preparation.low_pass else 0.0
    margin = low_pass_margin(resolution)

    def filtered(row: int) -> Cut:
        return low_passed(cut(row, margin), margin, resolution)

    columns = {"angles_deg_N3": table.angles_deg_N3, "tilt_range_N2": table.tilt_range_N2}
    told: dict[str, Any] = {name: values for name, values in columns.items() if values is not None}
    return Pool(
        table.ids,
        (1, box, box, box),
        cut,
        source.reading.protein or "dark",
        padded_N=padded_N,
        tomogram_N=table.tomogram_N,
        voxel_size_angst=voxel_size,
        prepared=filtered if source.preparation.low_pass else None,
        statistics=(lambda row: statistics(table.tomogram_N[row]))
        if source.preparation.normalise == "tomogram"
        else None,
        cache=ItemCache() if source.preparation.low_pass or (step_N != 1).any() or chunked else None,
        offset_zyx_N3=zyx_N3 - centre_N3,
        **told,
    )


def open_denoised(particles: Particles) -> Pool | None:
    """Open the same boxes cut from denoised tomograms, to look at; None where there are none.

    They come from `denoised_dir`, by the names of the raw ones, or from RELION's rlnTomoReconstructedTomogramDenoised.

    Raises
    ------
    TomoTutorError
        There are some, but not of every tomogram.
    """
    find = denoised_finder(particles)
    return open_boxes(particles, find) if find else None


def denoised_finder(particles: Particles) -> Finder | None:
    """Return what finds the denoised tomograms of a list, None where there are none."""
    if particles.source.where.denoised_dir:
        return _find_in_denoised_dir
    return _find_denoised if any(entry.denoised for entry in particles.entries.values()) else None


def _find_denoised(name: str, entry: TomogramEntry | None, source: Source) -> Path:
    if entry is None or not entry.denoised:
        raise TomoTutorError(
            f"{source.where.tomograms}: tomogram {name} has no rlnTomoReconstructedTomogramDenoised, others have; "
            "expected all or none"
        )
    return find_tomogram(name, dataclasses.replace(entry, file=entry.denoised), source)


def _find_in_denoised_dir(name: str, entry: TomogramEntry | None, source: Source) -> Path:
    folder = Path(source.where.denoised_dir)
    own = [PurePosixPath(entry.file).name] if entry and entry.file else []
    names = [*own, *_usual_names(PurePosixPath(_inside(name, source.path)).name)]
    found = next((folder / n for n in names if is_volume(folder / n)), None)
    if found is None:
        raise TomoTutorError(f"{folder}: no denoised tomogram {names[0]}; expected the names of the raw ones")
    return found


def places(
    table: ParticleTable, tomograms: dict[str, TomogramEntry], source: Source
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return for each particle its place in voxels of its tomogram, voxels per voxel of the box, and the tomogram's
    size, z first.

    Last comes the voxel size of the boxes, Å, 0 where unknown.
    """
    step_N, size_N3, voxel_N = np.ones(len(table)), np.zeros((len(table), 3)), np.ones(len(table))
    for name, rows in table.groups():
        size_N3[rows] = tomograms[name].size_xyz[::-1]
        step_N[rows] = source.step(tomograms[name].voxel_size_angst)
        voxel_N[rows] = tomograms[name].voxel_size_angst
    if source.preparation.rescale:  # the tomograms may have voxel sizes of their own
        placed = in_frame(table, "angst", "corner", tomograms)
        return placed.xyz_N3[:, ::-1] / voxel_N[:, None], step_N, size_N3, source.preparation.rescale
    placed = in_frame(table, "voxel", "corner", tomograms)
    return placed.xyz_N3[:, ::-1], step_N, size_N3, placed.voxel_size_angst
