"""STAR files, token for token through gemmi."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gemmi import cif

from tomotutor.base.errors import TomoTutorError, shown, unreadable


def read_star(path: Path) -> cif.Document:
    """Read a STAR file whose blocks have names.

    Raises
    ------
    TomoTutorError
        Missing, unreadable, or with a block that has no name.
    """
    return check_names(parse_star(path), path)


def parse_star(path: Path) -> cif.Document:
    """Parse a STAR file; its blocks may lack names.

    Raises
    ------
    TomoTutorError
        Missing or unreadable.
    """
    try:
        document = cif.read_string(path.read_text(encoding="utf-8-sig"))
    except OSError as problem:
        raise unreadable(path, problem, "a STAR file") from None
    except UnicodeDecodeError as problem:
        raise TomoTutorError(
            f"{path}: not a STAR file that can be read (byte {problem.start} is no UTF-8 text)"
        ) from None
    except (ValueError, RuntimeError) as problem:
        where = re.sub(r"^.*?:(?=\d+:)", "line ", (str(problem).splitlines() or [""])[0].replace(str(path), ""))
        raise TomoTutorError(f"{path}: not a STAR file that can be read ({shown(where.strip())})") from None
    return document


def check_names(document: cif.Document, path: Path) -> cif.Document:
    """Return a document as it is, unless one of its blocks has no name."""
    for block in document:
        if not block.name.strip():
            raise TomoTutorError(
                f"{path}: it has a block without a name ('data_'), which RELION does not read either; "
                "expected 'data_particles' (or 'data_global' in a tomogram set): name the block"
            )
    return document


def find_block(document: cif.Document, path: Path, names: Sequence[str], columns: Sequence[str]) -> cif.Block:
    """Return the block called one of `names`, or the only one that has one of `columns`."""
    for name in names:
        block = document.find_block(name)
        if block is not None:
            return block
    having = [block for block in document if any(block.find_loop(column) for column in columns)]
    if len(having) == 1:
        return having[0]
    blocks = shown(", ".join(f"data_{b.name}" for b in document)) or "no blocks"
    raise TomoTutorError(f"{path}: found {blocks}; expected a block data_{names[0]}")


def has_column(block: cif.Block, name: str) -> bool:
    """Whether a block has a column (or a single value) of that name."""
    return bool(block.find_loop(name)) or block.find_pair(name) is not None


def tags_of(block: cif.Block) -> list[str]:
    """Return the names of a block's columns and single values."""
    tags: list[str] = []
    for item in block:
        if item.loop:
            tags += item.loop.tags
        elif item.pair:
            tags.append(str(item.pair[0]))  # type: ignore[index]
    return tags


def tokens_of(block: cif.Block, path: Path, name: str) -> list[str]:
    """Return a column as it is written.

    Raises
    ------
    TomoTutorError
        There is none.
    """
    column = block.find_loop(name)
    if column:
        return list(column)
    pair = block.find_pair(name)
    if pair is not None:
        return [str(pair[1])]  # type: ignore[index]
    found = ", ".join(tag.removeprefix("_") for tag in tags_of(block)) or "no columns"
    raise TomoTutorError(
        f"{path}: block data_{shown(block.name)} lacks the column {name.removeprefix('_')}; it has {shown(found)}"
    )


def texts_of(block: cif.Block, path: Path, name: str) -> list[str]:
    """Return a column as text, without quotes."""
    tokens = tokens_of(block, path, name)
    text = {token: cif.as_string(token) for token in set(tokens)}
    return [text[token] for token in tokens]


def numbers_of(block: cif.Block, path: Path, name: str) -> np.ndarray:
    """Return a column as finite numbers.

    Raises
    ------
    TomoTutorError
        There is no such column, or a token is no finite number; the row is told.
    """
    tokens = tokens_of(block, path, name)
    try:
        values = np.array(tokens, dtype=np.float64)
    except ValueError:
        row = next(i for i, t in enumerate(tokens, start=1) if not _is_number(t))
        raise TomoTutorError(
            f"{path}: column {name.removeprefix('_')}, row {row}: found {tokens[row - 1]!r}; expected a number"
        ) from None
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
        raise TomoTutorError(
            f"{path}: column {name.removeprefix('_')}, row {row}: found {tokens[row - 1]!r}; expected a finite number"
        )
    return values


def _is_number(token: str) -> bool:
    try:
        np.array([token], dtype=np.float64)
    except ValueError:
        return False
    return True
