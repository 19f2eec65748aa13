"""Tomograms with a particle list of any format: boxes cut lazily from memory-mapped MRC files."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import logging
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from tomotutor.errors import TomoTutorError
from tomotutor.formats.lists import read_list
from tomotutor.formats.mrc import Mrc, open_mrc
from tomotutor.formats.relion import read_optimisation_set, read_tomograms
from tomotutor.formats.table import ParticleTable, Reading, TomogramEntry, in_frame
from tomotutor.pool import Cut, Pool
from tomotutor.sources.base import Source

log = logging.getLogger(__name__)

_WARP = ".tomostar"


def resolve(source: Source) -> Source:
    """Return the particle list and tomogram set that a RELION 5 optimisation set names; any other source as it is.

    Paths in it are relative to the RELION project: they are tried in its folder, then in each of its ancestors.
    """
    if source.kind != "particles" or source.file.suffix.lower() != ".star" or not source.file.is_file():
        return source
    if source.file.stat().st_size > 1 << 16:  # it holds two paths; a long list need not be read twice
        return source
    named = read_optimisation_set(source.file)
    if named is None:
        return source
    found = {}
    for field, name in zip(("path", "tomograms"), named, strict=True):
        if not name or (field == "tomograms" and source.tomograms):
            continue
        path = _search([_inside(name, str(source.file))], source.replace(root=source.root or str(source.file.resolve().parent)))
        if path is None:
            raise TomoTutorError(
                f"{source.path}: the file {name} that it names is not in its folder or a parent of it; give the list itself"
            )
        found[field] = str(path)
    return source.replace(**found)


def read_particle_list(source: Source) -> tuple[ParticleTable, dict[str, TomogramEntry]]:
    """Read the particle list of a source, and of the tomogram set (if it has one) the tomograms of the list."""
    known = read_tomograms(Path(source.tomograms)) if source.tomograms else {}
    table = read_list(source.file, Reading(known, source.coordinate_pixel_size, source.centre))
    names = list(dict.fromkeys(table.tomogram_N.tolist()))
    missing = [n for n in names if n not in known] if source.tomograms else []
    if missing:
        raise TomoTutorError(
            f"{source.path}: {len(missing)} of its {len(names)} tomograms (first: {missing[0]!r}) are not in {source.tomograms}, "
            f"which has {', '.join(repr(n) for n in list(known)[:3])}{', …' if len(known) > 3 else ''}; names must match exactly"
        )
    return table, {n: known[n] for n in names if n in known}


def box_start(zyx_voxel_N3: np.ndarray, box: int) -> np.ndarray:
    """Return the first voxel of each box: the particle's nearest voxel lands on index box // 2, the centre of the box."""
    return np.floor(zyx_voxel_N3 + 0.5).astype(np.int64) - box // 2


