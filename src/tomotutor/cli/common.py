"""What the commands share."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import TomoTutorError

if TYPE_CHECKING:
    from tqdm import tqdm

    from tomotutor.base.progress import Progress
    from tomotutor.data.sources import Source
    from tomotutor.session.status import CurvePoint

Commands = argparse._SubParsersAction

# a test holds them against the registry, which this module does not import: --help must be quick
DATASET_NAMES = ("cifar10", "cifar100", "svhn", "caltech101", "imagenet", "cityscapes", "camvid")


def add_command(
    commands: Commands,
    name: str,
    function: Callable[[argparse.Namespace], None],
    text: str,
    *,
    session: bool = True,
    threads: bool = False,
) -> argparse.ArgumentParser:
    """Add a command that runs `function`; most begin with the session's folder, those that run networks take
    --threads.
    """
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(function=function)
    if session:
        sub.add_argument("session", metavar="SESSION", help="session folder")
    if threads:
        sub.add_argument(
            "--threads", type=count, metavar="N", help="CPU threads to compute with at most (default: one a core)"
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
    """Show how far training or scoring is."""
    notes = []
    if progress.stage == "train":
        notes += [f"epoch {progress.epoch}"] if progress.epochs > 1 else []
        notes.append(f"loss {progress.loss:.3f}")
    if progress.busy:
        notes.append("the machine is busy")
    what = {"train": "training", "score": "scoring"}.get(progress.stage, progress.stage)
    show(what, progress.done, progress.total, ", ".join(notes))


def show_reading(done: int, total: int) -> None:
    """Show how many items were read."""
    show("reading items", done, total)


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
        help="folder of a published data set as it is distributed: " + ", ".join(DATASET_NAMES),
    )
    options = parser.add_argument_group("about the input")
    add_list_arguments(options)
    options.add_argument(
        "--box", type=int, default=32, metavar="VOXELS", help="edge of the boxes cut from tomograms (default 32)"
    )
    options.add_argument(
        "--protein",
        choices=("dark", "bright"),
        default="",
        help="contrast of the input (default: dark in tomograms, bright in other 3D input)",
    )
    options.add_argument(
        "--ndim",
        type=int,
        choices=(2, 3),
        default=0,
        help="dimensions of an item, where a stack or array could be either",
    )
    options.add_argument(
        "--split", default="", metavar="NAME", help="part of a data set: train (default), test, val, …"
    )
    options.add_argument(
        "--size",
        default="",
        metavar="N|WxH",
        help="resize images: to N×N from the centre (shorter edge to 8/7 of N first), or to width x height",
    )
    options.add_argument(
        "--key", default="x", metavar="NAME", help="name of the items' array in an .npz, HDF5 or Zarr file (default x)"
    )
    options.add_argument(
        "--bytes",
        choices=("signed", "unsigned"),
        default="",
        help="what 8-bit voxels are (default: as the header says)",
    )
    prepared = parser.add_argument_group("preparation of 3D items")
    prepared.add_argument(
        "--rescale", type=float, default=0.0, metavar="A", help="bring items to this voxel size in Å, in Fourier space"
    )
    prepared.add_argument(
        "--low-pass",
        type=float,
        default=0.0,
        metavar="A",
        help="filter items to this resolution in Å, with a soft edge",
    )
    prepared.add_argument(
        "--normalise",
        choices=("box", "tomogram"),
        default="box",
        help="mean 0 and deviation 1 by an item's own voxels (default) or by those of its tomogram",
    )
    prepared.add_argument(
        "--tilt-range",
        type=float,
        nargs=2,
        default=(),
        metavar=("MIN", "MAX"),
        help="smallest and largest tilt in degrees, of all tomograms",
    )
    prepared.add_argument(
        "--tilt-dir",
        metavar="DIR",
        default="",
        help="folder with the tilts of each tomogram, <tomogram>.tlt or .rawtlt",
    )
    prepared.add_argument(
        "--denoised-dir",
        metavar="DIR",
        default="",
        help="folder with denoised tomograms, called as the raw ones: to look at, not to train on",
    )


def add_list_arguments(options: argparse._ActionsContainer) -> None:
    """Add the arguments that say how a particle list and its tomograms are to be understood."""
    options.add_argument("--tomograms", metavar="STAR", default="", help="RELION tomogram set (tomograms.star)")
    options.add_argument("--tomogram-dir", metavar="DIR", default="", help="further folder to look for tomograms in")
    options.add_argument(
        "--voxel-size", type=float, default=0.0, metavar="A", help="voxel size in Å, over what the headers say"
    )
    options.add_argument(
        "--coordinate-pixel-size",
        type=float,
        default=0.0,
        metavar="A",
        help=(
            "what one pixel of the list's coordinates measures, in Å, where the list does not tell or tells it wrongly"
        ),
    )
    options.add_argument(
        "--centre",
        choices=("relion-napari",),
        default="",
        help=(
            "for centred coordinates of RELION's napari picker or pytom-match-pick, whose 0 lies one "
            "tilt-series pixel below size/2"
        ),
    )


def read_source(args: argparse.Namespace) -> Source:
    """Return the input that the arguments describe."""
    from tomotutor.data.sources import DATASETS, SOURCES, Source

    kind, path = args.dataset or next((kind, getattr(args, kind)) for kind in SOURCES if getattr(args, kind))
    if args.dataset and kind not in DATASETS:
        raise TomoTutorError(f"--dataset {kind}: expected one of {', '.join(DATASETS)}")
    return Source(
        kind,
        str(Path(path).resolve()),
        args.tomograms,
        str(Path(path).resolve().parent),
        args.tomogram_dir,
        args.box,
        args.voxel_size,
        args.protein,
        args.ndim,
        args.key,
        rescale=args.rescale,
        low_pass=args.low_pass,
        normalise=args.normalise,
        tilt_range=tuple(args.tilt_range),
        tilt_dir=args.tilt_dir,
        byte_sign=args.bytes,
        denoised_dir=args.denoised_dir,
        coordinate_pixel_size=args.coordinate_pixel_size,
        centre=args.centre,
        split=args.split,
        size=read_size(args.size),
    )


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
        help="folders, structures (PDB, mmCIF), maps (MRC), lists (CSV: name,file[,assembly][,voxel_size]) "
        "or idealised complexes "
        "(ribosome, proteasome, chaperonin, ferritin; default: these)",
    )
    parser._negative_number_matcher = re.compile(r"^-[\d.]+(,-?[\d.]+)*$")


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
            f"--device {name}: torch cannot use it ({str(problem).splitlines()[0].rstrip('.')}); expected cpu, cuda or "
            "mps"
        ) from None
    return name


def read_size(text: str) -> tuple[int, ...]:
    """Read N or WIDTHxHEIGHT; returns (n,) or (y, x)."""
    if not text:
        return ()
    try:
        return tuple(int(part) for part in reversed(text.lower().replace("×", "x").split("x")))
    except ValueError:
        raise TomoTutorError(f"--size {text}: expected one edge, as in 224, or WIDTHxHEIGHT, as in 120x90") from None


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
