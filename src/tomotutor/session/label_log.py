"""The label log: its rows, and what follows from replaying them. Append-only: undo and redo are rows, too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

NO_ITEM = -1  # the item of an entry that is about classes


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
        Pool row, `NO_ITEM` for a "class" entry.
    action : {"label", "unsure", "skip", "class", "undo", "redo"}
        An undo takes back the step `undoes`, a redo brings it back; nothing is ever deleted.
    label : str or None
        Class name of a "label", file of a mask; of a "class" entry the change (see `tomotutor.session.classes`).
    annotator, origin : str
        Who said it, and through what: "screen", "import", "oracle", or the name of a bulk step.
    round : int
        The model that was in use (0: none yet).
    audit : {"check", "train", ""}
        Kind of audit item, "" for an ordinary query.
    predicted : str or None
        Class that the program predicted, if it had an opinion of the item.
    confidence, disagreement : float or None
        Its scores of the item, likewise.
    undoes : int or None
        The step that an "undo" takes back or a "redo" brings back.
    step : int or None
        `seq` of the first of the entries that were given together and are undone together; None for a single one.
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
    step: int | None = None

    @property
    def of_step(self) -> int:
        """The step it belongs to: its own `seq` where it stands alone."""
        return self.seq if self.step is None else self.step


@dataclass
class LabelState:
    """What the log says now.

    Attributes
    ----------
    standing : dict
        For each item the entries that stand, oldest first.
    active : list of Entry
        All entries that stand, in order; those about classes are among them.
    undone : list
        Steps that were taken back and can be brought back, the last one at the end; a new answer empties it.
    """

    standing: dict[int, list[Entry]] = field(default_factory=dict)
    active: list[Entry] = field(default_factory=list)
    undone: list[list[Entry]] = field(default_factory=list)

    def apply(self, entry: Entry) -> list[Entry]:
        """Add one entry; return the entries whose items it changes."""
        # of a log that was damaged and repaired, the step that was undone may be lost
        if entry.action == "undo":
            step = [e for e in self.active if e.of_step == entry.undoes]
            self._remove(step)
            if step:
                self.undone.append(step)
            return step
        if entry.action == "redo":
            step = next((s for s in reversed(self.undone) if s[0].of_step == entry.undoes), [])
            if step:
                self.undone.remove(step)
            for e in step:
                self._add(e)
            return step
        if entry.origin != "import":
            self.undone.clear()
        self._add(entry)
        return [entry]

    def _add(self, entry: Entry) -> None:
        self.active.append(entry)
        if entry.item != NO_ITEM:
            self.standing.setdefault(entry.item, []).append(entry)

    def _remove(self, step: list[Entry]) -> None:
        gone = {e.seq for e in step}
        self.active = [e for e in self.active if e.seq not in gone]
        for item in {e.item for e in step} - {NO_ITEM}:
            rest = [e for e in self.standing[item] if e.seq not in gone]
            if rest:
                self.standing[item] = rest
            else:
                del self.standing[item]

    def last_step(self) -> list[Entry]:
        """Return the entries of the last step that undo takes back; empty where there is none. Imports stay."""
        last = next((e for e in reversed(self.active) if e.origin != "import"), None)
        return [] if last is None else [e for e in self.active if e.of_step == last.of_step]

    def last(self, item: int) -> Entry | None:
        """Return the entry that holds for an item."""
        entries = self.standing.get(item)
        return entries[-1] if entries else None

    def items(self, action: str) -> list[int]:
        """Return the items whose last entry is `action`, in the order of those entries."""
        found = [entries[-1] for entries in self.standing.values() if entries[-1].action == action]
        return [e.item for e in sorted(found, key=lambda e: e.seq)]

    def labels(self) -> dict[int, Entry]:
        """Return the entry that labels each labeled item."""
        return {item: entries[-1] for item, entries in self.standing.items() if entries[-1].action == "label"}

    def first_answer(self, item: int) -> Entry | None:
        """Return the first label of an item that still stands: given without having seen an audit item's prediction."""
        return next((e for e in self.standing.get(item, ()) if e.action == "label"), None)


def replay(entries: Iterable[Entry]) -> LabelState:
    """Return the state after all entries."""
    state = LabelState()
    for entry in entries:
        state.apply(entry)
    return state
