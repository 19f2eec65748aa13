"""File > Open: particle lists as Points, volumes and stacks of subtomograms as Image, a session folder in the dock.

Layers lie in voxels with the voxel size (Å) as their scale, so a list lies on its tomogram.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari import current_viewer

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source
from tomotutor.data.sources.tomogram import Particles, known_tomograms, measure_tomogram, read_particle_list
from tomotutor.formats.particles.table import ParticleTable, in_frame
from tomotutor.formats.volumes.volume import open_volume
from tomotutor.gui.dock import dock_in

LayerData = tuple[Any, dict[str, Any], str]
LIST_ENDINGS = (".star", ".tbl", ".mod")
_SAMPLE = 64**3  # voxels that contrast limits are taken from


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return what reads a file or a session folder, None for several at once and for other folders."""
    if not isinstance(path, str):
        return None
    if Path(path).is_dir():
        return open_session if (Path(path) / "labels.sqlite").is_file() else None
    ending = Path(path).suffix.lower()
    return read_particles if ending in LIST_ENDINGS else read_em if ending == ".em" else read_volume


def open_session(path: str) -> list[Any]:
    """Open a session in the dock of the viewer in use; it adds no layers of its own to the list of what was read."""
    viewer = current_viewer()
    if viewer is None:
        raise TomoTutorError(f"{path}: a session opens in a window of napari, and there is none")
    dock_in(viewer).open(path)
    return [(None,)]


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
