"""napari's own doors: particle lists as Points, volumes and stacks of subtomograms as Image, both ways.

Layers lie in voxels with the voxel size (Å) as their scale, so a list lies on its tomogram.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.data.sources import Source
from tomotutor.data.sources.tomogram import Particles, known_tomograms, measure_tomogram, read_particle_list
from tomotutor.formats.particles.lists import format_for, write_list
from tomotutor.formats.particles.table import ParticleTable, TomogramEntry, in_frame
from tomotutor.formats.volumes.volume import open_volume

LayerData = tuple[Any, dict[str, Any], str]
LIST_ENDINGS = (".star", ".tbl", ".mod")
_SAMPLE = 64**3  # voxels that contrast limits are taken from


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return what reads a file, None for several at once."""
    if not isinstance(path, str):
        return None
    ending = Path(path).suffix.lower()
    return read_particles if ending in LIST_ENDINGS else read_em if ending == ".em" else read_volume


def read_em(path: str) -> list[LayerData]:
    """Read an EM file: a motive list if it has 20 rows a particle, else a volume."""
    with contextlib.suppress(TomoTutorError):
        return read_particles(path)
    return read_volume(path)


def read_particles(path: str) -> list[LayerData]:
    """Return a Points layer for each tomogram of a particle list, coloured by class; only the first is visible, as they
    lie on each other.

    Sizes come from a tomograms.star in the folder of the list or above it, or from the tomograms themselves, where they
    are found as `tomotutor new` finds them. Without either, coordinates that count from the centre stay so, in Å.
    """
    particles = _read_with_set(Path(path).resolve())
    table, tomograms = particles.table, known_tomograms(particles)
    for name in tomograms:
        with contextlib.suppress(TomoTutorError):  # a list can be looked at without its tomograms
            tomograms[name] = measure_tomogram(name, particles.entries.get(name), particles.source, needed=False)[1]
    layers: list[LayerData] = []
    for name, rows in table.groups():
        part, tomogram = table.take(rows), tomograms[name]
        try:
            placed = in_frame(part, "voxel", "corner", {name: tomogram})
            title = name
        except TomoTutorError:
            placed, title = part, f"{name} (Å from the {part.origin})"
        scale = (placed.voxel_size_angst or 1.0) if placed.unit == "voxel" else 1.0
        features: dict[str, np.ndarray] = {"row": rows + 1, "tomogram": part.tomogram_N.astype(str)}
        if part.class_N is not None:
            features["class"] = np.array([_class_name(part, n) for n in part.class_N.tolist()])
        if part.score_N is not None:
            features["score"] = part.score_N
        if part.angles_deg_N3 is not None:
            features |= dict(zip(("rot", "tilt", "psi"), part.angles_deg_N3.T, strict=True))
        layers.append(
            (
                placed.xyz_N3[:, ::-1],
                {
                    "name": title,
                    "features": features,
                    "scale": (scale,) * 3,
                    "size": 10.0,
                    "opacity": 0.6,
                    "visible": not layers,
                    "face_color": "class" if "class" in features else "orange",
                    "metadata": {
                        "tomotutor": {
                            "unit": placed.unit,
                            "origin": placed.origin,
                            "voxel_size": placed.voxel_size_angst,
                            "size_xyz": tomogram.size_xyz,
                        }
                    },
                },
                "points",
            )
        )
    return layers


def _read_with_set(path: Path) -> Particles:
    found = next(
        (f / "tomograms.star" for f in (path.parent, *path.parents[1:3]) if (f / "tomograms.star").is_file()), None
    )
    source = Source("particles", str(path), str(found) if found else "", str(path.parent))
    if found:
        with contextlib.suppress(TomoTutorError):  # it is of other tomograms
            return read_particle_list(source)
    return read_particle_list(source.replace(tomograms=""))


def _class_name(table: ParticleTable, number: int) -> str:
    return table.class_names[number - 1] if 1 <= number <= len(table.class_names) else f"class {number}"


