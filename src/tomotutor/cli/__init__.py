"""The command line: thin commands over the Python API, one file a kind. Nothing is computed here.

Heavy imports stay inside the functions, so that --help is quick; all others are in `main`, so that Ctrl-C and errors
end in a sentence from the first moment on.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tomotutor.base.errors import CancelledError, TomoTutorError, reason


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; docs/cli.md is made from it."""
    import tomotutor
    from tomotutor.cli import answers, bench, convert, pretrain, repair, run, session, simulate

    parser = argparse.ArgumentParser(
        prog="tomotutor",
        description="Label only the subtomograms that matter: active learning with a teacher and a student network.",
    )
    parser.add_argument("--version", action="version", version=f"tomotutor {tomotutor.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (session, answers, repair, convert, run, simulate, pretrain, bench):
        module.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 for an error the user can mend, 130 when interrupted, 143 when
    ended by SIGTERM, as SLURM does at its time limit.
    """
    before = _heed_sigterm()
    try:
        import logging

        args = make_parser().parse_args(argv, argparse.Namespace(words=list(sys.argv[1:] if argv is None else argv)))
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
        if getattr(args, "threads", None):
            os.environ["OMP_NUM_THREADS"] = str(args.threads)  # torch, which comes later, and its processes go by it
        if getattr(args, "take_lock", False):
            from tomotutor.session.lock import free_lost_lock

            free_lost_lock(Path(args.session))
        args.function(args)
        sys.stdout.flush()
    except TomoTutorError as problem:
        return _say(str(problem), 1)
    except _Ended:
        return _say("ended by SIGTERM; all labels and finished rounds are saved, a round that ran is given up", 143)
    except (KeyboardInterrupt, CancelledError) as problem:
        return _say(f"interrupted; {str(problem) or 'all labels and finished rounds are saved'}", 130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        _drop_output()
        return 1
    except OSError as problem:  # what no reader or writer has put into words: standard output, most of all
        _drop_output()
        return _say(f"{problem.filename or 'standard output'}: {reason(problem)}", 1)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    return 0


class _Ended(KeyboardInterrupt):
    """SIGTERM came: everything ends as with Ctrl-C."""


def _heed_sigterm() -> Any:
    """Let the first SIGTERM end the command in order; return what heeded it before, None where that is not ours."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is given up takes a moment; SIGKILL comes after it
        raise _Ended

    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, end)


def _say(message: str, status: int) -> int:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""  # a line of progress may stand there
    print(f"{clear}tomotutor: {message}", file=sys.stderr)
    return status


def _drop_output() -> None:
    """Send what standard output still holds nowhere: Python would try again to write it on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
