"""The command line: thin commands over the Python API.

Heavy imports stay inside the functions, so that --help is quick.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import tomotutor
from tomotutor.base.errors import CancelledError, TomoTutorError
from tomotutor.cli import bench, convert, pretrain, run, session, simulate
from tomotutor.cli.common import tty_line


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
    try:
        args.function(args)
    except TomoTutorError as problem:
        tty_line("")
        print(f"tomotutor: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, CancelledError) as problem:
        tty_line("")
        kept = str(problem) or "all labels and finished rounds are saved"
        print(f"tomotutor: interrupted; {kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0
