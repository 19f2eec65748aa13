"""Densities on disk: a long pretraining that goes on need not make them again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tomotutor.base.files import new_file
from tomotutor.simulate.varied import Library

_RECORD = "library"  # the name of the JSON in the file's header


def write_library(path: Path, library: Library, made_of: Mapping[str, Any]) -> None:
    """Write densities as one safetensors file.

    Parameters
    ----------
    path : Path
        The file; the old one stays until the new one is on disk.
    library : Library
        The densities.
    made_of : mapping
        All that they follow from, as plain values.

    Raises
    ------
    TomoTutorError
        The disk is full.
    """
    tensors = {f"fine.{k}.{rung}": fine.contiguous() for (k, rung), fine in library.fine_KL.items()}
    for (k, rung), hull in library.hull_KL.items():
        tensors[f"hull.{k}.{rung}"] = torch.from_numpy(np.ascontiguousarray(hull))
    tensors["diameter"] = torch.from_numpy(library.diameter_K)
    record = json.dumps({"names": library.names, "made_of": made_of})
    with new_file(path) as partial:
        partial.write_bytes(save(tensors, {_RECORD: record}))


def read_library(path: Path, made_of: Mapping[str, Any]) -> Library | None:
    """Read densities; None where there is no file, or one that is damaged or made of something else.

    Parameters
    ----------
    path : Path
        The file.
    made_of : mapping
        What the densities have to be made of.
    """
    fine: dict[tuple[int, int], torch.Tensor] = {}
    hull: dict[tuple[int, int], np.ndarray] = {}
    try:
        with safe_open(path, "pt") as opened:
            record = json.loads(opened.metadata()[_RECORD])
            if record["made_of"] != json.loads(json.dumps(made_of)):
                return None
            for name in list(opened.keys()):
                what, *numbers = name.split(".")
                key = tuple(int(number) for number in numbers)
                if what == "fine":
                    fine[key[0], key[1]] = opened.get_tensor(name)
                elif what == "hull":
                    hull[key[0], key[1]] = opened.get_tensor(name).numpy()
            # in the order in which they were made
            fine, hull = {key: fine[key] for key in sorted(fine)}, {key: hull[key] for key in sorted(hull)}
            return Library(tuple(record["names"]), fine, hull, opened.get_tensor("diameter").numpy())
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError):
        return None
