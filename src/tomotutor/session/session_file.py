"""session.toml: what a session is made of; and making one."""

from __future__ import annotations

import dataclasses
import logging
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

import tomotutor
from tomotutor.base.errors import TomoTutorError, shown, unreadable
from tomotutor.base.files import new_file, new_folder
from tomotutor.data.pool import Pool, find_twins
from tomotutor.data.sources import Source, open_pool, resolve, with_statistics
from tomotutor.data.sources.copies import absolute, copy_lists
from tomotutor.learn.recipe import PRESETS as PRESETS
from tomotutor.learn.recipe import Recipe, preset
from tomotutor.learn.start import SHIPPED, copy_start, find_start, load_start
from tomotutor.session.database import SessionStore

log = logging.getLogger(__name__)

Start = tuple[Path, dict[str, Any]]  # folder of the weights, and their card

JUNK = "junk"
NAME = "session.toml"


@dataclass(frozen=True)
class SessionFile:
    """Contents of session.toml."""

    classes: tuple[str, ...]
    source: Source
    recipe: Recipe

    @staticmethod
    def read(folder: Path) -> SessionFile:
        """Read it.

        Raises
        ------
        TomoTutorError
            There is none, or it is damaged.
        """
        path = folder / NAME
        try:
            values = tomllib.loads(path.read_text())
            return SessionFile(
                tuple(values["classes"]), Source.from_dict(values["source"]), Recipe.from_dict(values["recipe"])
            )
        except FileNotFoundError:
            raise TomoTutorError(f"{folder}: not a session (no {NAME} in it); make one with 'tomotutor new'") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
            mend = "the labels in labels.sqlite are not touched by that"
            raise unreadable(path, problem, "the description of a session", mend) from None

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        values = {
            "version": tomotutor.__version__,
            "classes": list(self.classes),
            "source": self.source.to_dict(),
            "recipe": self.recipe.to_dict(),
        }
        with new_file(folder / NAME) as path:
            path.write_text(tomli_w.dumps(values))

    def with_recipe(self, recipe: Recipe) -> SessionFile:
        """Return a copy with other settings."""
        return dataclasses.replace(self, recipe=recipe)

    def with_source(self, source: Source) -> SessionFile:
        """Return a copy with its input described otherwise."""
        return dataclasses.replace(self, source=source)


def check_classes(names: Sequence[str], *, junk: bool = True) -> tuple[str, ...]:
    """Return the classes of a session: as given, `junk` last unless it is refused.

    Raises
    ------
    TomoTutorError
        A name is empty, doubled, no single line of text or a formula to a spreadsheet, or there are fewer than two.
    """
    cleaned = [name.strip() for name in names]
    for name in cleaned:
        if not 0 < len(name) <= 60 or not name.isprintable() or name[0] in "=@" or "," in name:
            raise TomoTutorError(
                f"class {shown(name, 80)!r} is no usable name; expected up to 60 printable characters without a comma, "
                "the first not '=' or '@'"
            )
    if len(set(map(str.lower, cleaned))) < len(cleaned):
        raise TomoTutorError(f"classes {', '.join(cleaned)}: a name is there twice; expected each once")
    if junk:
        cleaned = [name for name in cleaned if name.lower() != JUNK] + [JUNK]
    if len(cleaned) < 2:
        raise TomoTutorError(
            f"classes: found only {', '.join(cleaned) or 'none'}; expected two at least (junk, if not refused, is one)"
        )
    return tuple(cleaned)


@dataclass(frozen=True)
class Created:
    """What a new session holds: items, boxes that leave their tomogram, exact duplicates."""

    items: int
    padded: int
    outside: int
    duplicates: int


def _recipe(
    name: str, source: Source, pool: Pool, task: str, settings: dict[str, str], start: str
) -> tuple[Recipe, Start | None]:
    """Return the recipe of a new session, and the start that goes with it."""
    task = task or ("segmentation" if pool.truth_mask else "classification")
    if task == "segmentation" and pool.ndim != 2:
        raise TomoTutorError(f"{source.path}: segmentation works on images, and these items are volumes")
    base = preset(name, pool.ndim, source.kind, task)
    start = start or settings.get("start", "")
    scratch = base.with_settings({**settings, "task": task, "start": "scratch"})
    if task == "segmentation":
        from tomotutor.learn.strategies import check_per_pixel

        check_per_pixel(scratch.strategy)
    if (start or base.start) == "scratch":
        return scratch, None
    chosen = base.with_settings({**settings, "task": task, "start": "pretrained"})
    folder, card = find_start(start or "pretrained")
    if _fits(chosen, pool, card):
        return chosen.replace(width=card["width"]), (folder, card)
    if not start:  # nobody asked for it: it is what the preset starts from where it can
        return scratch, None
    raise TomoTutorError(
        f"start {start}: these weights are for volumes with a class for each, and for a {card['teacher']} of width "
        f"{card['width']:g}; choose the start scratch, or leave teacher, stem and width as they are"
    )


def _fits(recipe: Recipe, pool: Pool, card: dict[str, Any]) -> bool:
    """Whether weights with this card can be loaded into the recipe's networks for a pool."""
    stems = [value.replace("auto", "3s2") for value in (recipe.stem, card.get("stem", "auto"))]
    return (
        pool.ndim == 3
        and pool.shape[0] == 1
        and recipe.task == "classification"
        and recipe.student == "shallow"
        and recipe.teacher == card["teacher"]
        and stems[0] == stems[1]
        and recipe.width in (0.0, card["width"])
    )


def _read_through(folder: Path, recipe: Recipe, pool: Pool) -> None:
    """Load weights once, so that a session is not made with broken ones."""
    from tomotutor.learn.models import build_pair

    edge = min(pool.shape[1:])
    pair = build_pair(
        recipe.teacher, ndim=3, channels=1, edge=edge, classes=2, width=recipe.width, seed=0, stem=recipe.stem
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
    report: Callable[[int, int], None] | None = None,
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
        Called with items read and items in all.

    Raises
    ------
    TomoTutorError
        Anything is wrong with the input; no folder is left behind.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TomoTutorError(f"{folder}: exists already and is not empty; choose another name for the session")
    source = absolute(resolve(source))
    pool = open_pool(source)
    settings = settings or {}
    chosen, found = _recipe(recipe, source, pool, task or settings.get("task", ""), settings, start)
    if not classes and not pool.class_names:
        raise TomoTutorError(
            f"{source.path}: the input does not say what its classes are; name them with --classes A,B,C"
        )
    if found and found[0] != SHIPPED:
        _read_through(found[0], chosen, pool)
    names = check_classes(classes or pool.class_names, junk=junk and bool(classes) and chosen.task == "classification")
    source = with_statistics(source, pool)
    pool = open_pool(source)
    twin_N = find_twins(pool, report)
    if folder.exists():
        folder.rmdir()
    with new_folder(folder) as partial:
        copy_lists(source, partial)
        if found:
            copy_start(*found, partial)
        SessionFile(names, source, chosen).write(partial)
        SessionStore.create(partial, pool.ids, twin_N)
    padded = int(pool.padded_N.sum()) if len(pool.padded_N) else 0
    outside = 0
    if padded:
        outside = sum(not np.any(pool.read(np.array([row]))) for row in np.flatnonzero(pool.padded_N))
    duplicates = int((twin_N != np.arange(len(pool))).sum())
    return Created(len(pool), padded, outside, duplicates)
