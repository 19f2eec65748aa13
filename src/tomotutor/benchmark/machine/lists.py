"""Speed of particle lists and of cutting boxes, each against the obvious way in one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from tomotutor.data.sources import Source, open_pool
from tomotutor.formats.particles.lists import read_list, write_list
from tomotutor.formats.particles.table import ParticleTable


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _timed(name: str, function: Callable[[], object]) -> dict[str, float]:
    """Return seconds by the clock and of the processor, which others on the machine do not lengthen."""
    start = time.process_time()
    return {f"{name}_s": _seconds(function), f"{name}_cpu_s": time.process_time() - start}


def _table(rows: int, size_xyz: np.ndarray, tomograms: int) -> ParticleTable:
    rng = np.random.default_rng(0)
    names = np.array([f"tomo_{i * tomograms // rows:03d}" for i in range(rows)], dtype=object)
    xyz = (rng.uniform(0.1, 0.9, (rows, 3)) - 0.5) * size_xyz * 10
    return ParticleTable(
        Path("made"), names, xyz, angles_deg_N3=rng.uniform(-180, 180, (rows, 3)), class_N=rng.integers(1, 9, rows)
    )


def _star(folder: Path, rows: int) -> dict[str, Any]:
    table = _table(rows, np.array([400, 400, 100]), 100)
    path = folder / "p.star"
    figures: dict[str, Any] = {"list_rows": rows, **_timed("write", lambda: write_list(table, path, "relion", {}))}
    figures |= _timed("read", lambda: read_list(path))
    try:
        import starfile
    except ImportError:
        return figures
    frames: list[Any] = []
    figures |= _timed("starfile_read", lambda: frames.append(starfile.read(path)))
    return figures | _timed("starfile_write", lambda: starfile.write({"particles": frames[0]}, folder / "theirs.star"))


def _boxes(folder: Path, boxes: int, edge: int) -> dict[str, Any]:
    shape = (1000, 2000, 2000)
    with mrcfile.new_mmap(folder / "tomo_000.mrc", shape, mrc_mode=0) as mrc:  # a sparse file: it takes no room on disk
        mrc.voxel_size = 10.0
    write_list(_table(boxes, np.array(shape[::-1]), 1), folder / "b.star", "relion", {})
    pool = open_pool(Source("particles", str(folder / "b.star"), root=str(folder), box=edge, protein="bright"))
    volume = np.memmap(folder / "tomo_000.mrc", np.int8, "r", offset=1024, shape=shape)
    centre_N3 = np.round(read_list(folder / "b.star").xyz_N3[:, ::-1] / 10 + np.array(shape) / 2).astype(int)
    half = edge // 2

    def cut() -> None:
        for row in range(boxes):
            np.array(pool.cut(row).values_C, np.float32)

    def prepared() -> None:
        for start in range(0, boxes, 64):
            pool.read(np.arange(start, min(start + 64, boxes)))

    def naive() -> None:
        for z, y, x in centre_N3:
            np.array(volume[z - half : z + half, y - half : y + half, x - half : x + half], np.float32)

    cut()  # warm: the pages are in memory from here on
    seconds = {
        name: min(_seconds(function) for _ in range(3))
        for name, function in (("cut", cut), ("naive", naive), ("prepared", prepared))
    }
    return {
        "tomogram_gb": float(np.prod(shape) / 1e9),
        "boxes": boxes,
        "edge": edge,
        "cut_per_s": boxes / seconds["cut"],
        "naive_cut_per_s": boxes / seconds["naive"],
        "cut_and_normalised_per_s": boxes / seconds["prepared"],
    }


def lists(rows: int = 1_000_000, boxes: int = 4000, edge: int = 32) -> dict[str, Any]:
    """Read and write a long RELION list beside starfile; cut random boxes, warm, from a tomogram of 4 GB beside plain
    slicing.
    """
    with tempfile.TemporaryDirectory(dir=".") as name:  # /tmp may be memory
        folder = Path(name)
        return {**_star(folder, rows), **_boxes(folder, boxes, edge)}
