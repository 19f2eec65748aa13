"""File > Save: Points as particle lists, Image layers as MRC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.formats.particles.lists import format_for, write_list
from tomotutor.formats.particles.table import ParticleTable, TomogramEntry


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
