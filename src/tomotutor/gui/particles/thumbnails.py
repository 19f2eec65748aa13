"""Small pictures of particles, made in a thread of their own and kept."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
import psygnal
from qtpy.QtGui import QImage

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.background import hear_threads
from tomotutor.gui.label.slices import to_image

log = logging.getLogger(__name__)

_KEPT = 20_000  # pictures in memory, of 1 to 4 KB
_AT_ONCE = 16  # pictures between two looks at what is wanted now


class Thumbnails:
    """Makes pictures of rows and keeps them. `made` tells that some are there.

    Parameters
    ----------
    picture : callable
        Pool row to (y, x) or (y, x, 3) from 0 to 1; called in the thread.
    """

    made = psygnal.Signal()
    _made = psygnal.Signal()  # the same, in the thread

    def __init__(self, picture: Callable[[int], np.ndarray]) -> None:
        self._picture = picture
        self._images: OrderedDict[int, QImage] = OrderedDict()
        self._wanted: list[int] = []
        self._wake = threading.Condition()
        self._age = 0  # pictures of an earlier one are thrown away
        self._ended = False
        hear_threads()
        self._made.connect(self._tell, thread="main")
        self._thread = threading.Thread(target=self._make, name="tomotutor-thumbnails", daemon=True)
        self._thread.start()

    def get(self, row: int) -> QImage | None:
        """Return the picture of a row, None where it is not made yet."""
        return self._images.get(row)

    def want(self, rows: Iterable[int]) -> None:
        """Make the pictures of these rows next; others that wait are given up."""
        missing = [row for row in rows if row not in self._images]
        with self._wake:
            self._wanted = missing
            if missing:
                self._wake.notify()

    def forget(self) -> None:
        """Make every picture anew when it is next wanted."""
        with self._wake:
            self._age += 1
            self._images.clear()

    def stop(self) -> None:
        """End the thread; it needs no waiting for."""
        with self._wake:
            self._ended = True
            self._wake.notify()

    def _tell(self) -> None:
        if not self._ended:
            self.made.emit()

    def _make(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._wanted or self._ended)
                if self._ended:
                    return
                rows, self._wanted = self._wanted[:_AT_ONCE], self._wanted[_AT_ONCE:]
                age = self._age
            found = {row: self._one(row) for row in rows}
            with self._wake:
                if self._ended:
                    return
                if age == self._age:
                    self._images.update(found)
                while len(self._images) > _KEPT:
                    self._images.popitem(last=False)
            self._made.emit()

    def _one(self, row: int) -> QImage:
        try:
            return to_image(self._picture(row))
        except TomoTutorError as problem:  # a file that vanished: an empty cell, and the page says why elsewhere
            log.warning("%s", problem)
        except Exception:
            log.exception("no picture of item %d", row)
        return QImage(1, 1, QImage.Format.Format_Grayscale8)
