"""What is written beside simulated volumes: STAR files, the truth, and how they were made."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w

import tomotutor
from tomotutor.base.errors import TomoTutorError
from tomotutor.simulate.imaging import Imaging
from tomotutor.simulate.optics import AMPLITUDE, SPHERICAL_MM, VOLTAGE_KV


def check_new(folder: Path) -> None:
    """Refuse a folder that exists and holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TomoTutorError(f"{folder}: it exists already; choose another folder, or remove it first")


def star_text(blocks: dict[str, tuple[list[str], list[str]]]) -> str:
    """Return a STAR file of loops: block name → (columns without their rln, rows)."""
    lines = ["# version 50001", ""]
    for name, (columns, rows) in blocks.items():
        lines += [
            f"data_{name}",
            "",
            "loop_",
            *(f"_rln{column} #{i}" for i, column in enumerate(columns, 1)),
            *rows,
            "",
        ]
    return "\n".join(lines)


def optics_block(imaging: Imaging, **more: int) -> tuple[list[str], list[str]]:
    """Return columns and row of data_optics."""
    values = {
        "OpticsGroup": 1,
        "OpticsGroupName": "simulated",
        "Voltage": VOLTAGE_KV,
        "SphericalAberration": SPHERICAL_MM,
        "AmplitudeContrast": AMPLITUDE,
        "ImagePixelSize": imaging.voxel_size_angst,
        **more,
    }
    return list(values), [" ".join(str(v) for v in values.values())]


def write_truth(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write the truth as CSV."""
    with path.open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([columns, *rows])


def write_record(
    path: Path, settings: dict[str, Any], structures: list[dict[str, str]], diameters_angst: list[float]
) -> None:
    """Write every setting, what the classes were made of, and the versions that made them, as TOML.

    Parameters
    ----------
    path : Path
        File to write.
    settings : dict
        Tables by name: dataclasses, or plain dicts.
    structures : list of dict
        From `Structure.describe`, one a class.
    diameters_angst : list of float
        Of the classes.
    """
    tables = {
        k: dataclasses.asdict(v) if dataclasses.is_dataclass(v) and not isinstance(v, type) else v
        for k, v in settings.items()
    }
    versions = {
        "tomotutor": tomotutor.__version__,
        **{name: version(name) for name in ("torch", "numpy", "scipy", "gemmi")},
    }
    classes = [{**s, "diameter_angst": round(d, 1)} for s, d in zip(structures, diameters_angst, strict=True)]
    path.write_text(tomli_w.dumps({**tables, "versions": versions, "classes": classes}))
