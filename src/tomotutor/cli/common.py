"""What the commands share."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.settings import Setting
from tomotutor.data.options import DATA_SETS, KINDS, OPTIONS, Source, offered

if TYPE_CHECKING:
    from tqdm import tqdm

    from tomotutor.base.progress import Progress
    from tomotutor.session.status import CurvePoint

Commands = argparse._SubParsersAction
DEVICES = ("cpu", "cuda", "mps")  # torch knows more, such as cuda:1


def add_command(
    commands: Commands,
    name: str,
    function: Callable[[argparse.Namespace], None],
    text: str,
    *,
    session: bool = True,
    threads: bool = False,
    writes: bool = False,
) -> argparse.ArgumentParser:
    """Add a command that runs `function`; most begin with the session's folder, those that run networks take
    --threads, those that write to the session --take-lock.
    """
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(function=function)
    if session:
        sub.add_argument("session", metavar="SESSION", help="session folder")
    if threads:
        sub.add_argument(
            "--threads", type=count, metavar="N", help="CPU threads to compute with at most (default: one a core)"
        )
    if writes:
        sub.add_argument(
            "--take-lock",
            action="store_true",
            help="take the session over from a machine that is gone and left its lock on a network disk",
        )
    return sub


def count(text: str) -> int:
    """Read a number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return int(text)


def print_json(value: object) -> None:
    """Print a value for programs."""
    print(json.dumps(value, indent=1))


_bar: tqdm | None = None


def show(what: str, done: int, total: int, note: str = "") -> None:
    """Show passing progress on one line where a person watches; a log file gets none of it."""
    global _bar
    if not sys.stderr.isatty():
        return
    from tqdm import tqdm

    if _bar is not None and ((_bar.desc, _bar.total) != (what, total) or done < _bar.n):
        clear_line()
    first = _bar is None
    _bar = _bar or tqdm(desc=what, total=total, initial=done, leave=False, dynamic_ncols=True)
    _bar.set_postfix_str(note, refresh=first)
    _bar.update(done - _bar.n)
    if done >= total:
        clear_line()


def clear_line() -> None:
    """Take the line of progress away, for what is printed next."""
    global _bar
    if _bar is not None:
        _bar.close()
    _bar = None


def show_progress(progress: Progress) -> None:
    """Show how far reading, training or scoring is."""
    notes = []
    if progress.stage == "train":
        notes += [f"epoch {progress.epoch}"] if progress.epochs > 1 else []
        notes.append(f"loss {progress.loss:.3f}")
    if progress.busy:
        notes.append("the machine is busy")
    what = {"read": "reading items", "train": "training", "score": "scoring"}.get(progress.stage, progress.stage)
    show(what, progress.done, progress.total, ", ".join(notes))


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that describe an input."""
    kind = parser.add_argument_group("input (one of)").add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--particles",
        metavar="LIST",
        help="particle list: RELION, WARP, M or pytom-match-pick STAR, RELION 5 optimisation set, Dynamo "
        ".tbl, EM motive list, IMOD .mod "
        "(or a folder of them), CSV, copick picks; boxes are cut from its tomograms",
    )
    kind.add_argument(
        "--stack", metavar="FILE", help="stack of volumes in one MRC, HDF5, Zarr or EM file, or of 2D images (.mrcs)"
    )
    kind.add_argument("--mrc-dir", metavar="DIR", help="folder of subtomograms, one .mrc, .em or .mrc.gz file each")
    kind.add_argument("--array", metavar="FILE", help=".npz (array x) or .npy: (N,D,H,W), (N,H,W) or (N,H,W,C)")
    kind.add_argument("--images", metavar="DIR", help="folder of 2D images")
    kind.add_argument(
        "--dataset",
        nargs=2,
        metavar=("NAME", "DIR"),
        help="folder of a published data set as it is distributed: " + ", ".join(DATA_SETS),
    )
    for group, title in (
        ("where", "what belongs to the input"),
        ("reading", "how the input is to be understood"),
        ("preparation", "preparation of items"),
    ):
        _add_options(parser.add_argument_group(title), [it for it in OPTIONS.values() if it.group == group])


def add_list_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the arguments that say how a particle list and its tomograms are to be understood."""
    _add_options(parser, [it for it in OPTIONS.values() if it.more.get("of_list")])


def _add_options(parser: argparse._ActionsContainer, options: Sequence[Setting]) -> None:
    """Add arguments as the options of an input are declared."""
    for it in options:
        more: dict[str, Any] = {"type": it.more.get("read", it.kind)}
        if it.choices:
            more["choices"] = offered(it.name)
        else:
            more["metavar"] = it.more["metavar"]
        if isinstance(it.more.get("metavar"), tuple):
            more["nargs"] = len(it.more["metavar"])
        parser.add_argument(it.more["flag"], dest=it.name, default=it.default, help=it.help, **more)


