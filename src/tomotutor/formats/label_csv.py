"""CSV files of labels: `item,class[,annotator]` or `tomogram,star_row,class[,annotator]`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from tomotutor.base.errors import TomoTutorError


@dataclass(frozen=True)
class LabelRow:
    """One row: item id, class name, who said so ("" where the file does not tell)."""

    item: str
    label: str
    annotator: str = ""


def read_labels(path: Path) -> list[LabelRow]:
    """Read a label file; `star_row` counts the rows of data_particles from 1.

    Raises
    ------
    TomoTutorError
        Missing, not text, without the columns, or with an empty cell.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            table = [row for row in csv.reader(handle) if row]
    except FileNotFoundError:
        raise TomoTutorError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise TomoTutorError(f"{path}: not a CSV file that can be read ({problem})") from None
    header = [name.strip() for name in table[0]] if table else []
    by_row = "item" not in header and {"tomogram", "star_row"} <= set(header)
    if "class" not in header or not ("item" in header or by_row):
        raise TomoTutorError(
            f"{path}: found the columns {', '.join(header) or 'none'}; expected item,class or tomogram,star_row,class"
        )
    labels = []
    for line, row in enumerate(table[1:], start=2):
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        item = f"{cells.get('tomogram')}:{cells.get('star_row')}" if by_row else cells.get("item", "")
        if not item or not cells.get("class"):
            raise TomoTutorError(f"{path}: row {line} is incomplete ({','.join(row)}); expected {','.join(header)}")
        labels.append(LabelRow(item, cells["class"], cells.get("annotator", "")))
    if not labels:
        raise TomoTutorError(f"{path}: no rows below the header; expected one label at least")
    return labels
