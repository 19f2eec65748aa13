"""What a session's networks start from: fresh weights, those that ship, or those of an earlier training.

A start is a folder: teacher.safetensors and student.safetensors in float16, and start.json, the card that says what
made them. A session keeps a copy of its start, so that it can be traced and moved. For images it may be one file of
weights from elsewhere (`tomotutor.learn.image_weights`).
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.image_weights import PACKAGES, image_card, image_tensors, packaged_card, packaged_file

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tomotutor.learn.models import Pair

SHIPPED = Path(__file__).parent / "shipped_weights"
CARD = "start.json"
FOLDER = "start"  # of a session
PARTS = ("teacher", "student")


def write_start(folder: Path, networks: Mapping[str, nn.Module], card: Mapping[str, Any]) -> None:
    """Write networks and their card into a folder; weights in float16, which halves them and changes no answer that
    matters.
    """
    for name, net in networks.items():
        _write_part(folder, name, net.state_dict())
    _write_card(folder, card)


def _write_part(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    import torch
    from safetensors.torch import save

    whole = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    half = {k: v.to(torch.float16) if v.is_floating_point() else v for k, v in whole.items()}
    (folder / f"{name}.safetensors").write_bytes(save(half))  # save_file would let nobody else read it


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a start.

    Raises
    ------
    TomoTutorError
        The folder is none, or its card is damaged.
    """
    path = folder / CARD
    try:
        card = json.loads(path.read_text())
        return {**card, "teacher": str(card["teacher"]), "width": float(card["width"])}
    except FileNotFoundError:
        raise TomoTutorError(
            f"{folder}: found no {CARD}; expected a folder that 'tomotutor pretrain' made, or a session"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as problem:
        raise TomoTutorError(f"{path}: damaged ({problem}); expected the card of pretrained weights") from None


def find_start(name: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder (or, of images, the file) of weights that `name` means, and their card.

    Parameters
    ----------
    name : str
        "pretrained" for the weights that ship; a folder that `tomotutor pretrain` made, or a file in it; a session,
        whose last round it then is; or, of images, a file of weights from elsewhere or a key of `PACKAGES`.

    Raises
    ------
    TomoTutorError
        There is nothing of the kind.
    """
    if name == "pretrained":
        return SHIPPED, read_card(SHIPPED)
    if name in PACKAGES:
        return packaged_file(name), packaged_card(name)
    path = Path(name)
    if not path.exists():
        raise TomoTutorError(
            f"{path}: no such file or folder; expected pretrained, scratch, a folder of weights, a session or, for "
            f"images, a .safetensors file or {', '.join(PACKAGES)}"
        )
    folder = path if path.is_dir() else path.parent
    if path.suffix == ".safetensors" and path.stem not in PARTS:
        return path, image_card(path)
    if path.suffix in (".pth", ".pt", ".bin"):
        raise TomoTutorError(
            f"{path}: a pickle, which could run a program when it is read; save its tensors as a .safetensors file "
            "(docs/pretraining.md says how)"
        )
    if not (folder / "session.toml").is_file():
        return folder, read_card(folder)
    rounds = sorted(path for path in (folder / "rounds").glob("[0-9]*") if path.is_dir())
    if not rounds:
        raise TomoTutorError(
            f"{folder}: this session has no trained networks yet; train it first, or choose another start"
        )
    try:
        recipe = json.loads((rounds[-1] / "metrics.json").read_text())["recipe"]
        card = {name: recipe[name] for name in ("task", "teacher", "stem", "student", "width")}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as problem:
        raise TomoTutorError(f"{rounds[-1]}: damaged ({problem}); expected a finished round") from None
    if card.pop("task") != "classification" or card.pop("student") != "shallow":
        raise TomoTutorError(f"{folder}: its networks are no pair for classification; choose another start")
    return rounds[-1], {**card, "session": folder.resolve().name, "round": int(rounds[-1].name)}


def copy_start(source: Path, card: Mapping[str, Any], session: Path, *, channels: int = 1) -> None:
    """Copy a start into a new session's folder; `channels` are those of its items."""
    folder = session / FOLDER
    folder.mkdir()
    for name in PARTS:
        if source.is_file():
            _write_part(folder, name, image_tensors(source, channels, name))
            continue
        try:
            shutil.copyfile(source / f"{name}.safetensors", folder / f"{name}.safetensors")
        except FileNotFoundError:
            raise TomoTutorError(
                f"{source}: found no {name}.safetensors; expected weights of teacher and student"
            ) from None
    _write_card(folder, card)


def load_start(pair: Pair, source: Path) -> None:
    """Load a start into a pair; the last layers, which belong to other classes, stay fresh.

    Raises
    ------
    TomoTutorError
        A file is missing or damaged, or made for networks of another shape.
    """
    import torch

    for name, net in pair.parts().items():
        path = source if source.is_file() else source / f"{name}.safetensors"
        own = net.state_dict()
        found = image_tensors(path, own["stem.0.weight"].shape[1], name) if source.is_file() else _read_part(path)
        wanted = [k for k in own if not k.startswith("fc.") and not k.endswith("num_batches_tracked")]
        body = {k: found[k].to(own[k].dtype) for k in wanted if k in found}
        wrong = next((k for k in wanted if k not in body or body[k].shape != own[k].shape), None)
        if wrong is not None:
            raise TomoTutorError(
                f"{path}: made for other networks ({wrong} does not fit); expected a {name} of this session's recipe"
            )
        if not all(torch.isfinite(v.float()).all() for v in body.values()):
            raise TomoTutorError(f"{path}: holds numbers that are not finite; expected pretrained weights")
        net.load_state_dict(body, strict=False)


def _read_part(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, ValueError, struct.error, SafetensorError) as problem:
        raise TomoTutorError(
            f"{path}: cannot be read ({str(problem).splitlines()[0]}); expected pretrained weights"
        ) from None
