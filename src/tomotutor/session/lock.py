"""The one writer of a session: its lock, who holds it, what a killed writer left, links that lead out of the folder."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

import filelock

from tomotutor.base.errors import TomoTutorError, reason, shown

_LOCK = ".lock"
_HOLDER = ".lock.json"  # beside it, for the lock's own file is emptied by whoever tries to take it
_OURS = ("session.toml", "compute.json", "labels")  # what a writer writes at the top of the folder
_FOLDERS = ("rounds", "rounds/*", "backups", "masks", "start", "added", "embeddings", "embeddings/*")


def take_lock(folder: Path) -> filelock.BaseFileLock:
    """Take the lock of a session, and clean up after a writer that was killed.

    Raises
    ------
    TomoTutorError
        Another program holds it, the folder cannot be written to, or a part of it is a link that leads elsewhere.
    """
    _refuse_links(folder)
    lock = filelock.FileLock(folder / _LOCK, thread_local=False)  # a closing thread lets it go
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise TomoTutorError(f"{folder}: the session is open in another TomoTutor{_holder(folder)}") from None
    except OSError as problem:
        raise TomoTutorError(
            f"{folder}: cannot be written to ({reason(problem)}); give yourself the right to write"
        ) from None
    with suppress(OSError):
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        (folder / _HOLDER).write_text(json.dumps({"host": platform.node(), "pid": os.getpid(), "since": since}) + "\n")
        _clean(folder)
    return lock


def _holder(folder: Path) -> str:
    """Return in words who holds the lock, and what to do."""
    try:
        found = json.loads((folder / _HOLDER).read_text())
        host, pid, since = (shown(str(found[key]), 60) for key in ("host", "pid", "since"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "; close it there first"
    told = f" (process {pid} on {host}, since {since}); close it there first"
    # the system frees the lock of a process that ends; only that of another machine can outlive it
    gone = "" if host == platform.node() else f"; if that machine is gone, delete {folder / _LOCK}"
    return told + gone


def _refuse_links(folder: Path) -> None:
    """Refuse links that lead out of a session somebody sent: what is written and replaced stays inside."""
    inside = folder.resolve()
    for pattern in ("*", "rounds/*", "added/*", "backups/*"):
        for path in folder.glob(pattern):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise TomoTutorError(
                    f"{path}: a link that leads out of the session; expected the file or folder itself: put it there"
                )


def _clean(folder: Path) -> None:
    """Remove the unfinished files and folders of a writer that was killed."""
    left = [path for path in folder.glob(".*.partial") if path.name[1:].startswith(_OURS)]
    for pattern in _FOLDERS:
        left += folder.glob(f"{pattern}/.*.partial")
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
