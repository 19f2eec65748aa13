"""Masks that a person gave: masks/ in the session's folder, a PNG for each answer, never changed and never deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.formats.image import open_image
from tomotutor.formats.mask_png import VOID, check_mask, read_mask, write_mask

Shape = Callable[[], tuple[int, ...]]


class Masks:
    """The masks of a session. The label log names their files; a file is on disk before the log names it.

    Parameters
    ----------
    folder : Path
        The session.
    shape : callable
        Returns (y, x) of every item; asked for when a mask is read or written, as it may open the input.
    classes : int
        Number of classes.
    """

    def __init__(self, folder: Path, shape: Shape, classes: int) -> None:
        self._folder = folder / "masks"
        self._shape = shape
        self._classes = classes
        self._present: dict[str, frozenset[int]] = {}

    def write(self, row: int, mask_YX: np.ndarray, source: str) -> str:
        """Put a mask on disk and return its file's name, which says the item's row and what is in it.

        Raises
        ------
        TomoTutorError
            `source` is no mask of this session, or cannot be written.
        """
        mask = check_mask(np.asarray(mask_YX), self._shape(), self._classes, source)
        name = f"{row:06d}-{hashlib.blake2b(mask.tobytes(), digest_size=6).hexdigest()}.png"
        if not (self._folder / name).is_file():  # the same mask again is the same file
            with new_file(self._folder / name) as path:
                write_mask(path, mask)
        return name

    def read(self, name: str) -> np.ndarray:
        """Return a mask, (y, x) uint8."""
        return read_mask(self._folder / Path(name).name, self._shape(), self._classes)

    def present(self, name: str) -> frozenset[int]:
        """Return the classes in a mask; each file is read once, and the input stays closed."""
        if name not in self._present:
            mask = read_mask(self._folder / Path(name).name, None, self._classes)
            self._present[name] = frozenset(int(c) for c in np.unique(mask) if c != VOID)
        return self._present[name]

    def can_read(self, name: str) -> bool:
        """Whether the file of a mask is there and whole."""
        try:
            with open_image(self._folder / Path(name).name, "a PNG", ("PNG",), palette=1) as image:
                image.load()
        except TomoTutorError:
            return False
        return True
