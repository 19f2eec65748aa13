"""The command line: thin commands over the Python API, one file a kind. Nothing is computed here.

Heavy imports stay inside the functions, so that --help is quick; all others are in `main`, so that Ctrl-C and errors
end in a sentence from the first moment on.
"""

from __future__ import annotations

import _thread
import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed (`>&-`): a file that is opened later must not take its place
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    with _signals_heeded() as came:
        try:
            import logging

            words = list(sys.argv[1:] if argv is None else argv)
            args = make_parser().parse_args(argv, argparse.Namespace(words=words))
            logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
            if getattr(args, "threads", None):
                os.environ["OMP_NUM_THREADS"] = str(args.threads)  # torch, which comes later, and its processes
            if getattr(args, "take_lock", False):
                from tomotutor.session.lock import free_lost_lock

                free_lost_lock(Path(args.session))
            args.function(args)
            sys.stdout.flush()
        except TomoTutorError as problem:
            return _say(str(problem), 1)
        except (Exception, KeyboardInterrupt) as problem:
            return _ended(problem, came)
    return 0


def _ended(problem: BaseException, came: set[int]) -> int:
    """Say in words what ended a command; what is a fault of ours is raised."""
    if signal.SIGTERM in came:
        return _say("ended by SIGTERM; all labels and finished rounds are saved, a round that ran is given up", 143)
    if came or isinstance(problem, (KeyboardInterrupt, CancelledError)):  # compiled code makes other errors of Ctrl-C
        told = str(problem) if isinstance(problem, CancelledError) else ""
        return _say(f"interrupted; {told or 'all labels and finished rounds are saved'}", 130)
    if not isinstance(problem, OSError):
        raise problem
    _drop_output()
    if isinstance(problem, BrokenPipeError):  # the reader of a pipe has seen enough
        return 1
    # what no reader or writer has put into words: standard output, most of all
    return _say(f"{problem.filename or 'standard output'}: {reason(problem)}", 1)


@contextmanager
def _signals_heeded() -> Iterator[set[int]]:
    """Let Ctrl-C and the first SIGTERM end a command in order; give a set of the signals that came."""
    came: set[int] = set()

    def end(number: int, frame: object) -> None:
        came.add(number)
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)  # what is given up takes a moment; SIGKILL comes after it
        raise KeyboardInterrupt

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt):  # raised where Python can only drop it: soon again
            threading.Timer(0.01, _thread.interrupt_main).start()
        else:
            hook(what)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    hook, sys.unraisablehook = sys.unraisablehook, dropped
    try:
        yield came
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(message: str, status: int) -> int:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""  # a line of progress may stand there
    print(f"{clear}tomotutor: {message}", file=sys.stderr)
    return status


def _drop_output() -> None:
    """Send what standard output still holds nowhere: Python would try again to write it on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
