"""What the commands share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.errors import TomoTutorError

if TYPE_CHECKING:
    from tomotutor.progress import Progress
    from tomotutor.sources import Source
    from tomotutor.views import CurvePoint

Commands = argparse._SubParsersAction


def add_command(
    commands: Commands, name: str, function: Callable[[argparse.Namespace], None], text: str, *, session: bool = True
) -> argparse.ArgumentParser:
    """Add a command that runs `function`; most begin with the session's folder."""
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(function=function)
    if session:
        sub.add_argument("session", metavar="SESSION", help="session folder")
    return sub


def print_json(value: object) -> None:
    """Print a value for programs."""
    print(json.dumps(value, indent=1))


def tty_line(text: str) -> None:
    """Show passing progress where a person watches; a log file gets none of it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def show_progress(progress: Progress) -> None:
    """Show how far training or scoring is."""
    if progress.stage == "train":
        what = f"training: mini-batch {progress.done} of {progress.total}, epoch {progress.epoch}, loss {progress.loss:.3f}"
    else:
        what = f"scoring: {progress.done} of {progress.total}"
    tty_line(f"{what}, {progress.eta_s:.0f} s left" if progress.done < progress.total else "")


def show_reading(done: int, total: int) -> None:
    """Show how many items were read."""
    tty_line(f"reading items: {done} of {total}" if done < total else "")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that describe an input."""
    kind = parser.add_argument_group("input (one of)").add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--particles", metavar="STAR", help="RELION 5 particle list with centred coordinates; boxes are cut from its tomograms"
    )
    kind.add_argument("--stack", metavar="FILE", help="MRC stack of volumes (4D), or of 2D images (.mrcs)")
    kind.add_argument("--mrc-dir", metavar="DIR", help="folder of subtomograms, one .mrc file each")
    kind.add_argument("--array", metavar="FILE", help=".npz (array x) or .npy: (N,D,H,W), (N,H,W) or (N,H,W,C)")
    kind.add_argument("--images", metavar="DIR", help="folder of 2D images")
    options = parser.add_argument_group("about the input")
    options.add_argument("--tomograms", metavar="STAR", default="", help="RELION 5 tomogram set (tomograms.star)")
    options.add_argument("--tomogram-dir", metavar="DIR", default="", help="further folder to look for tomograms in")
    options.add_argument("--box", type=int, default=32, metavar="VOXELS", help="edge of the boxes cut from tomograms (default 32)")
    options.add_argument("--voxel-size", type=float, default=0.0, metavar="A", help="voxel size in Å, over what the headers say")
    options.add_argument(
        "--protein",
        choices=("dark", "bright"),
        default="",
        help="contrast of the input (default: dark in tomograms, bright in other 3D input)",
    )
    options.add_argument(
        "--ndim", type=int, choices=(2, 3), default=0, help="dimensions of an item, where a stack or array could be either"
    )
    options.add_argument("--key", default="x", metavar="NAME", help="name of the items' array in an .npz file (default x)")


def read_source(args: argparse.Namespace) -> Source:
    """Return the input that the arguments describe."""
    from tomotutor.sources import SOURCES, Source

    kind, path = next((kind, getattr(args, kind)) for kind in SOURCES if getattr(args, kind))
    return Source(
        kind, str(Path(path).resolve()), args.tomograms, str(Path(path).resolve().parent), args.tomogram_dir,
        args.box, args.voxel_size, args.protein, args.ndim, args.key,
    )  # fmt: skip


def read_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Split KEY=VALUE arguments."""
    for pair in pairs:
        if "=" not in pair:
            raise TomoTutorError(f"--set {pair}: expected KEY=VALUE, for example --set at_form=l2")
    return dict(pair.split("=", 1) for pair in pairs)


def add_set_argument(parser: argparse._ActionsContainer) -> None:
    """Add --set."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting of the recipe; may be given several times"
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
    run_app(session)


def has_screen() -> bool:
    """Whether a window can be opened."""
    import os

    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def describe_point(point: CurvePoint) -> str:
    """Return one round as a line."""
    parts = [f"round {point.round:2d}", f"labels {point.labels:4d}", f"audit {point.audit.describe()}"]
    for key, name in (("test_accuracy", "test"), ("pool_accuracy", "pool")):
        if key in point.metrics:
            parts.append(f"{name} {point.metrics[key]:.3f}")
    parts.append(f"{sum(point.metrics['seconds'].values()):.0f} s")
    return "  ".join(parts)


def point_json(point: CurvePoint) -> dict[str, Any]:
    """Return one round for programs."""
    return {
        "round": point.round, "labels": point.labels, "audit_accuracy": point.audit.accuracy, "audit_interval": point.audit.interval,
        "audit_n": point.audit.n, **point.metrics,
    }  # fmt: skip
