"""The command that measures this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from tomotutor.cli.common import Commands, add_command, has_screen
from tomotutor.errors import TomoTutorError

BENCH_NAMES = ("training", "scoring", "round", "labels", "memory", "lists", "startup", "selection", "gradients", "screen", "all")


def _bench(args: argparse.Namespace) -> None:
    from tomotutor.benchmark.speed import BENCHES, run_bench

    benches = dict(BENCHES)
    if args.name in ("screen", "all"):
        if not has_screen():
            raise TomoTutorError("bench screen: no display; run it under xvfb-run")
        from tomotutor.gui.speed import screen

        benches["screen"] = screen
    for name in benches if args.name == "all" else [args.name]:
        run_bench(name, benches[name], Path(args.out) if args.out else None)


def add(commands: Commands) -> None:
    """Add this command."""
    bench = add_command(commands, "bench", _bench, "measure this machine against a named peer", session=False)
    bench.add_argument("name", choices=BENCH_NAMES, metavar="NAME", help=", ".join(BENCH_NAMES))
    bench.add_argument("--out", metavar="DIR", help="also write the figures there, as JSON")
