"""Labels and predictions back to the programs they came from: RELION STAR files and CSV tables."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tomotutor.errors import TomoTutorError
from tomotutor.files import new_file
from tomotutor.formats.mask_png import read_mask, write_mask
from tomotutor.formats.relion import read_column, write_particles
from tomotutor.pool import Pool
from tomotutor.progress import Report
from tomotutor.sources.images import SUFFIXES as IMAGE_SUFFIXES
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


def mask_files(ids: Sequence[str]) -> list[str]:
    """Return the name of each item's mask: its id with .png in place of an image's ending, subfolders kept."""
    if any(Path(i).is_absolute() or ".." in Path(i).parts for i in ids):
        raise TomoTutorError(f"export: an item is called like {ids[0]!r}; expected names that stay inside a folder")
    short = [f"{i.removesuffix(Path(i).suffix) if Path(i).suffix.lower() in IMAGE_SUFFIXES else i}.png" for i in ids]
    return short if len(set(short)) == len(ids) else [f"{i}.png" for i in ids]


def export_masks(
    folder: Path,
    ids: Sequence[str],
    predict: Callable[[Callable[[int, np.ndarray], None], Report], Predictions],
    report: Report,
    table: Path,
) -> list[Path]:
    """Write the mask of every item as PNG (class numbers from 0, 255 void) and a table with confidence and disagreement.

    Parameters
    ----------
    folder : Path
        Where the masks go, subfolders as in the ids.
    ids : sequence of str
        Item ids.
    predict : callable
        Gives every row and mask to its first argument, as `Session.predict_masks` does.
    report : callable
        Progress.
    table : Path
        CSV file: item,mask,confidence,disagreement,labeled.

    Returns
    -------
    list of Path
        The table, then the masks.
    """
    files = mask_files(ids)

    def write(row: int, mask_YX: np.ndarray) -> None:
        with new_file(folder / files[row]) as path:
            write_mask(path, mask_YX)

    predictions = predict(write, report)
    columns = (predictions.confidence_N, predictions.disagreement_N, predictions.labeled_N)
    _write_csv(
        table,
        ("item", "mask", "confidence", "disagreement", "labeled"),
        (
            (i, f"{folder.name}/{f}", f"{p:.6f}", f"{d:.6g}", int(k))
            for i, f, p, d, k in zip(ids, files, *(c.tolist() for c in columns), strict=True)
        ),
    )
    return [table, *(folder / f for f in files)]


def read_masks(folder: Path, pool: Pool, classes: int) -> dict[str, np.ndarray]:
    """Read a folder of masks, named as `export_masks` names them; items without one are left out.

    Raises
    ------
    TomoTutorError
        A PNG belongs to no item, or is no mask of this session's size and classes.
    """
    if not folder.is_dir():
        raise TomoTutorError(f"{folder}: no such folder")
    item_of = dict(zip(mask_files(pool.ids), pool.ids, strict=True))
    found = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*.png"))}
    unknown = next((name for name in found if name not in item_of), None)
    if unknown or not found:
        wrong = f"mask {unknown} belongs to no item" if unknown else "no .png files"
        raise TomoTutorError(f"{folder}: {wrong}; expected names like {next(iter(item_of))}")
    return {item_of[name]: read_mask(path, pool.shape[1:], classes) for name, path in found.items()}


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
