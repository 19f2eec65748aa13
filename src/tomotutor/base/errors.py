"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import errno
import shlex
from pathlib import Path

_LONGEST = 1500  # characters of a message: room for two long paths, none for a file
_WORDS = {
    errno.ENOENT: "no such file; it was moved, renamed or deleted, or its disk is not there",
    errno.ENOTDIR: "no such file; a part of its path is a file and no folder",
    errno.EISDIR: "it is a folder; expected a file",
    errno.EACCES: "no permission; ask its owner for the right to read it, or to write there",
    errno.EPERM: "no permission; ask its owner for the right to read it, or to write there",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota is used up; make room",
    errno.EFBIG: "the file is larger than this disk or a limit allows",
    errno.EIO: "the disk failed (input/output error); try again, and look after the disk",
    errno.ESTALE: "the network disk lost it (stale file handle); try again",
    errno.ENAMETOOLONG: "the name is too long for this disk",
    errno.EMFILE: "too many files are open; raise the limit with ulimit -n",
}


class TomoTutorError(Exception):
    """Something the user can mend: the message is one sentence that names the file, what was found and what was
    expected.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shown(message, _LONGEST))


def command(*words: object) -> str:
    """Return a command of the program as a shell takes it: sentences name it to be copied."""
    return shlex.join(["tomotutor", *map(str, words)])


def shown(text: str, limit: int = 200) -> str:
    """Return text from a file as it may stand in a message: one line of printable characters, not too long."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(character if character.isprintable() else "?" for character in cut)


def reason(problem: BaseException) -> str:
    """Return why something failed: in plain words what the operating system says, else the first line of the error."""
    words = _WORDS.get(problem.errno or 0) if isinstance(problem, OSError) else None
    lines = str(problem).splitlines()
    return words or (shown(lines[0], 300).rstrip(". ") if lines else "") or type(problem).__name__


def unreadable(path: Path | str, problem: BaseException, what: str, mend: str = "") -> TomoTutorError:
    """Return the error for a file that could not be read: moved, no permission, a disk that failed, or damaged.

    Parameters
    ----------
    path : Path or str
        The file.
    problem : BaseException
        What reading it raised.
    what : str
        What was expected: "a CSV file".
    mend : str
        What to do where the file itself is at fault.
    """
    words = reason(problem)
    if isinstance(problem, OSError) and problem.errno in _WORDS:
        return TomoTutorError(f"{path}: {words}")
    if isinstance(problem, MemoryError):
        words = "it takes more memory than there is"
    told = f"{path}: damaged, or not {what} that can be read ({words.replace(str(path), 'it')})"
    return TomoTutorError(f"{told}; {mend}" if mend else told)


class LockedError(TomoTutorError):
    """A session is open in another program, which alone may write to it."""


class MovedInputError(TomoTutorError):
    """A file or folder that a session reads is gone; `gone` is its path as the session knows it."""

    def __init__(self, message: str, gone: str) -> None:
        super().__init__(message)
        self.gone = gone


class TrainingDivergedError(TomoTutorError):
    """The loss became NaN or infinite; the round stops and the previous model stays."""


class CancelledError(Exception):
    """A round was cancelled between two batches; nothing of it is kept."""
