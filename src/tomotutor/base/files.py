"""Writing that survives a crash: the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tomotutor.base.errors import TomoTutorError


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
        raise TomoTutorError(
            f"{target}: cannot be written ({problem.strerror or problem}); nothing was changed"
        ) from None


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` to write to; it replaces `target` when it is on disk."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as problem:
        raise TomoTutorError(
            f"{target}: cannot be written ({problem.strerror or problem}); nothing was changed"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
