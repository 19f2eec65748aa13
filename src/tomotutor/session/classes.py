"""The classes of a session: names, colours and keys; how they change in midstream, by entries of the label log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tomotutor.base.errors import TomoTutorError
from tomotutor.session.label_log import Entry

JUNK = "junk"
MOST_CHARACTERS = 60


def check_name(name: str) -> str:
    """Return a class name without the blanks around it.

    Raises
    ------
    TomoTutorError
        It is empty, too long, holds control characters, or would be taken for a formula by a spreadsheet.
    """
    name = name.strip()
    if not name or len(name) > MOST_CHARACTERS or not name.isprintable() or re.match(r"[=@.]", name) or "," in name:
        raise TomoTutorError(
            f"class {name[:MOST_CHARACTERS]!r} is no usable name; expected up to {MOST_CHARACTERS} characters, without "
            "a comma, and without '=', '@' or '.' at the front"
        )
    return name


def check_classes(names: Sequence[str], *, junk: bool = True) -> tuple[str, ...]:
    """Return the classes of a session: as given, `junk` last unless it is refused.

    Raises
    ------
    TomoTutorError
        A name cannot be used or is there twice, or there are fewer than two classes.
    """
    cleaned = [check_name(name) for name in names]
    _refuse_doubles(cleaned)
    if junk:
        cleaned = [name for name in cleaned if name.lower() != JUNK] + [JUNK]
    if len(cleaned) < 2:
        found = ", ".join(cleaned) or "none"
        raise TomoTutorError(f"classes: found only {found}; expected two at least (junk, if not refused, is one)")
    return tuple(cleaned)


def _refuse_doubles(names: Sequence[str]) -> None:
    if len({name.lower() for name in names}) < len(names):
        raise TomoTutorError(f"classes {', '.join(names)}: a name is there twice; expected each once")


@dataclass(frozen=True)
class Classes:
    """The classes in force, in their order: class n of an export is the n-th, from 1.

    Attributes
    ----------
    names : tuple of str
        Their names.
    colours, keys : dict of str to str
        Where the person chose one: "#rrggbb", a single character.
    became : tuple
        (seq, old name, new name) of each renaming and merging, in order.
    """

    names: tuple[str, ...]
    colours: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    became: tuple[tuple[int, str, str], ...] = ()

    def current(self, name: str, seq: int) -> str:
        """Return what a class is called today that entry `seq` called `name`."""
        for at, old, new in self.became:
            if at > seq and name == old:
                name = new
        return name

    def today(self, names: Sequence[str], seq: int) -> list[int]:
        """Return the number of each class today that a model trained when the log ended at `seq` called by these names.

        −1: the class is gone.
        """
        number_of = {name: n for n, name in enumerate(self.names)}
        return [number_of.get(self.current(name, seq), -1) for name in names]

    def number(self, name: str) -> int:
        """Return the number of a class, from 0.

        Raises
        ------
        TomoTutorError
            There is no such class.
        """
        if name not in self.names:
            raise TomoTutorError(f"class {name!r} is not one of {', '.join(self.names)}")
        return self.names.index(name)

    def changed(self, change: Mapping[str, object], seq: int) -> Classes:
        """Return the classes after one change, see `add`, `rename`, `merge`, `reorder`, `recolour` and `rekey`."""
        what, names = str(change["do"]), list(self.names)
        name, to = str(change.get("name", "")), str(change.get("to", ""))
        if what == "add":
            # before junk, which stays the last one
            names.insert(len(names) - (names[-1] == JUNK), name)
            return Classes(tuple(names), self.colours, self.keys, self.became)
        if what in ("rename", "merge"):
            names = [to if n == name else n for n in names] if what == "rename" else [n for n in names if n != name]
            kept = [
                {(to if k == name and what == "rename" else k): v for k, v in d.items() if k == name or k in names}
                for d in (self.colours, self.keys)
            ]
            if what == "merge":
                kept = [{k: v for k, v in d.items() if k in names} for d in kept]
            return Classes(tuple(names), kept[0], kept[1], (*self.became, (seq, name, to)))
        if what == "reorder":
            return Classes(tuple(str(n) for n in change["names"]), self.colours, self.keys, self.became)  # type: ignore[attr-defined]
        if what == "recolour":
            return Classes(self.names, {**self.colours, name: to}, self.keys, self.became)
        if what == "rekey":
            free = {k: v for k, v in self.keys.items() if v != to}
            return Classes(self.names, self.colours, {**free, name: to}, self.became)
        raise TomoTutorError(f"labels.sqlite: a change of classes is called {what!r}, which this version does not know")


def fold(first: Sequence[str], entries: Iterable[Entry]) -> Classes:
    """Return the classes in force: those a session was made with, and all changes that stand in its log."""
    classes = Classes(tuple(first))
    for entry in entries:
        if entry.action == "class":
            classes = classes.changed(json.loads(entry.label or "{}"), entry.seq)
    return classes


def _text(what: str, **values: object) -> str:
    return json.dumps({"do": what, **values}, ensure_ascii=False)


def add(classes: Classes, name: str) -> str:
    """Return the change that adds a class, as the log keeps it."""
    name = check_name(name)
    _refuse_doubles([*classes.names, name])
    return _text("add", name=name)


def rename(classes: Classes, name: str, to: str) -> str:
    """Return the change that gives a class another name; its labels go along."""
    classes.number(name)
    to = check_name(to)
    _refuse_doubles([*(n for n in classes.names if n != name), to])
    return _text("rename", name=name, to=to)


def merge(classes: Classes, name: str, into: str) -> str:
    """Return the change that makes one class part of another: its labels become those of the other, it is gone."""
    classes.number(name), classes.number(into)
    if name == into or len(classes.names) < 3:
        raise TomoTutorError(f"class {name!r} cannot become part of {into!r}; expected two classes of three at least")
    return _text("merge", name=name, to=into)


def reorder(classes: Classes, names: Sequence[str]) -> str:
    """Return the change that puts the classes into another order."""
    if sorted(names) != sorted(classes.names):
        raise TomoTutorError(f"order {', '.join(names)}: expected each of {', '.join(classes.names)} once")
    return _text("reorder", names=list(names))


def recolour(classes: Classes, name: str, colour: str) -> str:
    """Return the change that gives a class a colour, "#rrggbb"."""
    classes.number(name)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise TomoTutorError(f"colour {colour!r}: expected one such as #1f77b4")
    return _text("recolour", name=name, to=colour.lower())


def rekey(classes: Classes, name: str, key: str) -> str:
    """Return the change that gives a class a key; another class that had it loses it."""
    classes.number(name)
    if not re.fullmatch(r"[0-9a-z]", key):
        raise TomoTutorError(f"key {key!r}: expected a digit or a letter")
    return _text("rekey", name=name, to=key)
