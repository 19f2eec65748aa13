"""The command line: thin commands over the Python API.

Heavy imports stay inside the functions, so that --help is quick.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import tomotutor
from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.cli import bench, convert, pretrain, run, session, simulate
from tomotutor.cli.common import clear_line


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; docs/cli.md is made from it."""
    parser = argparse.ArgumentParser(
        prog="tomotutor",
        description="Label only the subtomograms that matter: active learning with a teacher and a student network.",
    )
    parser.add_argument("--version", action="version", version=f"tomotutor {tomotutor.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (session, convert, run, simulate, pretrain, bench):
        module.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 for an error the user can mend, 130 when interrupted."""
    args = make_parser().parse_args(argv, argparse.Namespace(words=list(sys.argv[1:] if argv is None else argv)))
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if getattr(args, "threads", None):
        os.environ["OMP_NUM_THREADS"] = str(args.threads)  # torch, which comes later, and its processes go by it
    try:
        args.function(args)
    except TomoTutorError as problem:
        clear_line()
        print(f"tomotutor: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, CancelledError):
        print("tomotutor: interrupted; all labels and finished rounds are saved", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0
