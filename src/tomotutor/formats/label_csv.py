"""CSV files of labels: `item,class[,annotator]` or `tomogram,star_row,class[,annotator]`.

A name that begins with `=`, `+`, `-` or `@` is a formula to a spreadsheet: it is written with an apostrophe before it,
which the reader takes off again.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from tomotutor.base.errors import TomoTutorError, shown, unreadable

_FORMULA = re.compile(r"'*[=+\-@]")


@dataclass(frozen=True)
class LabelRow:
    """One row: item id, class name, who said so ("" where the file does not tell)."""

    item: str
    label: str
    annotator: str = ""


def guarded(text: str) -> str:
    """Return a name as it is written into a cell: text to every spreadsheet."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """Return the name that `guarded` made a cell of."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def read_labels(path: Path) -> list[LabelRow]:
    """Read a label file; `star_row` counts the rows of data_particles from 1.

    Raises
    ------
    TomoTutorError
        Missing, not text, without the columns or with one twice, with an empty cell or more cells than columns, or with
        rows that contradict each other.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise unreadable(path, problem, "a CSV file") from None
    header = table[0][1] if table else []
    columns = shown(", ".join(header)) or "none"
    by_row = "item" not in header and {"tomogram", "star_row"} <= set(header)
    if "class" not in header or not ("item" in header or by_row):
        raise TomoTutorError(f"{path}: found the columns {columns}; expected item,class or tomogram,star_row,class")
    if len(set(header)) < len(header):
        raise TomoTutorError(f"{path}: two of its columns have one name ({columns}); expected each once")
    first: dict[str, tuple[int, str]] = {}
    labels = []
    for line, row in table[1:]:
        told = shown(",".join(row), 80)
        if len(row) > len(header):
            raise TomoTutorError(
                f"{path}: row {line} has {len(row)} cells ({told}), the header {len(header)}; expected as many"
            )
        cells = {name: unguarded(cell) for name, cell in zip(header, row, strict=False)}
        parts = [cells.get(name, "") for name in (("tomogram", "star_row") if by_row else ("item",))]
        item, label = ":".join(parts), cells.get("class", "")
        if not all(parts) or not label:
            raise TomoTutorError(f"{path}: row {line} is incomplete ({told}); expected {columns}")
        before, said = first.setdefault(item, (line, label))
        if said != label:
            raise TomoTutorError(
                f"{path}: rows {before} and {line} give {shown(item, 80)} two classes ({shown(said, 80)} and "
                f"{shown(label, 80)}); expected one: delete the wrong row"
            )
        labels.append(LabelRow(item, label, cells.get("annotator", "")))
    if not labels:
        raise TomoTutorError(f"{path}: no rows below the header; expected one label at least")
    return labels
