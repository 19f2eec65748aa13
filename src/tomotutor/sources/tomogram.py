"""Tomograms with a RELION particle list: boxes cut lazily from volumes of any format."""

from __future__ import annotations

import logging
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from tomotutor.errors import TomoTutorError
from tomotutor.formats.relion import ParticleList, TomogramEntry, holds_tilt_stacks, read_particles, read_tomograms
from tomotutor.formats.volume import ENDINGS, is_volume
from tomotutor.formats.voxels import LazyArray, Volume, size_text
from tomotutor.fourier import low_pass_margin
from tomotutor.pool import Cut, ItemCache, Pool
from tomotutor.sources.base import Source, find_file, open_source_volume
from tomotutor.sources.boxes import cut_box, cut_resampled, leaves, low_pass_in_voxels, low_passed, sample_statistics

log = logging.getLogger(__name__)

_OPEN_FILES = 256  # tomograms kept open: systems often allow 1024 files


def centre_to_voxel(xyz_angst_N3: np.ndarray, size_xyz: np.ndarray, voxel_size_angst: float) -> np.ndarray:
    """Turn centred coordinates (Å, x first) into voxel indices (z first): size/2 + coordinate / voxel size, as RELION's C++ does.

    Voxel index i is the centre of voxel i, counted from 0, so a centred coordinate of 0 lies on voxel size/2.
    """
    return (np.asarray(size_xyz) / 2 + xyz_angst_N3 / voxel_size_angst)[:, ::-1]


def box_start(zyx_voxel_N3: np.ndarray, box: int) -> np.ndarray:
    """Return the first voxel of each box: the particle's nearest voxel lands on index box // 2, the centre of the box."""
    return np.floor(zyx_voxel_N3 + 0.5).astype(np.int64) - box // 2


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
    found = find_file(names, source)
    if found is None and source.tomogram_dir:
        folder = Path(source.tomogram_dir).resolve()
        plain = [parts.name, *(f"{name}{ending}" for ending in ENDINGS), f"rec_{name}.mrc"]
        found = next((folder / n for n in plain if is_volume(folder / n)), None)
        if found is not None and found.name.startswith("rec_") and found.name != parts.name:
            log.info("tomogram %s: taken from %s, by the rule that RELION puts rec_ before a name", name, found)
    if found is None:
        tried = f"{source.root}, its parent folders" + (f" and {source.tomogram_dir}" if source.tomogram_dir else "")
        raise TomoTutorError(f"tomogram {name}: no file {file} in {tried}; give its folder with --tomogram-dir")
    return found


def _voxel_size(name: str, volume: Volume, entry: TomogramEntry | None, source: Source) -> float:
    """Choose between override, header and tomogram set; the header wins unless it says nothing or the notorious 1.0."""
    stated = entry.voxel_size_angst if entry else 0.0
    header = volume.voxel_size_angst
    if source.voxel_size:
        return source.voxel_size
    if header <= 0 or (abs(header - 1.0) < 1e-3 and stated and abs(stated - 1.0) > 1e-3):
        if not stated:
            raise TomoTutorError(f"tomogram {name}: neither its header nor a tomogram set tells the voxel size; give --voxel-size")
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
    if not (source.tomograms or source.tomogram_dir) and holds_tilt_stacks(source.file):
        raise TomoTutorError(
            f"{source.path}: its images are 2D tilt stacks, a projection for each tilt and no volume to look at; "
            "give the tomograms to cut boxes from with --tomogram-dir"
        )
    particles = read_particles(source.file)
    files: dict[str, Path] = {}

    @lru_cache(maxsize=_OPEN_FILES)
    def volume(path: Path) -> Volume:
        return open_source_volume(path, source)

    zyx_N3 = np.zeros((len(particles), 3))
    padded_N = np.zeros(len(particles), bool)
    voxel_sizes: dict[str, float] = {}
    steps: dict[str, float] = {}
    chunked = False  # HDF5 and Zarr decompress whole chunks for each box
    for name, entry in _entries(particles, source).items():
        path = find_tomogram(name, entry, source)
        opened = volume(path)
        if opened.data.ndim != 3:
            raise TomoTutorError(f"{path}: found a stack of volumes; expected one tomogram")
        shape_zyx = opened.data.shape
        chunked = chunked or isinstance(opened.data, LazyArray)
        voxel = _voxel_size(name, opened, entry, source)
        step = source.step(voxel)
        if min(shape_zyx) < source.box * step:
            at = f" of {source.rescale:g} Å, {source.box * step:.0f} of its own" if step != 1 else ""
            raise TomoTutorError(
                f"{path}: the tomogram has {size_text(shape_zyx)} voxels, less than the box of {source.box}{at}; choose a smaller --box"
            )
        size_xyz = np.array(shape_zyx[::-1])
        if entry and all(entry.size_xyz) and np.abs(np.array(entry.size_xyz) - size_xyz).max() > 0.5:
            log.warning("tomogram %s: the set says %s voxels, its file has %s; the file's are used", name, entry.size_xyz, size_xyz)
        files[name], voxel_sizes[name], steps[name] = path, voxel, step
        rows = np.flatnonzero(particles.tomogram_N == name)
        zyx_N3[rows] = centre_to_voxel(particles.xyz_angst_N3[rows], size_xyz, voxel)
        # without rescaling a box is whole voxels about the nearest one
        centre = zyx_N3[rows] if step != 1 else np.floor(zyx_N3[rows] + 0.5)
        padded_N[rows] = leaves(centre, source.box, step, shape_zyx)
    sizes = sorted(set(voxel_sizes.values()))
    if sizes[-1] - sizes[0] > 1e-3 * sizes[0] and not source.rescale:
        a, b = min(voxel_sizes, key=voxel_sizes.__getitem__), max(voxel_sizes, key=voxel_sizes.__getitem__)
        raise TomoTutorError(
            f"{source.path}: its tomograms have different voxel sizes ({a}: {sizes[0]:.3f} Å, {b}: {sizes[-1]:.3f} Å); "
            "expected one: bring them to one with --rescale, or give the true one with --voxel-size"
        )
    voxel = source.rescale or sizes[0]
    step_N = np.array([steps[name] for name in particles.tomogram_N.tolist()])
    start_N3 = box_start(zyx_N3, source.box)

    @cache
    def statistics(name: str) -> tuple[float, float]:
        return sample_statistics(volume(files[name]).data)

    def cut(row: int, margin: int = 0) -> Cut:
        data, edge = volume(files[particles.tomogram_N[row]]).data, source.box + 2 * margin
        if step_N[row] == 1:
            return cut_box(data, start_N3[row] - margin, edge)
        return cut_resampled(data, zyx_N3[row], edge, float(step_N[row]))

    resolution = low_pass_in_voxels(source, voxel) if source.low_pass else 0.0
    margin = low_pass_margin(resolution)

    def filtered(row: int) -> Cut:
        return low_passed(cut(row, margin), margin, resolution)

    offset_N3 = np.where(step_N[:, None] == 1, zyx_N3 - (start_N3 + source.box // 2), 0.0)
    return Pool(
        particles.ids, (1, source.box, source.box, source.box), cut, source.protein or "dark",
        padded_N=padded_N, group_N=particles.tomogram_N, voxel_size_angst=voxel,
        prepared=filtered if source.low_pass else None,
        statistics=(lambda row: statistics(particles.tomogram_N[row])) if source.normalise == "tomogram" else None,
        cache=ItemCache() if source.low_pass or (step_N != 1).any() or chunked else None, offset_zyx_N3=offset_N3,
    )  # fmt: skip
