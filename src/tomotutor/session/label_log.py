"""The label log: its rows, and the state that follows from replaying them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One row of the append-only label log.

    Attributes
    ----------
    seq : int
        Row number, rising.
    at : str
        UTC time, ISO 8601.
    item : int
        Pool row.
    action : {"label", "unsure", "skip", "undo"}
        An undo takes back the entry `undoes`; nothing is ever deleted.
    label : str or None
        Class name of a "label".
    annotator, origin : str
        Who said it, and through what: "screen", "import" or "oracle".
    round : int
        The model that was in use (0: none yet).
    audit : {"check", "train", ""}
        Kind of audit item, "" for an ordinary query.
    predicted : str or None
        Class the model in use predicted, if it had scored the item.
    confidence, disagreement : float or None
        The model's scores of the item, likewise.
    undoes : int or None
        `seq` of the entry that an "undo" takes back.
    """

    seq: int
    at: str
    item: int
    action: str
    label: str | None = None
    annotator: str = ""
    origin: str = "screen"
    round: int = 0
    audit: str = ""
    predicted: str | None = None
    confidence: float | None = None
    disagreement: float | None = None
    undoes: int | None = None


@dataclass
class LabelState:
    """What the log says now: for each item the entries that stand, oldest first; `active` holds all of
    them in order.
    """

    standing: dict[int, list[Entry]] = field(default_factory=dict)
    active: list[Entry] = field(default_factory=list)

    def apply(self, entry: Entry) -> None:
        """Add one entry."""
        if entry.action == "undo":
            undone = next(e for e in reversed(self.active) if e.seq == entry.undoes)
            self.active.remove(undone)
            self.standing[undone.item].remove(undone)
            if not self.standing[undone.item]:
                del self.standing[undone.item]
        else:
            self.active.append(entry)
            self.standing.setdefault(entry.item, []).append(entry)

    def last(self, item: int) -> Entry | None:
        """Return the entry that holds for an item."""
        entries = self.standing.get(item)
        return entries[-1] if entries else None

    def items(self, action: str) -> list[int]:
        """Return the items whose last entry is `action`, in the order of those entries."""
        found = [entries[-1] for entries in self.standing.values() if entries[-1].action == action]
        return [e.item for e in sorted(found, key=lambda e: e.seq)]

    def label(self, item: int) -> str | None:
        """Return the class name of an item, None if it has none."""
        entry = self.last(item)
        return entry.label if entry and entry.action == "label" else None

    def labels(self) -> dict[int, str]:
        """Return the class names of all labeled items."""
        found = ((item, entries[-1].label) for item, entries in self.standing.items())
        return {item: label for item, label in found if label is not None}

    def first_answer(self, item: int) -> Entry | None:
        """Return the first label of an item that still stands: the one given without having seen an audit item's
        prediction.
        """
        return next((e for e in self.standing.get(item, ()) if e.action == "label"), None)


def replay(entries: Iterable[Entry]) -> LabelState:
    """Return the state after all entries."""
    state = LabelState()
    for entry in entries:
        state.apply(entry)
    return state
