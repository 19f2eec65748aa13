"""File > Open Sample: the sample tomograms with their picks."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari import current_viewer

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.label_csv import read_labels
from tomotutor.formats.particles.relion import read_relion
from tomotutor.formats.particles.table import TomogramEntry, in_frame
from tomotutor.formats.volumes.mrc import open_mrc
from tomotutor.gui.dock import dock_in
from tomotutor.session.sample import sample_data

LayerData = tuple[Any, dict[str, Any], str]


def _layers(name: str) -> list[LayerData]:
    folder = sample_data()
    mrc = open_mrc(folder / "tomograms" / f"{name}.mrc")
    particles = read_relion(folder / "particles.star")
    label_of = {row.item: row.label for row in read_labels(folder / "truth.csv")}
    rows = np.flatnonzero(particles.tomogram_N == name)
    z, y, x = mrc.data.shape
    tomogram = TomogramEntry(name, voxel_size_angst=mrc.voxel_size_angst, size_xyz=(x, y, z))
    zyx_voxel = in_frame(particles.take(rows), "voxel", "corner", {name: tomogram}).xyz_N3[:, ::-1]
    classes = np.array([label_of[particles.ids[row]] for row in rows])
    picks: dict[str, Any] = {
        "name": f"{name} picks",
        "features": {"class": classes},
        "size": 12,
        "face_color": "class",
        "opacity": 0.5,
    }
    return [(np.asarray(mrc.data), {"name": name}, "image"), (zyx_voxel, picks, "points")]


def session() -> list[LayerData]:
    """Make a session on both sample tomograms, in a temporary folder, and open it in the viewer in use; no layers."""
    viewer = current_viewer()
    if viewer is None:
        raise TomoTutorError("the sample session opens in a window of napari, and there is none")
    dock_in(viewer).welcome.open_sample()
    return []


def tomogram_1() -> list[LayerData]:
    """Return the first sample tomogram and its picks, coloured by class."""
    return _layers("tomo_1")


def tomogram_2() -> list[LayerData]:
    """Return the second sample tomogram and its picks, coloured by class."""
    return _layers("tomo_2")
