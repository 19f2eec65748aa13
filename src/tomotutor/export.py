"""Labels and predictions back to the programs they came from: RELION STAR files and CSV tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomotutor.errors import TomoTutorError
from tomotutor.files import new_file
from tomotutor.formats.relion import read_column, write_particles
from tomotutor.views import Predictions

CLASS = "_rlnClassNumber"


def write_predictions(path: Path, ids: Sequence[str], predictions: Predictions, classes: Sequence[str]) -> None:
    """Write item,class,confidence,disagreement,labeled for every item, in the order of the list."""
    columns = (predictions.class_N, predictions.confidence_N, predictions.disagreement_N, predictions.labeled_N)
    _write_csv(
        path,
        ("item", "class", "confidence", "disagreement", "labeled"),
        ((i, classes[c], f"{p:.6f}", f"{d:.6g}", int(k)) for i, c, p, d, k in zip(ids, *(c.tolist() for c in columns), strict=True)),
    )


def export_relion(
    folder: Path,
    particle_list: Path | None,
    ids: Sequence[str],
    predictions: Predictions,
    classes: Sequence[str],
    *,
    per_class: bool = False,
) -> list[Path]:
    """Write the particle list again with its classes.

    `particles.star` keeps every value as it came and gains rlnClassNumber (the class's number in `classes.csv`, from 1)
    and our _tomotutorConfidence, _tomotutorDisagreement and _tomotutorLabeled. A class number that the list had before is
    kept in `previous_class_number.csv`.

    Parameters
    ----------
    folder : Path
        Made if missing; files of an earlier export are replaced.
    particle_list : Path or None
        The original list.
    ids, predictions, classes
        Items, the answer for each, and class names.
    per_class : bool
        Also write one `particles_<class>.star` per class that has particles.

    Returns
    -------
    list of Path
        What was written.
    """
    if particle_list is None:
        raise TomoTutorError("export: the session did not come from a RELION particle list; use --format csv")
    columns = {
        CLASS: [str(c + 1) for c in predictions.class_N.tolist()],
        "_tomotutorConfidence": [f"{p:.6f}" for p in predictions.confidence_N.tolist()],
        "_tomotutorDisagreement": [f"{d:.6g}" for d in predictions.disagreement_N.tolist()],
        "_tomotutorLabeled": [str(int(k)) for k in predictions.labeled_N.tolist()],
    }
    written = [folder / "particles.star"]
    with new_file(written[0]) as path:
        write_particles(particle_list, path, columns)
    if per_class:
        for number, name in enumerate(classes):
            target = folder / f"particles_{name.replace(' ', '_')}.star"
            rows = np.flatnonzero(predictions.class_N == number)
            if not len(rows):  # RELION cannot read an empty list; one of an earlier export would be untrue now
                target.unlink(missing_ok=True)
                continue
            with new_file(target) as path:
                write_particles(particle_list, path, columns, rows)
            written.append(target)
    counts = np.bincount(predictions.class_N, minlength=len(classes)).tolist()
    written.append(folder / "classes.csv")
    _write_csv(written[-1], ("number", "class", "particles"), ((n, c, k) for n, (c, k) in enumerate(zip(classes, counts, strict=True), 1)))
    before = read_column(particle_list, CLASS)
    if before is not None:
        written.append(folder / "previous_class_number.csv")
        _write_csv(written[-1], ("item", "rlnClassNumber"), zip(ids, before, strict=True))
    return written


def _write_csv(path: Path, header: Sequence[str], rows: object) -> None:
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)  # type: ignore[arg-type]
