"""Writing that survives a crash, the old file or the new one, never half of one; and names that are safe as files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from tomotutor.base.errors import TomoTutorError, reason


def _sync(path: Path) -> None:
    """Ask the disk to have a file or folder; folders cannot be opened for that on Windows."""
    with contextlib.suppress(PermissionError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` to fill; it takes the name `target` when all of it is on disk.

    Raises
    ------
    TomoTutorError
        The disk is full or cannot be written to; nothing is left behind.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
        try:
            partial.chmod(0o777 & ~_umask())
            yield partial
            for path in [*partial.rglob("*"), partial]:
                _sync(path)
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _sync(target.parent)
    except OSError as problem:
        raise TomoTutorError(f"{target}: cannot be written ({reason(problem)}); nothing was changed") from None


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` to write to; it replaces `target` when it is on disk. A device or pipe,
    such as /dev/stdout, is written to instead: root would replace even that.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        if target.parent == Path("/dev") or (target.exists() and not target.is_file() and not target.is_dir()):
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / target.name
                _pour(Path(folder) / target.name, target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as problem:
        raise TomoTutorError(f"{target}: cannot be written ({reason(problem)}); nothing was changed") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _pour(source: Path, target: Path) -> None:
    """Write a file into a device or pipe; into one that nobody reads it is an error, for it would wait for ever."""
    handle = os.open(target, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    with source.open("rb") as read, os.fdopen(handle, "wb") as write:
        os.set_blocking(handle, True)
        shutil.copyfileobj(read, write)


def safe_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return a file-safe form of each name: one part of a path, and no two the same.

    Letters, digits and `_.+()-` stay, every other character becomes `_`, and leading dots go. A name that is in this
    form already keeps it; where another one comes to the same (also where only capitals differ), it gets `-2`, `-3`.
    """
    plain = [re.sub(r"[^\w.+()-]", "_", unicodedata.normalize("NFC", name)).lstrip(".")[:100] or "_" for name in names]
    taken: set[str] = set()
    found: dict[int, str] = {}
    for number in sorted(range(len(names)), key=lambda i: plain[i] != names[i]):
        tries = (plain[number] if n == 1 else f"{plain[number]}-{n}" for n in range(1, len(names) + 2))
        found[number] = next(name for name in tries if name.casefold() not in taken)
        taken.add(found[number].casefold())
    return tuple(found[number] for number in range(len(names)))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