def read_volume(path: str) -> list[LayerData]:
    """Return a tomogram, a stack of subtomograms (one slider more) or of images as an Image layer."""
    volume = open_volume(Path(path))
    data = volume.data
    scale = (volume.voxel_size_angst or 1.0,) * 3
    step = max(1, round((np.prod(data.shape) / _SAMPLE) ** (1 / data.ndim)))
    sample = np.asarray(data[(slice(None, None, step),) * data.ndim], np.float32)
    low, high = np.percentile(sample, (0.5, 99.5)).tolist()
    options: dict[str, Any] = {
        "name": Path(path).name,
        "contrast_limits": (low, max(high, low + 1e-6)),
        "colormap": "gray",
    }
    options["scale"] = (1.0, *scale) if data.ndim == 4 else scale
    return [(data, options, "image")]


def write_points(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Points layer as a particle list, by the file's ending; `class`, `score`, `tomogram` and angles come from
    its features.
    """
    target = Path(path)
    kind = format_for(target)
    zyx_N3 = np.asarray(data, np.float64)
    if zyx_N3.ndim != 2 or zyx_N3.shape[1] != 3:
        raise TomoTutorError(f"{target}: the layer's points have {zyx_N3.shape[-1]} coordinates; expected z, y, x")
    features = {name: np.asarray(values) for name, values in dict(meta.get("features", {})).items()}
    known = meta.get("metadata", {}).get("tomotutor", {})
    scale = float(np.asarray(meta.get("scale", 1.0)).ravel()[-1])
    voxel = known.get("voxel_size", scale if scale != 1 else 0.0)
    tomogram_N = np.array(features.get("tomogram", np.full(len(zyx_N3), meta.get("name", "tomogram"))), dtype=object)
    names = sorted(set(map(str, features["class"].tolist()))) if "class" in features else []
    numbers = (
        {name: int(name.removeprefix("class ")) for name in names} if all(_is_numbered(n) for n in names) else None
    )
    numbers = numbers or {name: n for n, name in enumerate(names, start=1)}
    angles = [features[name] for name in ("rot", "tilt", "psi") if name in features]
    table = ParticleTable(
        target,
        tomogram_N,
        zyx_N3[:, ::-1],
        known.get("unit", "voxel"),
        known.get("origin", "corner"),
        voxel,
        angles_deg_N3=np.stack(angles, 1).astype(np.float64) if len(angles) == 3 else None,
        class_N=np.array([numbers[str(n)] for n in features["class"].tolist()]) if names else None,
        class_names=() if all(_is_numbered(n) for n in names) else tuple(names),
        score_N=features["score"].astype(np.float64) if "score" in features else None,
    )
    size = tuple(known.get("size_xyz", (0.0, 0.0, 0.0)))
    tomograms = {name: TomogramEntry(name, voxel_size_angst=voxel, size_xyz=size) for name in set(tomogram_N.tolist())}
    write_list(table, target, kind, tomograms)
    return [path]


def _is_numbered(name: str) -> bool:
    return name.removeprefix("class ").isdigit() and int(name.removeprefix("class ")) > 0


def write_volume(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an Image layer as MRC: a volume, or a stack of volumes if it has four axes; its scale becomes the voxel
    size.
    """
    values = np.asarray(data)
    if values.ndim not in (3, 4):
        raise TomoTutorError(
            f"{path}: the layer has {values.ndim} axes; expected a volume (3) or a stack of volumes (4)"
        )
    if values.dtype not in (np.int8, np.int16, np.uint16, np.float16, np.float32):
        values = values.astype(np.float32)
    with new_file(Path(path)) as partial, mrcfile.new(partial, values, overwrite=True) as mrc:
        mrc.voxel_size = float(np.asarray(meta.get("scale", 1.0)).ravel()[-1])
        if values.ndim == 3:
            mrc.set_volume()
    return [path]
