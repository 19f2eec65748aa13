"""The one writer of a session: its lock, who holds it, what a killed writer left, links that lead out of the folder."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

from tomotutor.base.errors import LockedError, TomoTutorError, reason, shown

_LOCK = ".lock"
_TAKING = ".lock.take"  # held for a moment by who frees a lost lock, so that two do not do it at once
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux: one value for a running machine and all of its containers
_HELD = Path("/proc/locks")  # Linux: the locks that processes of this machine hold
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
        raise _in_use(folder) from None
    except OSError as problem:
        raise _read_only(folder, problem) from None
    with suppress(OSError):
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        told = {"host": platform.node(), "boot": _boot(), "pid": os.getpid(), "since": since}
        (folder / _HOLDER).write_text(json.dumps(told) + "\n")
        _clean(folder)
    return lock


def free_lost_lock(folder: Path) -> None:
    """Free the lock of a session where a machine that is gone left it, as on a network disk; a person says that it is
    gone. A lock that nobody holds is left as it is.

    Raises
    ------
    TomoTutorError
        A process on this machine holds it, or it is not known who does; nothing was changed.
    """
    _refuse_links(folder)
    try:
        with filelock.FileLock(folder / _TAKING, timeout=10):
            with suppress(filelock.Timeout), filelock.FileLock(folder / _LOCK, timeout=0):
                return
            holder = _holder(folder)
            if holder is None:
                raise TomoTutorError(
                    f"{folder}: the session is open in another TomoTutor, and {_HOLDER} does not say in which; nothing "
                    f"was changed; make sure that none is left, and delete {folder / _LOCK}"
                )
            if holder.is_here or _is_held_here(folder / _LOCK):
                raise TomoTutorError(
                    f"{folder}: the session is open in a TomoTutor that runs on this machine{_told(holder)}; "
                    "--take-lock takes only the lock of a machine that is gone; close it there first"
                )
            (folder / _LOCK).unlink(missing_ok=True)
            (folder / _HOLDER).unlink(missing_ok=True)  # who takes it next, on whatever machine, is not the lost one
    except filelock.Timeout:
        raise TomoTutorError(f"{folder}: another TomoTutor takes its lock at this moment; try again") from None
    except OSError as problem:
        raise _read_only(folder, problem) from None


@dataclass(frozen=True)
class _Holder:
    """Who wrote that it holds the lock: machine, process, since when; whether that machine is this one."""

    host: str
    pid: str
    since: str
    is_here: bool


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _holder(folder: Path) -> _Holder | None:
    """Return who holds the lock; None where that is not known."""
    try:
        found = json.loads((folder / _HOLDER).read_text())
        host, pid, since = (shown(str(found[key]), 60) for key in ("host", "pid", "since"))
        boot = str(found.get("boot", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    # the system frees the lock of a process that ends; only that of another machine, or from before a restart of this
    # one, can outlive it
    same = boot == _boot() if boot and _boot() else host == platform.node()
    return _Holder(host, pid, since, same)


def _told(holder: _Holder) -> str:
    return f" (process {holder.pid} on {holder.host}, since {holder.since})"


def _in_use(folder: Path) -> LockedError:
    """Return the error for a session that another program holds: who, and what to do."""
    told = f"{folder}: the session is open in another TomoTutor"
    holder = _holder(folder)
    if holder is None:
        return LockedError(f"{told}; close it there first")
    gone = "" if holder.is_here else "; if that machine is gone, give --take-lock to the command"
    return LockedError(f"{told}{_told(holder)}; close it there first{gone}")


def _is_held_here(lock: Path) -> bool:
    """Whether a process of this machine holds it, whatever was written of it; known on Linux alone."""
    try:
        inode, held = lock.stat().st_ino, _HELD.read_text().splitlines()
    except OSError:
        return False
    return any(f":{inode} " in line for line in held)


def _read_only(folder: Path, problem: OSError) -> TomoTutorError:
    return TomoTutorError(f"{folder}: cannot be written to: {reason(problem)}")


def _refuse_links(folder: Path) -> None:
    """Refuse links that lead out of a session somebody sent, and pipes: what is written stays inside, and goes on."""
    inside = folder.resolve()
    for pattern in ("*", "rounds/*", "added/*", "backups/*", "embeddings/*", "embeddings/*/*"):
        for path in folder.glob(pattern):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise TomoTutorError(
                    f"{path}: a link that leads out of the session; expected the file or folder itself: put it there"
                )
            if path.exists() and not path.is_file() and not path.is_dir():
                raise TomoTutorError(f"{path}: neither a file nor a folder; remove it")


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