def cut_box(volume: np.ndarray, start_zyx: np.ndarray, box: int) -> Cut:
    """Cut a cube of `box` voxels that may leave the volume; what lies outside is left 0 and marked invalid."""
    low = np.maximum(start_zyx, 0)
    high = np.minimum(start_zyx + box, volume.shape)
    if (low == start_zyx).all() and (high == start_zyx + box).all():
        z, y, x = start_zyx
        return Cut(volume[None, z : z + box, y : y + box, x : x + box])
    values = np.zeros((1, box, box, box), np.float32)
    high = np.maximum(high, low)
    inside = tuple(slice(int(a), int(b)) for a, b in zip(low - start_zyx, high - start_zyx, strict=True))
    values[0][inside] = volume[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    return Cut(values, inside)


def _search(names: list[str], source: Source) -> Path | None:
    """Find the first of some relative names under the list's folder, then its ancestors, then the given folder."""
    root = Path(source.root).resolve()
    folders = [root, *root.parents]
    if source.tomogram_dir:
        folders.append(Path(source.tomogram_dir).resolve())
    for folder in folders:
        for name in names:
            with contextlib.suppress(OSError):  # a name that is too long for a file
                if (folder / name).is_file():
                    return folder / name
    return None


def find_tomogram(name: str, entry: TomogramEntry | None, source: Source) -> Path:
    """Find the reconstruction of a tomogram.

    The path in the tomogram set is relative to the RELION project: it is tried in the list's folder, in each of its
    ancestors, then in `tomogram_dir` (there also by file name alone). A path may not leave the folder it is tried in.
    Without such a path the tomogram's name gives the file's.
    """
    names = [_inside(entry.file, source.tomograms)] if entry and entry.file else _usual_names(_inside(name, source.path))
    found = _search(names, source)
    if found is None and source.tomogram_dir:
        folder = Path(source.tomogram_dir).resolve()
        plain = [PurePosixPath(names[0]).name, *_usual_names(PurePosixPath(name).name), f"rec_{name}.mrc"]
        found = next((folder / n for n in plain if (folder / n).is_file()), None)
        if found is None and name.endswith(_WARP):
            # WARP puts the voxel size into the names of its reconstructions
            fitting = sorted(folder.glob(f"{glob.escape(name.removesuffix(_WARP))}_*Apx.mrc"))
            found = fitting[0] if len(fitting) == 1 else None
        if found is not None and found.name != plain[0] and (found.name.startswith("rec_") or name.endswith(_WARP)):
            log.info(
                "tomogram %s: taken from %s, by the rule that RELION puts rec_ before a name and WARP .tomostar behind it", name, found
            )
    if found is None:
        tried = f"{source.root}, its parent folders" + (f" and {source.tomogram_dir}" if source.tomogram_dir else "")
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
    return [f"{n}{ending}" for n in dict.fromkeys((name, plain)) for ending in (".mrc", ".rec")] + [name]


def _voxel_size(name: str, mrc: Mrc, entry: TomogramEntry | None, source: Source, *, needed: bool) -> float:
    """Choose between override, header and tomogram set; the header wins unless it says nothing or the notorious 1.0.

    Where nothing tells and a list in voxels does not need it, it stays 0.
    """
    stated = entry.voxel_size_angst if entry else 0.0
    header = mrc.voxel_size_angst
    if source.voxel_size:
        return source.voxel_size
    if header <= 0 or (abs(header - 1.0) < 1e-3 and stated and abs(stated - 1.0) > 1e-3):
        if not stated and not needed:
            return 0.0
        if not stated:
            raise TomoTutorError(f"tomogram {name}: neither its MRC header nor a tomogram set tells the voxel size; give --voxel-size")
        log.warning("tomogram %s: the header's voxel size is %.3f Å; the tomogram set's %.3f Å is used", name, header, stated)
        return stated
    if stated and abs(stated - header) > 1e-3 * header:
        log.warning("tomogram %s: the tomogram set's voxel size is %.4f Å, the header's %.4f Å is used", name, stated, header)
    return header


def measure_tomogram(name: str, entry: TomogramEntry | None, source: Source, *, needed: bool) -> tuple[Path, TomogramEntry]:
    """Find a tomogram and return its file with the size and voxel size that hold: those of the file, unless it has none."""
    path = find_tomogram(name, entry, source)
    mrc = open_mrc(path)
    if mrc.data.ndim != 3:
        raise TomoTutorError(f"{path}: found a stack of volumes; expected one tomogram")
    z, y, x = mrc.data.shape
    if entry and all(entry.size_xyz) and entry.voxel_size_angst and np.abs(np.array(entry.size_xyz) - (x, y, z)).max() > 0.5:
        log.warning("tomogram %s: the set says %s voxels, its file has %s; the file's are used", name, entry.size_xyz, (x, y, z))
    pixel = entry.pixel_size_angst if entry else 0.0
    return path, TomogramEntry(name, str(path), _voxel_size(name, mrc, entry, source, needed=needed), (x, y, z), pixel)


def known_tomograms(table: ParticleTable, entries: dict[str, TomogramEntry], source: Source) -> dict[str, TomogramEntry]:
    """Return what is known of a list's tomograms: by their files where `tomogram_dir` is given, else by the tomogram set."""
    names = dict.fromkeys(table.tomogram_N.tolist())
    if source.tomogram_dir:
        return {name: measure_tomogram(name, entries.get(name), source, needed=False)[1] for name in names}
    known = {name: entries.get(name, TomogramEntry(name)) for name in names}
    return {n: dataclasses.replace(e, voxel_size_angst=source.voxel_size or e.voxel_size_angst) for n, e in known.items()}


def open_particles(source: Source) -> Pool:
    """Open a particle list with its tomograms; protein is dark by default."""
    source = resolve(source)
    table, entries = read_particle_list(source)
    box = source.box
    files: dict[str, Path] = {}
    tomograms: dict[str, TomogramEntry] = {}
    needed = table.unit == "angst" or bool(table.voxel_size_angst)
    for name in dict.fromkeys(table.tomogram_N.tolist()):
        files[name], tomograms[name] = measure_tomogram(name, entries.get(name), source, needed=needed)
        if min(tomograms[name].size_xyz) < box:
            size = "×".join(f"{s:g}" for s in tomograms[name].size_xyz)
            raise TomoTutorError(f"{files[name]}: the tomogram has {size} voxels, less than the box of {box}; choose a smaller --box")
    voxels = in_frame(table, "voxel", "corner", tomograms)
    start_N3 = box_start(voxels.xyz_N3[:, ::-1], box)
    size_N3 = np.zeros((len(table), 3))
    for name, rows in table.groups():
        size_N3[rows] = tomograms[name].size_xyz[::-1]
    outside = int((((start_N3 + box // 2) < 0) | (start_N3 + box // 2 >= size_N3)).any(1).sum())
    if outside and table.assumed:
        raise TomoTutorError(
            f"{source.path}: {outside} of its {len(table)} particles lie outside their tomograms; {table.assumed}: "
            "give what one pixel measures, in Å, with --coordinate-pixel-size"
        )

    @cache
    def volume(name: str) -> np.ndarray:
        return open_mrc(files[name]).data

    def cut(row: int) -> Cut:
        return cut_box(volume(table.tomogram_N[row]), start_N3[row], box)

    padded_N = np.any((start_N3 < 0) | (start_N3 + box > size_N3), axis=1)
    return Pool(
        table.ids, (1, box, box, box), cut, source.protein or "dark", padded_N=padded_N,
        group_N=table.tomogram_N, voxel_size_angst=voxels.voxel_size_angst,
        tilt_range_N2=np.zeros((0, 2)) if table.tilt_range_N2 is None else table.tilt_range_N2,
    )  # fmt: skip
