"""A session.toml that is lost, with no copy of it: what the label log and the rounds tell of classes and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.recipe import PRETRAINED, Recipe
from tomotutor.learn.start import FOLDER as START
from tomotutor.learn.start import read_card
from tomotutor.session.classes import JUNK, check_classes, fold
from tomotutor.session.label_log import Entry, replay
from tomotutor.session.session_file import SessionFile


def made_anew(
    folder: Path, entries: Iterable[Entry], records: Sequence[Mapping[str, object]]
) -> tuple[SessionFile, str]:
    """Return a session.toml, and in a sentence what it holds.

    Parameters
    ----------
    folder : Path
        The session.
    entries : iterable of Entry
        Its label log.
    records : sequence of dict
        What the database keeps of its rounds, oldest first.

    Raises
    ------
    TomoTutorError
        The log names no classes.
    """
    log = replay(entries)
    names = _first_classes(log.active, records)
    if (folder / "masks").is_dir() or not [name for name in names if name != JUNK]:
        raise TomoTutorError(
            f"{folder}: there is no copy of session.toml, and the labels do not say what its classes are"
        )
    classes = check_classes(names, junk=len(names) < 2 or JUNK in names)
    told = f"its classes are those of the labels and rounds ({', '.join(classes)}); 'tomotutor classes' adds others"
    for number in range(len(records), 0, -1):
        with suppress(TomoTutorError, TypeError):  # of another version, or damaged
            recipe = Recipe(**records[number - 1]["recipe"])  # type: ignore[arg-type]
            return SessionFile(classes, recipe), f"{told}; its settings are those of the last round that can be read"
    recipe = Recipe()
    if (folder / START).is_dir():
        recipe = Recipe(**PRETRAINED, width=read_card(folder / START)["width"])
    return SessionFile(classes, recipe.replace(between="uherding")), f"{told}; its settings are those of a new session"


def _first_classes(active: Sequence[Entry], records: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the classes that a session began with, as far as labels, changes of classes and rounds name them."""
    first, made = list[str](), set[str]()

    def named(*names: str) -> None:
        first.extend(name for name in names if name not in first and name not in made)

    for entry in active:
        if entry.action == "label":
            named(entry.label or "")
        if entry.action == "class":
            change = json.loads(entry.label or "{}")
            named(*change.get("names", ()))
            if change["do"] in ("rename", "merge", "recolour", "rekey"):
                named(change["name"])
            if change["do"] == "merge":
                named(change["to"])
            if change["do"] in ("add", "rename"):
                made.add(change["name" if change["do"] == "add" else "to"])
    for record in records:
        then, last = record.get("classes"), record.get("log", 0)
        if isinstance(then, list) and isinstance(last, int):
            classes = fold(first, [entry for entry in active if entry.seq <= last])
            named(*(name for name in then if name not in classes.names))  # nothing was said of it yet
            place = {name: n for n, name in enumerate(then)}
            first.sort(key=lambda name: place.get(classes.current(name, 0), len(place)))
    return first
