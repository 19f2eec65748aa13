"""The command that pretrains a pair on simulated complexes."""

from __future__ import annotations

import argparse
import contextlib
import math
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.base.settings import declared
from tomotutor.cli.common import (
    Commands,
    add_command,
    add_device_argument,
    add_structures_argument,
    numbers,
    read_device,
    show,
    show_progress,
    split_names,
)
from tomotutor.learn.pretrain_settings import PretrainSettings
from tomotutor.learn.recipe import CHOICES

if TYPE_CHECKING:
    from tomotutor.base.progress import Progress
    from tomotutor.learn.compute import Compute
    from tomotutor.simulate import Structure
    from tomotutor.simulate.variation import Variation

LOG_EVERY_S = 30.0


def reporter(batch_size: int, every_s: float = LOG_EVERY_S) -> Callable[[Progress], None]:
    """Return what shows progress: a line that changes where a person watches, else one line now and then for a log."""
    watched = sys.stderr.isatty()
    last, losses, first = time.perf_counter(), list[float](), (0, 0.0)

    def report(progress: Progress) -> None:
        nonlocal last, first
        now = time.perf_counter()
        if progress.stage == "train":
            losses.append(progress.loss)
            first = first if first[0] else (progress.done, now)
        if watched:
            if progress.stage != "train":
                show_progress(progress)
                return
            del losses[:-50]
            note = f"loss {sum(losses) / len(losses):.3f}"
            show("training", progress.done * batch_size, progress.total * batch_size, note)
            return
        if now - last < every_s:
            return
        if progress.stage == "train":
            text = f"training: {progress.done * batch_size} of {progress.total * batch_size} items"
            if progress.done > first[0]:
                text += f", {(progress.done - first[0]) * batch_size / (now - first[1]):.0f} a second"
            text += f", loss {sum(losses) / len(losses):.3f}"
        else:
            stage = "testing" if progress.stage == "score" else progress.stage
            text = f"{stage}: {progress.done} of {progress.total}"
        if math.isfinite(progress.eta_s):
            text += f", {progress.eta_s / 60:.1f} min left"
        print(text, file=sys.stderr, flush=True)
        losses.clear()
        last = now

    return report


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set; a second one ends the process as it always does."""
    ended = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(number: int, _frame: object) -> None:
        ended.set()
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in before:
            signal.signal(number, end)
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command_line(words: Sequence[str]) -> str:
    """Return a command as it was given, paths reduced to their names: a card travels, and tells nothing of a machine's
    folders.
    """

    def bare(word: str) -> str:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        return option + equals + (Path(value).name if "/" in value or "\\" in value else value)

    return shlex.join(["tomotutor", *map(bare, words)])


def choose_structures(paths: Sequence[str], excluded: Sequence[str], made_up: int) -> list[Structure]:
    """Return the complexes to pretrain on.

    Raises
    ------
    TomoTutorError
        An excluded name is none of them (mistyped, it would let in what is to be held out), or there is something wrong
        with a path.
    """
    from tomotutor.simulate import Structure, find_structures
    from tomotutor.simulate.complexes import MADE_UP

    if made_up < 0:
        raise TomoTutorError(f"--made-up {made_up}: expected a number from 0")
    found = find_structures(paths)
    names = [s.name for s in found]
    unknown = [name for name in excluded if name not in names]
    if unknown:
        raise TomoTutorError(
            f"--exclude: found no complex called {', '.join(map(repr, unknown))}; expected some of {', '.join(names)}"
        )
    made = [Structure(f"{MADE_UP}{i}") for i in range(made_up)]
    twice = sorted({s.name for s in made} & set(names))
    if twice:
        raise TomoTutorError(f"--made-up {made_up}: a complex of the structures is called {twice[0]!r} too; rename it")
    return [s for s in found if s.name not in excluded] + made


def _compute(args: argparse.Namespace, settings: PretrainSettings, variation: Variation, classes: int) -> Compute:
    from tomotutor.learn.compute import Compute, available_threads, checked, choose
    from tomotutor.learn.models import build_pair

    device = read_device(args.device)
    # workers simulate beside the training
    threads = max(1, available_threads() - settings.workers) if device == "cpu" else available_threads()

    def teacher() -> Any:
        return build_pair(
            "resnet18",
            ndim=3,
            channels=1,
            edge=variation.box,
            classes=classes,
            width=settings.width,
            seed=settings.seed,
        ).teacher

    shape = (1, *(variation.box,) * 3)
    if args.precision == "auto":
        return choose(teacher, shape, device=device, threads=threads)
    if args.precision == "float32":
        return Compute(device, channels_last=True, threads=threads)
    return checked(Compute(device, "bfloat16", True, 4 if device == "cpu" else 0, threads), teacher, shape)


def _pretrain(args: argparse.Namespace) -> None:
    from tomotutor.learn.pretrain import TEST_ITEMS, check_folder, checkpoint_path, pretrain
    from tomotutor.simulate.variation import Variation

    out = Path(args.out)
    settings = PretrainSettings(**{name: getattr(args, name) for name in declared(PretrainSettings)})
    variation = Variation(
        args.voxel_size,
        args.snr,
        args.tilt,
        args.tilt_step,
        args.defocus,
        pick_error_voxel=args.pick_error,
        false_picks=args.false_picks,
        neighbours=args.neighbours,
        box=args.box,
    )
    excluded = [name.strip() for part in args.exclude for name in split_names(part)]
    structures = choose_structures(args.structures, excluded, args.made_up)
    check_folder(out)
    compute = _compute(args, settings, variation, len(structures) + 1)
    print(
        f"{len(structures)} complexes, {settings.steps} mini-batches of {settings.batch_size} on {compute.describe()}",
        flush=True,
    )
    more = {"excluded": excluded, "command": command_line(args.words)}
    kept = checkpoint_path(out)
    if kept.exists():
        print(f"going on from {kept}", flush=True)
    show = reporter(settings.batch_size)
    with _signals() as ended:

        def report(progress: Progress) -> None:
            show(progress)
            if ended.is_set():
                raise CancelledError(
                    f"the same command goes on from {kept}"
                    if kept.exists() or progress.stage == "train"
                    else "nothing was trained yet"
                )

        card = pretrain(out, structures, settings, variation, compute, report, more, 60 * args.checkpoint)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors")) / 1e6
    accuracy = card["accuracy"]
    print(f"{out}: teacher.safetensors and student.safetensors ({size:.1f} MB), start.json; {card['seconds']} s")
    print(
        f"accuracy on {TEST_ITEMS} unseen items: teacher {accuracy['teacher']:.3f}, student {accuracy['student']:.3f}"
    )
    print(f"next: tomotutor new SESSION ... --start {shlex.quote(str(out))}")


def _range(parser: argparse._ActionsContainer, name: str, default: tuple[float, float], text: str) -> None:
    shown = ",".join(f"{value:g}" for value in default)
    parser.add_argument(name, type=numbers(float, 2), default=default, metavar="A,B", help=f"{text} (default {shown})")


def add(commands: Commands) -> None:
    """Add the command."""
    text = "train a pair on simulated complexes under varied conditions, as a start for sessions"
    parser = add_command(commands, "pretrain", _pretrain, text, session=False, threads=True)
    add_structures_argument(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder for the weights")
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="NAME[,NAME...]",
        help="complexes to leave out; may be given several times",
    )
    parser.add_argument(
        "--made-up", type=int, default=0, metavar="N", help="so many made-up complexes more (default 0)"
    )
    training = parser.add_argument_group("training")
    for it in declared(PretrainSettings).values():
        shown = {"choices": it.choices} if it.choices else {"metavar": it.more["metavar"]}
        text = f"{it.help} (default {it.default})"
        training.add_argument(f"--{it.name.replace('_', '-')}", type=it.kind, default=it.default, help=text, **shown)
    training.add_argument(
        "--checkpoint",
        type=float,
        default=5,
        metavar="MINUTES",
        help="between two checkpoints, from which the same command goes on after it was ended (default 5)",
    )
    add_device_argument(training)
    training.add_argument(
        "--precision",
        choices=CHOICES["precision"],
        default="auto",
        help="auto measures and checks what is fastest here",
    )
    varied = parser.add_argument_group("what items are drawn from")
    _range(varied, "--voxel-size", (6.0, 16.0), "voxel sizes in Å")
    _range(varied, "--snr", (0.02, 0.5), "var(signal) / var(noise) in the box, after CTF and wedge")
    _range(varied, "--tilt", (40.0, 70.0), "largest tilt to either side, degrees")
    _range(varied, "--tilt-step", (1.0, 5.0), "between tilts, degrees")
    _range(varied, "--defocus", (1.5, 8.0), "underfocus in µm")
    varied.add_argument(
        "--pick-error", type=float, default=3.0, metavar="V", help="largest along each axis, voxels (default 3)"
    )
    varied.add_argument(
        "--false-picks", type=float, default=0.1, metavar="S", help="share that shows no complex (default 0.1)"
    )
    varied.add_argument("--neighbours", type=int, default=4, metavar="N", help="most complexes around one (default 4)")
    varied.add_argument("--box", type=int, default=32, metavar="N", help="edge, voxels, even (default 32)")
