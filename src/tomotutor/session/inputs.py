"""The inputs of a session: the one it was made with, and what was added to it later. All are kept in its database."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomotutor.base.errors import MovedInputError, TomoTutorError, command, reason, shown
from tomotutor.base.files import new_folder, safe_names
from tomotutor.data.overlaps import overlapping
from tomotutor.data.pool import Pool, concat
from tomotutor.data.sources import Opened, Source, open_input
from tomotutor.data.sources.copies import absolute, copy_lists, in_folder
from tomotutor.session.database import Database
from tomotutor.session.fingerprint import Fingerprint

log = logging.getLogger(__name__)

FOLDER = "added"
OVERLAP = 0.25  # of the edge of a box: picks nearer to each other are taken for the same particle
INPUTS = "inputs"  # where the database keeps them
_ADDED = "added"  # where earlier versions kept what was added; the first input was in session.toml
_ALIKE = ("box", "rescale", "low_pass", "normalise", "mean", "std", "size")


@dataclass(frozen=True)
class Input:
    """One input of a session.

    Attributes
    ----------
    prefix : str
        What its items' ids begin with, before a slash; "" for the input the session was made with.
    source : Source
        Where its items come from.
    fingerprint : Fingerprint or None
        What it looked like; None until a session of an earlier version is opened for writing.
    """

    prefix: str
    source: Source
    fingerprint: Fingerprint | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.prefix, str) or self.prefix in (".", "..") or any(c in self.prefix for c in "/\\:\0"):
            raise TomoTutorError(
                f"labels.sqlite: an added input is called {shown(str(self.prefix), 80)!r}; expected the name of a "
                f"folder in '{FOLDER}'"
            )

    def source_in(self, folder: Path) -> Source:
        """Return the source with the session's own copies of the lists."""
        return in_folder(self.source, folder / FOLDER / self.prefix if self.prefix else folder)

    def open(self, folder: Path) -> Opened:
        """Open its items from the session's own copies of the lists."""
        return self.named(open_input(self.source_in(folder)))

    def named(self, opened: Opened) -> Opened:
        """Return opened items called by their ids in the session."""
        if not self.prefix:
            return opened
        ids = tuple(f"{self.prefix}/{item_id}" for item_id in opened.pool.ids)
        return dataclasses.replace(opened, pool=dataclasses.replace(opened.pool, ids=ids))

    def recognised(self, opened: Opened, folder: Path) -> Input:
        """Return it as it is if it still looks as it did, or with what it looks like if nobody has looked yet.

        Raises
        ------
        TomoTutorError
            It is another one now: labels would move to other particles.
        """
        copied = self.source_in(folder)
        if self.fingerprint is None:
            return dataclasses.replace(self, fingerprint=Fingerprint.take(opened, copied))
        self.fingerprint.check(opened, copied)
        return self


def read_inputs(database: Database, first: Source | None = None) -> list[Input]:
    """Return all inputs of a session, the one it was made with first.

    Parameters
    ----------
    database : Database
        Its database.
    first : Source or None
        What session.toml of an earlier version has.
    """
    try:
        kept = from_json(database.meta(INPUTS, "[]"))
        if not kept and first is not None:
            kept = [Input("", first), *from_json(database.meta(_ADDED, "[]"))]
    except ValueError as problem:
        raise database.damaged(problem) from None
    prefixes = [one.prefix for one in kept]
    if not kept or prefixes[0] or "" in prefixes[1:]:
        raise database.damaged("it does not say where the items come from")
    return kept


