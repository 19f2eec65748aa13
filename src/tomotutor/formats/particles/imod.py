"""IMOD point models (.mod), one a tomogram: a file, or a folder of them; the tomogram is called as its file.

Every point is a particle, whatever its contour. IMOD has the centre of voxel (i, j, k) at (i + 0.5, j + 0.5, k), so
position = (x - 0.5, y - 0.5, z) in voxels. Objects called "class N" (as written here), or several objects, give
classes. The format: IMOD's binspec; all numbers are big-endian.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.base.files import new_file
from tomotutor.formats.particles.table import UNTOLD, Column, Extra, ParticleTable, Reading

_ID = b"IMODV1.2"
_MODEL, _OBJECT, _CONTOUR, _MESH = 232, 176, 16, 16  # bytes of the headers behind their four letters
_TO_ANGST = {0: 0.0, 3: 1e13, 1: 1e10, -2: 1e8, -3: 1e7, -6: 1e4, -9: 10.0, -10: 1.0, -12: 0.01}  # IMOD's units
_HALF = np.array([0.5, 0.5, 0.0])
_COLOURS = ((0, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (0.3, 0.3, 1), (1, 0.6, 0.2), (0.8, 0.8, 0.8))


@dataclass(frozen=True)
class _Model:
    head: bytes
    names: tuple[str, ...]
    points: tuple[np.ndarray, ...]  # of each object
    tail: bytes


def models_in(path: Path) -> list[Path]:
    """Return the models of a list: the file itself, or those of a folder."""
    return sorted(p for p in path.glob("*.mod") if p.is_file()) if path.is_dir() else [path]


def read_imod(path: Path, reading: Reading = UNTOLD) -> ParticleTable:
    """Read a model, or a folder of models.

    Raises
    ------
    TomoTutorError
        No model, cut short, or without points.
    """
    names, points, classes, titles, voxels = [], [], [], {}, set()
    for file in models_in(path):
        model = _read(file)
        several = len(model.names) > 1
        voxels.add(_voxel_size(model.head))
        for number, (title, xyz) in enumerate(zip(model.names, model.points, strict=True), start=1):
            named = re.match(r"class (\d{1,6})(?: (.*))?$", title)
            number = int(named[1]) if named else number if several else 0
            if named and named[2]:
                titles[number] = named[2]
            points.append(xyz)
            classes.append(np.full(len(xyz), number))
        names += [file.stem] * sum(len(xyz) for xyz in model.points)
    if not names:
        raise TomoTutorError(
            f"{path}: found no points in {'any .mod file of the folder' if path.is_dir() else 'the model'}; expected "
            "one a particle"
        )
    class_N = np.concatenate(classes)
    last = int(class_N.max())
    return ParticleTable(
        path,
        np.array(names, dtype=object),
        np.concatenate(points).astype(np.float64) - _HALF,
        "voxel",
        "corner",
        reading.coordinate_pixel_size or (voxels.pop() if len(voxels) == 1 else 0.0),
        class_N=class_N if last else None,
        class_names=tuple(titles[n] for n in range(1, last + 1)) if sorted(titles) == list(range(1, last + 1)) else (),
        other=("contours", "point sizes", "meshes"),
    )


def _voxel_size(head: bytes) -> float:
    """Return the voxel size in Å; 0 where the header has none, or the 1.0 that programs write for want of a better."""
    size, unit = struct.unpack_from(">fi", head, len(_ID) + 208)
    angst = size * _TO_ANGST.get(unit, 0.0)
    return float(angst) if size != 1.0 and 0.01 < angst < 1e4 else 0.0


def _read(path: Path) -> _Model:
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise unreadable(path, problem, "an IMOD model") from None
    if raw[: len(_ID)] != _ID:
        raise TomoTutorError(
            f"{path}: it begins with {raw[:8]!r}; expected an IMOD model in binary form ({_ID.decode()})"
        )
    at = first = len(_ID) + _MODEL
    names: list[str] = []
    points: list[list[np.ndarray]] = []
    tail = first
    while True:
        kind, at = raw[at : at + 4], at + 4
        if kind == b"IEOF":
            break
        header = {b"OBJT": _OBJECT, b"CONT": _CONTOUR, b"MESH": _MESH}.get(kind, 4)
        if len(kind) < 4 or at + header > len(raw):
            raise TomoTutorError(f"{path}: the model is cut short at byte {len(raw)}; copy it again")
        count = 0
        if kind == b"OBJT":
            names.append(raw[at : at + 64].split(b"\0")[0].decode("utf-8", "replace").strip())
            points.append([])
        elif kind == b"CONT":
            count = struct.unpack_from(">i", raw, at)[0] * 12
        elif kind == b"MESH":
            vertices, indices = struct.unpack_from(">2i", raw, at)
            count = vertices * 12 + indices * 4 if min(vertices, indices) >= 0 else -1
        else:
            count = struct.unpack_from(">i", raw, at)[0]
        if count < 0 or at + header + count > len(raw) or (kind in (b"CONT", b"MESH") and not names):
            raise TomoTutorError(f"{path}: its part {kind!r} at byte {at - 4} is damaged or cut short; copy it again")
        if kind == b"CONT":
            points[-1].append(np.frombuffer(raw, ">f4", count // 4, at + header).reshape(-1, 3))
        at += header + count
        if kind in (b"OBJT", b"CONT", b"MESH"):
            tail = at
    joined = tuple(np.concatenate(p) if p else np.zeros((0, 3), ">f4") for p in points)
    return _Model(raw[:first], tuple(names), joined, _after_objects(raw, tail))


def _after_objects(raw: bytes, at: int) -> bytes:
    """Return what follows the last object's own parts: the model's views, its MINX and so on."""
    while at + 8 <= len(raw) and raw[at : at + 4] in (
        b"IMAT",
        b"SIZE",
        b"LABL",
        b"OLBL",
        b"CLIP",
        b"MEPA",
        b"OBST",
        b"COST",
        b"MEST",
    ):
        at += 8 + struct.unpack_from(">i", raw, at + 4)[0]
    return raw[at:]


def _model(points: list[tuple[str, np.ndarray]], head: bytes, tail: bytes) -> bytes:
    """Return a model: an object of scattered points for each name."""
    parts = [head[: len(_ID) + 140], struct.pack(">i", len(points)), head[len(_ID) + 144 :]]
    for number, (name, xyz) in enumerate(points):
        red, green, blue = _COLOURS[number % len(_COLOURS)]
        scattered = 1 << 9
        parts.append(b"OBJT" + name.encode()[:63].decode("utf-8", "ignore").encode().ljust(64, b"\0") + bytes(64))
        parts.append(
            struct.pack(
                ">iIii3fi8B2i", int(len(xyz) > 0), scattered, 0, 1, red, green, blue, 5, 1, 3, 1, 1, 0, 0, 0, 0, 0, 0
            )
        )
        if len(xyz):
            parts.append(b"CONT" + struct.pack(">4i", len(xyz), 0, 0, 0) + xyz.astype(">f4").tobytes())
    return b"".join(parts) + tail


def _new_head(voxel_size: float, high: np.ndarray) -> bytes:
    limits = [int(v) for v in np.clip(np.ceil(high) + 1, 1, 1 << 30)]
    model = struct.pack(
        ">128s4iI4i6f5ifii3f",
        b"TomoTutor",
        *limits,
        0,
        0xD000,
        1,
        1,
        0,
        255,
        0,
        0,
        0,
        1,
        1,
        1,
        0,
        -1,
        -1,
        3,
        128,
        voxel_size or 1.0,
        -10 if voxel_size else 0,
        0,
        0,
        0,
        0,
    )
    return _ID + model


def _objects(xyz: np.ndarray, class_N: np.ndarray | None, class_names: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    """Return an object for each class that has points, or one for all."""
    if class_N is None:
        return [("particles", xyz)]
    titles = {n: f" {class_names[n - 1]}" if 0 < n <= len(class_names) else "" for n in set(class_N.tolist())}
    return [(f"class {n}{titles[n]}", xyz[class_N == n]) for n in sorted(titles)]


def write_imod(table: ParticleTable, path: Path) -> None:
    """Write a model for each tomogram: into the file `path`, or all into the folder `path`. Corner voxels.

    Raises
    ------
    TomoTutorError
        A tomogram's name cannot be a file name, or there are several tomograms and `path` ends in .mod.
    """
    groups = list(table.groups())
    for name, _ in groups:
        if re.search(r"[/\\\0]", name) or name.startswith("."):
            raise TomoTutorError(f"{path}: the tomogram name {name!r} cannot be a file name, as IMOD models need")
    if table.class_N is not None and table.class_N.min() < 0:
        raise TomoTutorError(
            f"{path}: a particle has the class {table.class_N.min()}; IMOD objects stand for classes from 0"
        )

    def content(rows: np.ndarray) -> bytes:
        xyz = table.xyz_N3[rows] + _HALF
        classes = None if table.class_N is None else table.class_N[rows]
        return _model(_objects(xyz, classes, table.class_names), _new_head(table.voxel_size_angst, xyz.max(0)), b"IEOF")

    if path.suffix.lower() == ".mod":
        if len(groups) > 1:
            raise TomoTutorError(
                f"{path}: a model holds one tomogram, this list has {len(groups)}; name a folder, with --format imod"
            )
        with new_file(path) as partial:
            partial.write_bytes(content(groups[0][1]))
        return
    for name, rows in groups:
        with new_file(path / f"{name}.mod") as partial:
            partial.write_bytes(content(rows))


def rewrite_imod(
    source: Path,
    target: Path,
    class_N: Column = None,
    rows: Column = None,
    extra: Extra = None,
    class_names: tuple[str, ...] = (),
) -> None:
    """Write models again with an object for each class: points bit for bit and the model's own settings; contours and
    colours are new.
    """
    files = models_in(source)
    keep_N = None if rows is None else set(rows.tolist())
    first = 0
    contents = {}
    for file in files:
        model = _read(file)
        xyz = np.concatenate([np.zeros((0, 3), ">f4"), *model.points])
        own = np.arange(first, first + len(xyz))
        kept = np.array([keep_N is None or row in keep_N for row in own.tolist()], bool)
        first += len(xyz)
        if class_N is None and rows is None:
            contents[file.name] = file.read_bytes()
        elif kept.any():
            objects = _objects(xyz[kept], None if class_N is None else class_N[own[kept]], class_names)
            contents[file.name] = _model(objects, model.head, model.tail)
    if not source.is_dir():
        with new_file(target) as partial:
            partial.write_bytes(contents[source.name])
        return
    for name, content in contents.items():
        with new_file(target / name) as partial:
            partial.write_bytes(content)
