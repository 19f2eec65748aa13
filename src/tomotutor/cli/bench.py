"""The commands that measure: this machine, and strategies against each other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.benchmark.experiment import SCALES
from tomotutor.benchmark.experiments import EXPERIMENTS
from tomotutor.cli.common import (
    Commands,
    add_command,
    add_set_argument,
    clear_line,
    count,
    has_screen,
    read_settings,
    show,
    split_names,
)

if TYPE_CHECKING:
    from tomotutor.benchmark.cell import Cell, Line

BENCH_NAMES = (
    "training",
    "scoring",
    "round",
    "labels",
    "memory",
    "lists",
    "startup",
    "selection",
    "gradients",
    "answers-speed",
    "screen",
    "all",
)
ANSWERS, BETWEEN, FROZEN = "answers", "between", "frozen"
HEADS = (ANSWERS, BETWEEN)
GPU = "gpu"
OUT = "tomotutor-bench"


def _bench(args: argparse.Namespace) -> None:
    if args.start and args.name != FROZEN:
        raise TomoTutorError(f"bench {args.name}: --start is for {FROZEN}")
    if args.name in EXPERIMENTS:
        _experiment(args)
        return
    if args.name in HEADS:
        _heads(args)
        return
    if args.name == FROZEN:
        _frozen(args)
        return
    if args.name == GPU:
        _gpu(args)
        return
    given = [
        f"--{name}" for name in ("data", "methods", "seeds", "set", "cell", "slurm", "plan") if getattr(args, name)
    ]
    if given:
        raise TomoTutorError(f"bench {args.name}: {given[0]} is for experiments: {', '.join(EXPERIMENTS)}")
    from tomotutor.benchmark.machine.speed import BENCHES, run_bench

    benches = dict(BENCHES)
    if args.name in ("screen", "all"):
        if not has_screen():
            raise TomoTutorError("bench screen: no display; run it under xvfb-run")
        from tomotutor.benchmark.machine.answers import make_embedded_session
        from tomotutor.gui.screen_bench import screen

        benches["screen"] = lambda: screen(make_embedded_session)
    for name in benches if args.name == "all" else [args.name]:
        run_bench(name, benches[name], Path(args.out) if args.out else None)


def _heads(args: argparse.Namespace) -> None:
    """Play sessions with the fast head: alone, or between real rounds."""
    from tomotutor.benchmark import answers_run, between

    _check_heads(args)
    folder, seeds = Path(args.out or OUT) / args.name, _read_seeds(args.seeds or "0-4")
    run = answers_run.run if args.name == ANSWERS else between.run
    run(Path(args.data), folder, seeds, lambda line: print(*line.values(), flush=True))
    print(f"tables: {folder / args.name}.md")


def _frozen(args: argparse.Namespace) -> None:
    """Measure the embedding of a start."""
    from tomotutor.benchmark import frozen
    from tomotutor.learn.start import find_start

    _check_heads(args)
    start, _ = find_start(args.start or "pretrained")
    folder = Path(args.out or OUT) / args.name
    frozen.run(
        Path(args.data), folder, _read_seeds(args.seeds or "0-4"), lambda line: print(*line.values(), flush=True), start
    )
    print(f"table: {folder / args.name}.md")


def _check_heads(args: argparse.Namespace) -> None:
    given = [f"--{name}" for name in ("methods", "cell", "slurm", "plan") if getattr(args, name)]
    if given or not args.data:
        wrong = f"{given[0]} is for experiments" if given else "give the folder of its data with --data"
        raise TomoTutorError(f"bench {args.name}: {wrong}; it takes --data, --out and --seeds")


def _gpu(args: argparse.Namespace) -> None:
    """Do what needs a GPU, within some minutes."""
    if not 0 < args.minutes <= 24 * 60:
        raise TomoTutorError(f"--minutes {args.minutes:g}: expected more than 0, and a day at most")
    from tomotutor.benchmark.machine.gpu import run_gpu
    from tomotutor.cli.pretrain import command_line

    data = Path(args.data) if args.data else None
    run_gpu(Path(args.out or f"{OUT}/{GPU}"), args.minutes, args.toy, data, command_line(args.words))


def _read_seeds(text: str) -> list[int]:
    """Read 0,1,2 or 0-9."""
    seeds: list[int] = []
    for part in split_names(text):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise TomoTutorError(f"--seeds {text}: expected numbers and ranges, for example 0-9 or 0,1,7")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def _experiment(args: argparse.Namespace) -> None:
    from tomotutor.benchmark import grid

    folder = (Path(args.out or OUT) / f"{args.name}-{args.scale}").resolve()
    cells = grid.find_cells(
        args.name, args.scale, split_names(args.methods), _read_seeds(args.seeds), read_settings(args.set)
    )
    if EXPERIMENTS[args.name].train and not args.data:
        raise TomoTutorError(
            f"bench {args.name}: give the folder of its data with --data; docs/evidence.md says what it holds"
        )
    data = Path(args.data).resolve() if args.data else folder / "data"
    words = ["bench", args.name, "--scale", args.scale, "--out", str(folder.parent), "--data", str(data)]
    for option in ("methods", "seeds"):
        if getattr(args, option):
            words += [f"--{option}", getattr(args, option)]
    words += [word for pair in args.set for word in ("--set", pair)]
    if args.slurm:
        print(grid.slurm_script(args.name, ["tomotutor", *words], len(cells), gpu=args.scale == "full"))
    elif args.plan:
        print(grid.plan(cells, data, args.rate))
    elif args.cell:
        _run_share(grid.share_of(cells, args.cell), folder, data)
    else:
        _run_all(cells, folder, grid.this_command(*words), args.jobs)
        _write_report([folder / "cells"], folder / "report")


def _run_share(cells: list[Cell], folder: Path, data: Path) -> None:
    """Run cells in this process."""
    from tomotutor.base.progress import Progress
    from tomotutor.benchmark.cell import run_cell
    from tomotutor.benchmark.grid import parent_is_gone
    from tomotutor.benchmark.results import accuracy
    from tomotutor.cli.common import show_progress

    def report(progress: Progress) -> None:
        if parent_is_gone():
            raise CancelledError
        show_progress(progress)

    def told(line: Line) -> None:
        clear_line()
        seconds = sum(line["seconds"].values())
        print(
            f"{line['method']}-{line['seed']}  round {line['round']} of {line['rounds']}  labels {line['labels']:5d}  "
            f"{'mIoU' if 'miou' in line else 'accuracy'} {accuracy(line):.3f}  {seconds:.0f} s",
            flush=True,
        )

    for cell in cells:
        run_cell(cell, folder, data, told, report)


def _run_all(cells: list[Cell], folder: Path, command: list[str], jobs: int) -> None:
    """Run a grid in processes, with a bar where a person watches, and a line a cell and every five minutes where none
    does.
    """
    import time

    from tomotutor.benchmark import grid
    from tomotutor.learn.compute import cores

    jobs = jobs or cores()
    watched = sys.stderr.isatty()
    last = time.monotonic()

    def tick(ended: str) -> None:
        nonlocal last
        if not ended and time.monotonic() - last < (1 if watched else 300):
            return
        last = time.monotonic()
        share, text = grid.describe(cells, folder, jobs)
        if ended or not watched:
            clear_line()
            print(f"{ended}: {text}" if ended else text, flush=True)
        show("cells", round(100 * share), 100, text)

    try:
        grid.run_grid(cells, folder, command, jobs, tick)
    finally:
        clear_line()


def _write_report(files: list[Path], out: Path) -> None:
    from tomotutor.benchmark.comparison import write_comparison

    for path in write_comparison(files, out):
        print(path)


def _bench_report(args: argparse.Namespace) -> None:
    _write_report([Path(name) for name in args.files], Path(args.out))


def add(commands: Commands) -> None:
    """Add these commands."""
    text = "measure this machine, or compare strategies with an oracle in place of the person"
    bench = add_command(commands, "bench", _bench, text, session=False, threads=True)
    bench.add_argument(
        "name",
        choices=(*BENCH_NAMES, GPU, *HEADS, FROZEN, *EXPERIMENTS),
        metavar="NAME",
        help=f"of this machine: {', '.join(BENCH_NAMES)}; all that needs a GPU: {GPU}; sessions of the fast head: "
        f"{', '.join(HEADS)}; the embedding of a start: {FROZEN}; experiments: {', '.join(EXPERIMENTS)}",
    )
    bench.add_argument("--out", metavar="DIR", help=f"where figures go, as JSON (experiments: default {OUT})")
    short = bench.add_argument_group(GPU)
    short.add_argument(
        "--minutes", type=float, default=12.0, metavar="M", help="for everything, pretraining last (default 12)"
    )
    bench.add_argument(
        "--start", default="", metavar="START", help=f"({FROZEN}) pretrained (default), weights or a session to measure"
    )
    short.add_argument("--toy", action="store_true", help="as small as possible, also on a CPU: does it run?")
    options = bench.add_argument_group("experiments")
    scale = "about an hour on two cores, a night or more, or the paper's size (default small)"
    options.add_argument("--scale", choices=SCALES, default="small", help=scale)
    options.add_argument(
        "--data",
        default="",
        metavar="DIR",
        help="folder with the pool and the test set, of the published data set, or (gpu) with lists of structures",
    )
    options.add_argument("--methods", default="", metavar="A,B", help="only these methods")
    options.add_argument(
        "--seeds", default="", metavar="0-9", help="these seeds for every method (default: the experiment's)"
    )
    options.add_argument(
        "--jobs", type=count, default=0, metavar="N", help="cells side by side, a thread each (default: one a core)"
    )
    options.add_argument(
        "--cell", default="", metavar="I/N", help="run only every N-th cell from the I-th, in this process"
    )
    options.add_argument(
        "--slurm", action="store_true", help="print a script for sbatch that runs the cells as an array"
    )
    add_set_argument(options)
    options.add_argument("--plan", action="store_true", help="print what it costs, and run nothing")
    options.add_argument(
        "--rate", type=float, default=0.0, metavar="R", help="pair samples a second in training, for --plan"
    )

    text = "make tables and figures from the JSON lines of an experiment"
    report = add_command(commands, "bench-report", _bench_report, text, session=False)
    report.add_argument("files", nargs="+", metavar="FILE", help="files of JSON lines, or folders of them")
    report.add_argument("--out", required=True, metavar="DIR", help="where they go")
