"""Zarr arrays and OME-Zarr pyramids, of Zarr format 2 and 3, through the package zarr (extra `zarr`).

Metadata are read and checked here first: decoders are taken from a list of harmless ones (Zarr 2 files can ask for
pickle), types are plain numbers, and no path in a file may leave its folder. Source: the Zarr 2 and 3 and the OME-NGFF
0.1-0.5 specifications.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.formats.volumes.voxels import LazyArray, Volume, check_chunk, size_text

log = logging.getLogger(__name__)

_MAX_METADATA = 64 * 2**20
_CODECS = {
    "blosc",
    "zstd",
    "zlib",
    "gzip",
    "bz2",
    "lz4",
    "lzma",
    "shuffle",
    "delta",
    "fixedscaleoffset",
    "quantize",
    "bitround",
    "crc32",
    "crc32c",
    "adler32",
    "fletcher32",
    "packbits",
    "bytes",
    "endian",
    "transpose",
    "sharding_indexed",
}
_TYPES = {"bool", *(f"{k}{b}" for k in ("int", "uint") for b in (8, 16, 32, 64)), "float16", "float32", "float64"}
_ANGST = {
    "angstrom": 1.0,
    "ångström": 1.0,
    "a": 1.0,
    "å": 1.0,
    "nanometer": 10.0,
    "nm": 10.0,
    "micrometer": 1e4,
    "um": 1e4,
    "µm": 1e4,
    "picometer": 0.01,
    "pm": 0.01,
    "millimeter": 1e7,
    "mm": 1e7,
    "meter": 1e10,
    "m": 1e10,
}


def open_zarr(path: Path, key: str = "", near_angst: float = 0.0) -> Volume:
    """Open the array called `key`, the fitting level of an OME-Zarr pyramid, or the only array with 3 or 4 axes.

    Of a pyramid, the coarsest level is taken whose voxels are not coarser than `near_angst` (to 1 %); the finest where
    that is 0 or smaller than all. OME's axes are brought to [z, y, x], and its scales, in Å, nm or µm, become the voxel
    size.

    Raises
    ------
    TomoTutorError
        Missing or damaged, no such array or several, no real numbers, or a path that leaves the folder.
    """
    try:
        import zarr
    except ImportError:
        raise TomoTutorError(
            f"{path}: to read Zarr the package zarr is needed; install it with: pip install 'tomotutor[zarr]'"
        ) from None
    try:
        name, axes, voxel = _choose(path, key, near_angst)
        folder = _inside(path, name)
        node = _metadata(folder, path)
        _check_array(folder, node)
        if "data_type" in node and zarr.__version__.startswith("2."):
            raise TomoTutorError(
                f"{path}: Zarr format 3, which zarr {zarr.__version__} does not read; install zarr 3 (copick's extra "
                "excludes it)"
            )
        array = zarr.open_array(_store(zarr, folder, path), mode="r")
        if list(array.shape) != node["shape"]:
            raise ValueError("its metadata contradict each other")
    except TomoTutorError:
        raise
    except Exception as problem:  # damaged metadata make zarr and the lines above raise all kinds of errors
        raise unreadable(path, problem, "Zarr data") from None
    axes = axes or tuple(range(array.ndim))
    if max(axes) >= array.ndim or any(size != 1 for axis, size in enumerate(array.shape) if axis not in axes):
        raise TomoTutorError(
            f"{folder}: its size is {'×'.join(map(str, array.shape))}; expected one channel and one time point besides "
            "z, y and x"
        )
    return Volume(LazyArray(array, path, axes), voxel, is_volume_stack=len(axes) == 4)


def _store(zarr: Any, folder: Path, root: Path) -> Any:
    """Return a store of the package zarr for the array in `folder` that follows no link out of `root`."""
    if zarr.__version__.startswith("2."):

        class Inside2(zarr.DirectoryStore):
            def _fromfile(self, fn: str) -> Any:
                _check_link(Path(fn), root)
                return super()._fromfile(fn)

        return Inside2(str(folder))

    class Inside(zarr.storage.LocalStore):
        def get_sync(self, key: str, **how: Any) -> Any:
            _check_link(folder / key, root)
            return super().get_sync(key, **how)

        async def get(self, key: str, *args: Any, **how: Any) -> Any:
            _check_link(folder / key, root)
            return await super().get(key, *args, **how)

        async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
            asked = list(key_ranges)
            for key, _ in asked:
                _check_link(folder / key, root)
            return await super().get_partial_values(prototype, asked)

    return Inside(folder, read_only=True)


def _check_link(path: Path, root: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise TomoTutorError(
            f"{root}: its part {path.relative_to(root)} is a link that leaves the folder, which is not followed; put "
            "the data there"
        )


def _json(path: Path, root: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    _check_link(path, root)
    if path.stat().st_size > _MAX_METADATA:
        raise TomoTutorError(f"{path}: metadata of {path.stat().st_size} bytes; expected a few thousand")
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise TypeError(f"{path.name} is no JSON object")
    return found


def _metadata(folder: Path, root: Path) -> dict[str, Any]:
    """Return the metadata of an array or group: zarr.json of format 3, or .zarray of format 2 ({} for a group of format
    2).
    """
    return _json(folder / "zarr.json", root) or _json(folder / ".zarray", root)


def _attributes(folder: Path, root: Path) -> dict[str, Any]:
    found = _json(folder / "zarr.json", root).get("attributes") or _json(folder / ".zattrs", root)
    return {**found, **found.get("ome", {})}  # OME-Zarr 0.5 has its own under "ome"


def _inside(path: Path, name: str) -> Path:
    """Return the folder of a part of a Zarr folder, by a path that stays in it, links included."""
    parts = PurePosixPath(name)
    folder = path / parts
    if (
        parts.is_absolute()
        or ".." in parts.parts
        or "\\" in name
        or not folder.resolve().is_relative_to(path.resolve())
    ):
        raise TomoTutorError(f"{path}: the path {name!r} in its metadata leaves the folder; expected a path below it")
    return folder


def _is_array(node: dict[str, Any]) -> bool:
    return "shape" in node


def _choose(path: Path, key: str, near_angst: float) -> tuple[str, tuple[int, ...], float]:
    """Return name, axes ((): as they are) and voxel size of the array to open."""
    if _is_array(_metadata(path, path)):
        return "", (), 0.0
    attributes = _attributes(path, path)
    if key and _is_array(_metadata(_inside(path, key), path)):
        return key, (), 0.0
    if attributes.get("multiscales"):
        return _choose_level(attributes["multiscales"][0], near_angst)
    arrays = {}
    for folder in sorted(p for p in path.iterdir() if p.is_dir()):
        node = _metadata(folder, path)
        if len(node.get("shape", ())) in (3, 4):
            arrays[folder.name] = node["shape"]
    if len(arrays) == 1:
        return next(iter(arrays)), (), 0.0
    names = ", ".join(f"{name} ({size_text(tuple(shape))})" for name, shape in list(arrays.items())[:6]) or "none"
    raise TomoTutorError(
        f"{path}: arrays with 3 or 4 axes are {names}; expected one: say which holds the voxels with --key"
    )


def _choose_level(pyramid: dict[str, Any], near_angst: float) -> tuple[str, tuple[int, ...], float]:
    """Choose a level of an OME-Zarr pyramid; its scale is that of the level times that of the pyramid."""
    given = pyramid.get("axes") or list("tczyx")  # before 0.3 the axes were always these five
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in given]
    names = [str(axis["name"]).lower() for axis in axes]
    positions = tuple(names.index(name) for name in "zyx")
    units = [str(axes[position].get("unit", "")).lower() for position in positions]
    factors = [_ANGST.get(unit, 0.0) for unit in units]
    if not all(factors):
        log.warning(
            "OME-Zarr axes have the unit %r, not a length: its voxel size is not known", units[factors.index(0.0)]
        )
    common = _scale(pyramid, len(axes))
    levels = []
    for dataset in pyramid["datasets"]:
        zyx = [
            (common * _scale(dataset, len(axes)))[position] * factor
            for position, factor in zip(positions, factors, strict=True)
        ]
        levels.append((str(dataset["path"]), zyx))
    name, zyx = levels[0]
    for candidate, size in levels[1:]:
        if near_angst and 0 < size[2] <= near_angst * 1.01 and size[2] > zyx[2]:
            name, zyx = candidate, size
    if max(zyx) - min(zyx) > 1e-3 * max(zyx):
        log.warning("level %s: the voxel is not a cube (%.4f, %.4f, %.4f Å); x is used", name, *zyx[::-1])
    return name, positions, float(zyx[2])


def _scale(node: dict[str, Any], ndim: int) -> np.ndarray:
    for step in node.get("coordinateTransformations") or []:
        if step.get("type") == "scale":
            scale = np.array(step["scale"], np.float64)
            if scale.shape != (ndim,) or not np.isfinite(scale).all() or (scale <= 0).any():
                raise ValueError(f"a scale of {step['scale']} for {ndim} axes")
            return scale
    return np.ones(ndim)


def _check_array(folder: Path, node: dict[str, Any]) -> None:
    """Refuse types that are no plain numbers, decoders that are not on our list, and pieces too large to be read."""
    if not _is_array(node):
        raise TomoTutorError(f"{folder}: no Zarr array there; expected one with 3 or 4 axes")
    given = node.get("data_type", node.get("dtype"))
    if "data_type" in node:
        dtype = np.dtype(given) if given in _TYPES else None
    else:
        dtype = np.dtype(given) if isinstance(given, str) and given[:1] in "<>|" and given[1:2] in "biuf" else None
    if dtype is None or dtype.itemsize > 8:
        raise TomoTutorError(f"{folder}: its voxels are of the type {given}; expected real numbers")
    shape = node["shape"]
    if len(shape) > 8 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise TomoTutorError(f"{folder}: its size is {shape}; expected at least 1 on each axis")
    chunk = node.get("chunks") or node["chunk_grid"]["configuration"]["chunk_shape"]
    if len(chunk) != len(shape) or not all(isinstance(size, int) and size > 0 for size in chunk):
        raise TomoTutorError(
            f"{folder}: its chunks have the size {chunk}; expected one size for each of {len(shape)} axes"
        )
    check_chunk(folder, tuple(chunk), dtype)
    if node.get("storage_transformers"):
        raise TomoTutorError(f"{folder}: it has storage transformers, which are not read; write it again without")
    names = _codec_names([*(node.get("filters") or []), node.get("compressor"), *(node.get("codecs") or [])])
    unknown = [name for name in names if name.removeprefix("numcodecs.") not in _CODECS]
    if unknown:
        raise TomoTutorError(
            f"{folder}: it is compressed with {unknown[0]!r}, which is not read; expected blosc, zstd, gzip or lz4"
        )


def _codec_names(codecs: list[Any]) -> list[str]:
    names = []
    for codec in codecs:
        if codec is None:
            continue
        if isinstance(codec, str):
            names.append(codec)
            continue
        names.append(str(codec.get("id") or codec.get("name")))
        inner = codec.get("configuration") or {}
        names += _codec_names([*(inner.get("codecs") or []), *(inner.get("index_codecs") or [])])
    return names