def read_source(args: argparse.Namespace) -> Source:
    """Return the input that the arguments describe."""
    kind, path = args.dataset or next((kind, getattr(args, kind)) for kind in KINDS if getattr(args, kind))
    if args.dataset and kind not in DATA_SETS:
        raise TomoTutorError(f"--dataset {kind}: expected one of {', '.join(DATA_SETS)}")
    return source_of(kind, path, args)


def source_of(kind: str, path: str, args: argparse.Namespace) -> Source:
    """Return the input of a kind at a path, with the options that the arguments have."""
    file = Path(path).resolve()
    given = {name: getattr(args, name) for name in OPTIONS if hasattr(args, name)}
    return Source(kind, str(file), root=str(file.parent), **given)


def numbers(kind: type, count: int) -> Any:
    """Return a reader of `count` numbers with commas between."""

    def read(text: str) -> tuple[Any, ...]:
        parts = tuple(kind(part) for part in text.split(","))
        if len(parts) != count:
            raise ValueError
        return parts

    read.__name__ = f"{count} numbers with commas between:"  # argparse says: invalid ... value: 'text'
    return read


def add_structures_argument(parser: argparse.ArgumentParser) -> None:
    """Add --structures; also let the parser take -60,60 as a value (argparse knows that of single numbers only)."""
    parser.add_argument(
        "--structures",
        nargs="+",
        default=[],
        metavar="PATH",
        help="folders, structures (PDB, mmCIF), maps (MRC), lists (CSV: name,file[,assembly][,voxel_size][,kind]) "
        "or idealised complexes "
        "(ribosome, proteasome, chaperonin, ferritin; default: these)",
    )
    parser._negative_number_matcher = re.compile(r"^-[\d.]+(,-?[\d.]+)*$")


def add_device_argument(parser: argparse._ActionsContainer) -> None:
    """Add --device, which `read_device` reads."""
    text = f"torch device: {', '.join(DEVICES)} (default auto, the best there is)"
    parser.add_argument("--device", default="auto", metavar="NAME", help=text)


def read_device(name: str) -> str:
    """Return the torch device; "auto" takes the best there is."""
    import torch

    from tomotutor.learn.compute import best_device

    if name == "auto":
        return best_device()
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as problem:
        raise TomoTutorError(
            f"--device {name}: torch cannot use it ({str(problem).splitlines()[0].rstrip('.')}); expected "
            + ", ".join(DEVICES)
        ) from None
    return name


def read_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Split KEY=VALUE arguments."""
    for pair in pairs:
        if "=" not in pair:
            raise TomoTutorError(f"--set {pair}: expected KEY=VALUE, for example --set at_form=l2")
    return dict(pair.split("=", 1) for pair in pairs)


def add_set_argument(parser: argparse._ActionsContainer) -> None:
    """Add --set."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting of the recipe; may be given several times",
    )


def split_names(text: str) -> list[str]:
    """Split a,b,c."""
    return [name for name in text.split(",") if name.strip()]


def open_window(session: Path) -> None:
    """Open napari with the session in its dock."""
    try:
        from tomotutor.gui.app import run_app
    except ImportError as problem:
        raise TomoTutorError(
            f"the screen needs napari and a Qt binding ({problem}); install them with: pip install 'tomotutor[gui]'"
        ) from None
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what a signal raises would end in Qt; labels are on disk anyway
    run_app(session)


def has_screen() -> bool:
    """Whether a window can be opened."""
    import os

    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def describe_point(point: CurvePoint) -> str:
    """Return one round as a line."""
    parts = [f"round {point.round:2d}", f"labels {point.labels:4d}"]
    if "test_miou" not in point.metrics and "pool_miou" not in point.metrics:  # segmentation has no audit items
        parts.append(f"audit {point.audit.describe()}")
    shown = {"test_accuracy": "test", "pool_accuracy": "pool", "test_miou": "test mIoU", "pool_miou": "pool mIoU"}
    for key, name in shown.items():
        if key in point.metrics:
            parts.append(f"{name} {point.metrics[key]:.3f}")
    parts.append(f"{sum(point.metrics['seconds'].values()):.0f} s")
    return "  ".join(parts)


def point_json(point: CurvePoint) -> dict[str, Any]:
    """Return one round for programs."""
    return {
        "round": point.round,
        "labels": point.labels,
        "audit_accuracy": point.audit.accuracy,
        "audit_interval": point.audit.interval,
        "audit_n": point.audit.n,
        **point.metrics,
    }
