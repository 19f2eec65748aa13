"""Making a session: its input is read once, and everything it needs is copied into its folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_folder
from tomotutor.base.progress import Report, ignore
from tomotutor.data.pool import Pool, find_twins
from tomotutor.data.sources import Opened, Source, open_input
from tomotutor.data.sources.copies import absolute, copy_lists
from tomotutor.learn.recipe import PRESETS as PRESETS
from tomotutor.learn.recipe import Recipe, preset
from tomotutor.learn.start import SHIPPED, copy_start, find_start, load_start
from tomotutor.learn.task_rules import rules_of
from tomotutor.session.classes import check_classes
from tomotutor.session.database import Database
from tomotutor.session.inputs import INPUTS, Input, to_json
from tomotutor.session.session_file import SessionFile

log = logging.getLogger(__name__)

Start = tuple[Path, dict[str, Any]]  # folder or file of the weights, and their card
_CHANNELS = {2: (1, 3), 3: (1,)}


@dataclass(frozen=True)
class Created:
    """A new session.

    Attributes
    ----------
    items, padded, outside, duplicates : int
        Items; boxes that leave their tomogram, in part and altogether; exact duplicates.
    opened : Opened
        The input, for whoever goes on with the session (see `Session`).
    """

    items: int
    padded: int
    outside: int
    duplicates: int
    opened: Opened


def _recipe(
    name: str, source: Source, pool: Pool, task: str, settings: dict[str, str], start: str
) -> tuple[Recipe, Start | None]:
    """Return the recipe of a new session, and the start that goes with it."""
    task = task or ("segmentation" if pool.truth_mask else "classification")
    if pool.ndim not in rules_of(task).app:
        words = {2: "images", 3: "volumes"}
        fitting = " and ".join(words[ndim] for ndim in rules_of(task).app)
        raise TomoTutorError(
            f"{source.path}: {task} works on {fitting}, and these items are {words[pool.ndim]}; choose another --task"
        )
    base = preset(name, pool.ndim, source.kind, task)
    start = start or settings.get("start", "")
    scratch = base.with_settings({**settings, "task": task, "start": "scratch"})
    if (start or base.network.start) == "scratch":
        return scratch, None
    folder, card = find_start(start or "pretrained")
    if task == "classification" and "teacher" not in settings and start:  # it brings its network
        base, scratch = (recipe.replace(teacher=card["teacher"]) for recipe in (base, scratch))
    if _fits(scratch, pool, card):
        chosen = base.pretrained(pool.ndim) if name == "app" else base
        chosen = chosen.with_settings({**settings, "task": task, "start": "pretrained"})
        return chosen.replace(width=card["width"]), (folder, card)
    if not start:  # nobody asked for it: it is what the preset starts from where it can
        return scratch, None
    raise TomoTutorError(
        f"start {start}: these weights are for {_meant(card)} with a class for each, and for the network "
        f"{card['teacher']} of width {card['width']:g}; choose the start scratch, or leave teacher, stem and width as "
        "they are"
    )


def _meant(card: dict[str, Any]) -> str:
    if card.get("ndim", 3) == 3:
        return "volumes"
    return f"images{' of more than 64 pixels' if card['stem'] == '7s2pool' else ''}, in grey or RGB,"


def _fits(recipe: Recipe, pool: Pool, card: dict[str, Any]) -> bool:
    """Whether weights with this card can be loaded into the recipe's networks for a pool."""
    ndim = card.get("ndim", 3)
    usual = "3s2" if ndim == 3 else _stem_for_images(min(pool.shape[1:]))
    stems = [value.replace("auto", usual) for value in (recipe.network.stem, card.get("stem", "auto"))]
    return (
        pool.ndim == ndim
        and pool.shape[0] in _CHANNELS[ndim]
        and recipe.network.student == "shallow"
        and recipe.network.teacher == card["teacher"]
        and stems[0] == stems[1]
        and recipe.network.width in (0.0, card["width"])
    )


def _stem_for_images(edge: int) -> str:
    from tomotutor.learn.models.pair import default_stem

    return default_stem(2, edge)


def _read_through(folder: Path, recipe: Recipe, pool: Pool) -> None:
    """Load weights once, so that a session is not made with broken ones."""
    from tomotutor.learn.models import build_pair

    edge = min(pool.shape[1:])
    pair = build_pair(
        recipe.network.teacher,
        ndim=pool.ndim,
        channels=pool.shape[0],
        edge=edge,
        classes=2,
        width=recipe.network.width,
        seed=0,
        stem=recipe.network.stem,
    )
    load_start(pair, folder)


def create_session(
    folder: Path,
    source: Source,
    classes: Sequence[str] = (),
    *,
    junk: bool = True,
    task: str = "",
    recipe: str = "app",
    settings: dict[str, str] | None = None,
    start: str = "",
    report: Report = ignore,
) -> Created:
    """Make a session folder; every item is read once, so that broken input is found now.

    Parameters
    ----------
    folder : Path
        Must not exist, or be empty.
    source : Source
        The input; relative paths are resolved against the working folder.
    classes : sequence of str
        Class names; none: those of the data set, if it has any.
    junk : bool
        Add the class `junk`: not to the classes of a data set, and not in segmentation.
    task : {"classification", "segmentation", ""}
        A class for each item or for each pixel; "" takes what the data set is made for.
    recipe : str
        Name of a preset.
    settings : dict of str to str
        Settings to change in it.
    start : str
        "scratch", "pretrained", a folder of weights or a session; "" takes the preset's (see `tomotutor.learn.start`).
    report : callable
        Progress of reading the items.

    Raises
    ------
    TomoTutorError
        Anything is wrong with the input; no folder is left behind.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TomoTutorError(f"{folder}: exists already and is not empty; choose another name for the session")
    opened = open_input(absolute(source))
    source, pool = opened.source, opened.pool
    settings = settings or {}
    chosen, found = _recipe(recipe, source, pool, task or settings.get("task", ""), settings, start)
    if not classes and not pool.class_names:
        raise TomoTutorError(
            f"{source.path}: the input does not say what its classes are; name them with --classes A,B,C"
        )
    if found and found[0] != SHIPPED:
        _read_through(found[0], chosen, pool)
    names = check_classes(classes or pool.class_names, junk=junk and bool(classes) and rules_of(chosen.task).junk)
    opened = opened.with_statistics()
    source, pool = opened.source, opened.pool
    twin_N = find_twins(pool, report)
    if folder.exists():
        folder.rmdir()
    with new_folder(folder) as partial:
        copy_lists(source, partial)
        if found:
            copy_start(*found, partial, channels=pool.shape[0])
        SessionFile(names, chosen).write(partial)
        first = Input("", source).recognised(opened, partial)
        Database.create(partial, pool.ids, twin_N, {INPUTS: to_json([first])})
    outside = sum(not np.any(pool.read(np.array([row]))) for row in np.flatnonzero(pool.padded_N))
    duplicates = int((twin_N != np.arange(len(pool))).sum())
    return Created(len(pool), int(pool.padded_N.sum()), outside, duplicates, opened)
