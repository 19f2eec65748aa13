"""Weights of a ResNet that was trained on photographs, in a file that torchvision or timm named the tensors of, as the
start of a pair for images.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import TomoTutorError

if TYPE_CHECKING:
    from torch import Tensor

# blocks of each stage, and whether they have a third convolution -> our name
NETWORKS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
}
EXPECTED = "expected a .safetensors file with a ResNet-18, -34 or -50 as torchvision and timm name its tensors"


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
        A file that `image_card` accepts.
    channels : int
        Of the images; with one, the first layer sees it as red, green and blue at once.
    part : {"teacher", "student"}
        The student takes the first blocks of each stage, as many as it has.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from tomotutor.learn.models.pair import halved

    try:
        found = load_file(path)
    except (OSError, ValueError, struct.error, SafetensorError) as problem:
        raise TomoTutorError(f"{path}: cannot be read ({str(problem).splitlines()[0]}); {EXPECTED}") from None
    blocks = _blocks(found) if part == "teacher" else halved(_blocks(found))
    wanted = {f"layer{stage}.{block}" for stage, count in enumerate(blocks, 1) for block in range(count)}
    tensors = {
        _our_name(name): tensor
        for name, tensor in found.items()
        if not name.startswith("layer") or ".".join(name.split(".")[:2]) in wanted
    }
    if channels == 1:
        tensors["stem.0.weight"] = tensors["stem.0.weight"].sum(1, keepdim=True)
    if not all(tensor.half().isfinite().all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise TomoTutorError(f"{path}: holds numbers that are no finite 16-bit ones; {EXPECTED}")
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
