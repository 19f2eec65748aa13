"""Queue: the order in which items are asked, and the trail of those already shown."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

TRAIL = 500  # items one can go back


class Queue:
    """Waiting rows and shown rows.

    Parameters
    ----------
    is_open : callable
        Whether a row still wants an answer; rows that got one elsewhere (by an import, say) are passed over.
    shown : iterable of int
        Rows answered before, the last one last, so that one can go back to them.
    """

    def __init__(self, is_open: Callable[[int], bool], shown: Iterable[int] = ()) -> None:
        self._is_open = is_open
        self._waiting: list[int] = []
        self._shown = list(shown)[-TRAIL:]
        self._position = len(self._shown)

    @property
    def current(self) -> int | None:
        """The row in front of the annotator, None when nothing is left."""
        return self._shown[self._position] if 0 <= self._position < len(self._shown) else None

    def refill(self, rows: Iterable[int]) -> None:
        """Replace what waits; what is in front of the annotator stays there."""
        ahead = set(self._shown[max(0, self._position) :])
        self._waiting = [row for row in rows if row not in ahead]
        if self.current is None:
            self.advance()

    def clear(self) -> None:
        """Forget everything."""
        self._waiting, self._shown, self._position = [], [], 0

    def advance(self) -> None:
        """Go on: first through rows that were shown before one went back, then to the first that waits."""
        while self._position + 1 < len(self._shown):
            self._position += 1
            if self._is_open(self._shown[self._position]):
                return
        self._shown = self._shown[-TRAIL:]
        while self._waiting:
            row = self._waiting.pop(0)
            if self._is_open(row):
                self._shown.append(row)
                self._position = len(self._shown) - 1
                return
        self._position = len(self._shown)

    def postpone(self, row: int) -> None:
        """Put a row to the very end and, if it is the current one, go on."""
        self._waiting = [r for r in self._waiting if r != row] + [row]
        if self.current == row:
            # it waits at the end now: leave it behind without meeting it again on the trail ahead
            self._shown = [r for i, r in enumerate(self._shown) if r != row or i <= self._position]
            self.advance()

    def back(self) -> bool:
        """Show the row before the current one; False at the beginning of the trail."""
        if self._position <= 0:
            return False
        self._position -= 1
        return True

    def show(self, row: int) -> None:
        """Show a row now; the current one comes after it."""
        if self.current != row:
            self._position = max(0, min(self._position, len(self._shown)))
            self._shown.insert(self._position, row)

    def upcoming(self, n: int) -> list[int]:
        """Return the next n open rows after the current one."""
        found: dict[int, None] = {}
        current = self.current
        for row in itertools.chain(self._shown[self._position + 1 :], self._waiting):
            if len(found) >= n:
                break
            if row != current and row not in found and self._is_open(row):
                found[row] = None
        return list(found)
