"""compute.json: how to compute, as it was measured on each machine that a session was opened on."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
from collections.abc import Callable
from pathlib import Path

import torch

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.learn.compute import Compute

log = logging.getLogger(__name__)


def machine_key(model: str) -> str:
    """Return what a choice depends on: host, processor, torch version, GPU, model."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return "|".join((platform.node(), platform.processor() or platform.machine(), torch.__version__, gpu, model))


def remembered(path: Path, key: str, measure: Callable[[], Compute]) -> Compute:
    """Return the choice stored under `key` in the JSON file `path`, or measure it and store it.

    What is damaged in the file is measured anew; where the file cannot be written, the next time measures again.
    """
    found = _read(path).get(key)
    if found is not None:
        return found
    choice = measure()
    known = {**_read(path), key: choice}
    try:
        with new_file(path) as partial:
            partial.write_text(json.dumps({k: dataclasses.asdict(v) for k, v in known.items()}, indent=1) + "\n")
    except TomoTutorError as problem:
        log.warning("%s; how to compute is measured again next time", problem)
    return choice


def _read(path: Path) -> dict[str, Compute]:
    """Return the choices in a file, without those that are none."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    kinds = {name: type(value) for name, value in dataclasses.asdict(Compute()).items()}
    return {
        key: Compute(**value)
        for key, value in (known.items() if isinstance(known, dict) else ())
        if isinstance(value, dict)
        and {name: type(part) for name, part in value.items()} == kinds
        and value["precision"] in ("float32", "bfloat16")
        and value["threads"] > 0
    }
