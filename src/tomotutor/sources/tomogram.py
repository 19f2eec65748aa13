"""Tomograms with a RELION particle list: boxes cut lazily from memory-mapped MRC files."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from tomotutor.errors import TomoTutorError
from tomotutor.formats.mrc import Mrc, open_mrc
from tomotutor.formats.relion import ParticleList, TomogramEntry, read_particles, read_tomograms
from tomotutor.pool import Cut, Pool
from tomotutor.sources.base import Source

log = logging.getLogger(__name__)


def centre_to_voxel(xyz_angst_N3: np.ndarray, size_xyz: np.ndarray, voxel_size_angst: float) -> np.ndarray:
    """Turn centred coordinates (Å, x first) into voxel indices (z first): size/2 + coordinate / voxel size, as RELION's C++ does.

    Voxel index i is the centre of voxel i, counted from 0, so a centred coordinate of 0 lies on voxel size/2.
    """
    return (np.asarray(size_xyz) / 2 + xyz_angst_N3 / voxel_size_angst)[:, ::-1]


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
            if (folder / name).is_file():
                return folder / name
    return None


def find_tomogram(name: str, entry: TomogramEntry | None, source: Source) -> Path:
    """Find the reconstruction of a tomogram.

    The path in the tomogram set is relative to the RELION project: it is tried in the list's folder, in each of its
    ancestors, then in `tomogram_dir` (there also by file name alone). A path may not leave the folder it is tried in.
    """
    file = entry.file if entry else f"{name}.mrc"
    parts = PurePosixPath(file)
    if ".." in parts.parts:
        raise TomoTutorError(
            f"{source.tomograms or source.path}: tomogram {name}: the path {file!r} leaves its folder; give the folder with --tomogram-dir"
        )
    names = [str(parts.relative_to("/"))] if parts.is_absolute() else [file]
    found = _search(names, source)
    if found is None and source.tomogram_dir:
        folder = Path(source.tomogram_dir).resolve()
        plain = [parts.name, f"{name}.mrc", f"{name}.rec", f"rec_{name}.mrc"]
        found = next((folder / n for n in plain if (folder / n).is_file()), None)
        if found is not None and found.name.startswith("rec_") and found.name != parts.name:
            log.info("tomogram %s: taken from %s, by the rule that RELION puts rec_ before a name", name, found)
    if found is None:
        tried = f"{source.root}, its parent folders" + (f" and {source.tomogram_dir}" if source.tomogram_dir else "")
        raise TomoTutorError(f"tomogram {name}: no file {file} in {tried}; give its folder with --tomogram-dir")
    return found


def _voxel_size(name: str, mrc: Mrc, entry: TomogramEntry | None, source: Source) -> float:
    """Choose between override, header and tomogram set; the header wins unless it says nothing or the notorious 1.0."""
    stated = entry.voxel_size_angst if entry else 0.0
    header = mrc.voxel_size_angst
    if source.voxel_size:
        return source.voxel_size
    if header <= 0 or (abs(header - 1.0) < 1e-3 and stated and abs(stated - 1.0) > 1e-3):
        if not stated:
            raise TomoTutorError(f"tomogram {name}: neither its MRC header nor a tomogram set tells the voxel size; give --voxel-size")
        log.warning("tomogram %s: the header's voxel size is %.3f Å; the tomogram set's %.3f Å is used", name, header, stated)
        return stated
    if stated and abs(stated - header) > 1e-3 * header:
        log.warning("tomogram %s: the tomogram set's voxel size is %.4f Å, the header's %.4f Å is used", name, stated, header)
    return header


def _entries(particles: ParticleList, source: Source) -> dict[str, TomogramEntry | None]:
    names = list(dict.fromkeys(particles.tomogram_N.tolist()))
    if not source.tomograms:
        return dict.fromkeys(names)
    known = read_tomograms(Path(source.tomograms))
    missing = [n for n in names if n not in known]
    if missing:
        raise TomoTutorError(
            f"{source.path}: {len(missing)} of its {len(names)} tomograms (first: {missing[0]!r}) are not in {source.tomograms}, "
            f"which has {', '.join(repr(n) for n in list(known)[:3])}{', …' if len(known) > 3 else ''}; names must match exactly"
        )
    return {n: known[n] for n in names}


def open_particles(source: Source) -> Pool:
    """Open a particle list with its tomograms; protein is dark by default."""
    particles = read_particles(source.file)
    files: dict[str, Path] = {}
    start_N3 = np.zeros((len(particles), 3), np.int64)
    padded_N = np.zeros(len(particles), bool)
    voxel_sizes: dict[str, float] = {}
    for name, entry in _entries(particles, source).items():
        path = find_tomogram(name, entry, source)
        mrc = open_mrc(path)
        if mrc.data.ndim != 3:
            raise TomoTutorError(f"{path}: found a stack of volumes; expected one tomogram")
        if min(mrc.data.shape) < source.box:
            size = "×".join(str(s) for s in mrc.data.shape[::-1])
            raise TomoTutorError(f"{path}: the tomogram has {size} voxels, less than the box of {source.box}; choose a smaller --box")
        voxel = _voxel_size(name, mrc, entry, source)
        size_xyz = np.array(mrc.data.shape[::-1])
        if entry and all(entry.size_xyz) and np.abs(np.array(entry.size_xyz) - size_xyz).max() > 0.5:
            log.warning("tomogram %s: the set says %s voxels, its file has %s; the file's are used", name, entry.size_xyz, size_xyz)
        files[name], voxel_sizes[name] = path, voxel
        rows = np.flatnonzero(particles.tomogram_N == name)
        start = box_start(centre_to_voxel(particles.xyz_angst_N3[rows], size_xyz, voxel), source.box)
        start_N3[rows] = start
        padded_N[rows] = ((start < 0) | (start + source.box > np.array(mrc.data.shape))).any(1)
    sizes = sorted(set(voxel_sizes.values()))
    if sizes[-1] - sizes[0] > 1e-3 * sizes[0]:
        a, b = min(voxel_sizes, key=voxel_sizes.__getitem__), max(voxel_sizes, key=voxel_sizes.__getitem__)
        raise TomoTutorError(
            f"{source.path}: its tomograms have different voxel sizes ({a}: {sizes[0]:.3f} Å, {b}: {sizes[-1]:.3f} Å); "
            "expected one: make one session for each, or give the true one with --voxel-size"
        )

    @cache
    def volume(name: str) -> np.ndarray:
        return open_mrc(files[name]).data

    def cut(row: int) -> Cut:
        return cut_box(volume(particles.tomogram_N[row]), start_N3[row], source.box)

    return Pool(
        particles.ids, (1, source.box, source.box, source.box), cut, source.protein or "dark",
        padded_N=padded_N, group_N=particles.tomogram_N, voxel_size_angst=sizes[0],
    )  # fmt: skip