def from_json(text: str) -> list[Input]:
    """Read what `to_json` returned; raises ValueError where it is no such thing."""
    try:
        return _from_values(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise ValueError(f"its list of inputs is not whole: {reason(problem)}") from None


def _from_values(values: list[dict]) -> list[Input]:
    return [
        Input(
            value["prefix"],
            Source.from_dict(value["source"]),
            Fingerprint.from_dict(value["fingerprint"]) if value.get("fingerprint") else None,
        )
        for value in values
    ]


def without_fingerprints(text: str) -> str:
    """Return what `to_json` returned without what the inputs looked like; ValueError where it is no such thing."""
    try:
        return json.dumps([{**value, "fingerprint": None} for value in json.loads(text)])
    except (TypeError, RecursionError) as problem:
        raise ValueError(problem) from None


def to_json(inputs: Sequence[Input]) -> str:
    """Return inputs for the database."""
    return json.dumps(
        [
            {
                "prefix": one.prefix,
                "source": one.source.to_dict(),
                "fingerprint": one.fingerprint.to_dict() if one.fingerprint else None,
            }
            for one in inputs
        ]
    )


def check_lists(inputs: Sequence[Input], folder: Path) -> None:
    """Refuse a session whose own copy of a particle list was changed; nothing else of its inputs is read."""
    for one in inputs:
        if one.fingerprint:
            one.fingerprint.check_list(one.source_in(folder))


def recognised(
    inputs: Sequence[Input], opened: Sequence[Opened], folder: Path, database: Database | None
) -> list[Input]:
    """Return inputs that still look as they did (see `Input.recognised`); what nobody has looked at yet is kept in
    `database`, where it may be written to.
    """
    found = [one.recognised(items, folder) for one, items in zip(inputs, opened, strict=True)]
    if database and found != list(inputs):
        database.set_meta(INPUTS, to_json(found))
    return found


def open_new(source: Source, first: Source, prefixes: Sequence[str]) -> tuple[Input, Opened]:
    """Open an input to add: its items are prepared as those of the session's first input, and called after its file."""
    source = absolute(source).replace(**{name: value for name, value in first.flat().items() if name in _ALIKE})
    opened = open_input(source).with_tilts_of(first)
    new = Input(safe_names([*prefixes, opened.source.file.stem])[-1], opened.source)
    return new, new.named(opened)


def copy_input(new: Input, folder: Path) -> None:
    """Copy the lists of an input into the session; what a crash left there, known to no database, is replaced."""
    target = folder / FOLDER / new.prefix
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(exist_ok=True)
    with new_folder(target) as partial:
        copy_lists(new.source, partial)


def starts(ids: Sequence[str], inputs: Sequence[Input]) -> np.ndarray:
    """Return the first row of each input, and the number of rows at the end."""
    counts = [sum(item_id.startswith(f"{one.prefix}/") for item_id in ids) for one in inputs[1:]]
    return np.cumsum([0, len(ids) - sum(counts), *counts])


def open_all(inputs: Sequence[Input], folder: Path) -> list[Opened]:
    """Open the items of all inputs.

    Raises
    ------
    TomoTutorError
        One cannot be opened; where a file is gone, it says how to tell the session that its input moved.
    """
    try:
        return [one.open(folder) for one in inputs]
    except TomoTutorError as problem:
        paths = [path for one in inputs for path in one.source_in(folder).paths().values()]
        gone = next((path for path in paths if not Path(path).exists()), None)
        if gone is None:
            raise
        hint = command("relocate", folder, "--from", gone, "--to", "THE_NEW_PLACE")
        told = f"{problem}; {gone} is not there any more: if it moved, run '{hint}'"
        raise MovedInputError(told, gone) from None


def pool_of(opened: Sequence[Opened], ids: Sequence[str]) -> Pool:
    """Return the items of all inputs as one pool, which must be those that the session was made with."""
    pool = concat([one.pool for one in opened])
    if pool.ids != ids:
        raise TomoTutorError(
            f"{opened[0].source.path}: now has {len(pool)} items, other than the {len(ids)} this session was made "
            "with; bring the original files back, or make a new session"
        )
    return pool


def overlaps(opened: Opened) -> np.ndarray:
    """Return a number for each item of an input: picks of one tomogram nearer to each other than a quarter of the edge
    of the box share it, others have their own row.
    """
    pool = opened.pool
    if opened.particles is None or not pool.voxel_size_angst:
        return np.arange(len(pool))
    table = opened.particles.table
    unit_angst = 1.0 if table.unit == "angst" else table.voxel_size_angst or pool.voxel_size_angst
    radius_angst = OVERLAP * pool.shape[-1] * pool.voxel_size_angst
    return overlapping(table.xyz_N3, table.tomogram_N, radius_angst / unit_angst)


def denoised_of(opened: Sequence[Opened]) -> Pool | None:
    """Return the same items from denoised tomograms, to look at; None where there are none, and labeling goes on."""
    try:
        found = [one.denoised() for one in opened]
    except TomoTutorError as problem:
        log.warning("no denoised tomograms: %s", problem)
        return None
    return concat([d or one.pool for d, one in zip(found, opened, strict=True)]) if any(found) else None
