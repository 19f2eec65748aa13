"""Labels and predictions back to the programs they came from: particle lists of every format and CSV tables; one list
as another.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file, safe_names
from tomotutor.base.progress import Report
from tomotutor.data.pool import Pool
from tomotutor.data.sources import Source
from tomotutor.data.sources.images import SUFFIXES as IMAGE_SUFFIXES
from tomotutor.data.sources.tomogram import known_tomograms, measure_tomogram, read_particle_list
from tomotutor.formats.label_csv import guarded, read_labels
from tomotutor.formats.mask_png import read_mask, write_mask
from tomotutor.formats.particles.lists import LISTS, format_for, format_of, rewrite_list, write_list
from tomotutor.formats.particles.relion_sets import RelionList
from tomotutor.learn.results import Predictions
from tomotutor.session import Session

CLASS = "_rlnClassNumber"


def write_predictions(path: Path, ids: Sequence[str], predictions: Predictions, classes: Sequence[str]) -> None:
    """Write item,class,confidence,disagreement,labeled for every item, in the order of the list."""
    columns = (predictions.class_N, predictions.confidence_N, predictions.disagreement_N, predictions.labeled_N)
    # those that are left out have no line
    _write_csv(
        path,
        ("item", "class", "confidence", "disagreement", "labeled"),
        (
            (guarded(i), guarded(classes[c]), f"{p:.6f}", f"{d:.6g}", int(k))
            for i, c, p, d, k in zip(ids, *(c.tolist() for c in columns), strict=True)
            if c >= 0
        ),
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
    """Write the mask of every item as PNG (class numbers from 0, 255 void) and a table with confidence and
    disagreement.

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
            (guarded(i), guarded(f"{folder.name}/{f}"), f"{p:.6f}", f"{d:.6g}", int(k))
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


def read_answers(path: Path, session: Session) -> list[tuple[str, Any, str]]:
    """Read labels to import, each (item id, class or mask, annotator): from a CSV file, or a folder of masks."""
    if path.is_dir():
        masks = read_masks(path, session.pool, len(session.classes))
        return [(item, mask, "") for item, mask in masks.items()]
    return [(row.item, row.label, row.annotator) for row in read_labels(path)]


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
    and our _tomotutorConfidence, _tomotutorDisagreement and _tomotutorLabeled. A class number that the list had before
    is kept in `previous_class_number.csv`.

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
    particles = RelionList(particle_list)
    written = [folder / "particles.star"]
    with new_file(written[0]) as path:
        particles.write(path, columns, _kept(predictions))
    if per_class:
        for number, name in enumerate(safe_names(classes)):
            target = folder / f"particles_{name}.star"
            rows = np.flatnonzero(predictions.class_N == number)
            if not len(rows):  # RELION cannot read an empty list; one of an earlier export would be untrue now
                target.unlink(missing_ok=True)
                continue
            with new_file(target) as path:
                particles.write(path, columns, rows)
            written.append(target)
    written.append(_write_classes(folder, predictions, classes))
    before = particles.tokens(CLASS)
    if before is not None:
        written.append(folder / "previous_class_number.csv")
        _write_csv(written[-1], ("item", "rlnClassNumber"), zip(map(guarded, ids), before, strict=True))
    return written


def export_list(
    folder: Path,
    source: Source | None,
    kind: str,
    ids: Sequence[str],
    predictions: Predictions,
    classes: Sequence[str],
    *,
    per_class: bool = False,
) -> list[Path]:
    """Write the session's particle list with its classes, in some format.

    In its own format the list is written again with nothing changed but the class (and, in RELION and CSV, our
    columns); to another format it is converted. `classes.csv` has number, name and count of each class; class numbers
    that the list had are kept in `previous_class_number.csv`.

    Parameters
    ----------
    folder : Path
        Made if missing; files of an earlier export are replaced.
    source : Source or None
        The original list.
    kind : str
        A key of `LISTS`.
    ids, predictions, classes
        Items, the answer for each, and class names.
    per_class : bool
        Also write one list per class that has particles; IMOD and copick have an object for each class anyway.

    Returns
    -------
    list of Path
        What was written.
    """
    if source is None:
        raise TomoTutorError(
            f"export: the session did not come from a particle list, which --format {kind} needs; use --format csv"
        )
    own = format_of(source.file)
    if kind == own == "relion":
        return export_relion(folder, source.file, ids, predictions, classes, per_class=per_class)
    particles = read_particle_list(source)
    table, entries = particles.table, particles.entries
    names = dict.fromkeys(table.tomogram_N.tolist())
    tomograms = {name: measure_tomogram(name, entries.get(name), source, needed=False)[1] for name in names}
    if kind == "relion":
        with tempfile.TemporaryDirectory() as scratch:
            converted = Path(scratch) / "particles.star"
            write_list(table, converted, kind, tomograms)
            return export_relion(folder, converted, ids, predictions, classes, per_class=per_class)
    class_N = predictions.class_N.astype(np.int64) + 1
    labeled = table.replace(class_N=class_N, class_names=tuple(classes))
    extra = {
        "tomotutor_confidence": [f"{p:.6f}" for p in predictions.confidence_N.tolist()],
        "tomotutor_disagreement": [f"{d:.6g}" for d in predictions.disagreement_N.tolist()],
        "tomotutor_labeled": [str(int(k)) for k in predictions.labeled_N.tolist()],
    }
    ending = (
        LISTS[kind].endings[0]
        if kind not in ("imod", "copick")
        else ".mod"
        if kind == own == "imod" and source.file.is_file()
        else ""
    )
    # a model is called as its tomogram
    target = folder / (source.file.name if ending == ".mod" else f"particles{ending}" if ending else kind)
    if not ending:
        for old in [*target.glob("*.mod"), *target.glob("ExperimentRuns/*/Picks/tomotutor_0_*.json")]:
            old.unlink()

    def write(path: Path, rows: np.ndarray | None) -> None:
        if kind == own:
            rewrite_list(source.file, path, class_N, tuple(classes), rows=rows, extra=extra if kind == "csv" else None)
        else:
            write_list(labeled if rows is None else labeled.take(rows), path, kind, tomograms)

    write(target, _kept(predictions))
    written = [target]
    if per_class and kind not in ("imod", "copick"):
        for number, name in enumerate(safe_names(classes), start=1):
            rows = np.flatnonzero(class_N == number)
            path = folder / f"particles_{name}{ending}"
            if not len(rows):
                path.unlink(missing_ok=True)
                continue
            write(path, rows)
            written.append(path)
    written.append(_write_classes(folder, predictions, classes))
    if table.class_N is not None:
        before = [guarded(table.class_names[c - 1]) if table.class_names else c for c in table.class_N.tolist()]
        written.append(folder / "previous_class_number.csv")
        _write_csv(written[-1], ("item", "class"), zip(map(guarded, ids), before, strict=True))
    return written


def convert_list(source: Source, out: Path, kind: str = "", tilt_series_pixel_size: float = 0.0) -> str:
    """Write a particle list in another format.

    Parameters
    ----------
    source : Source
        The list, and what is known of its tomograms.
    out : Path
        File to write; for IMOD and copick it may be a folder.
    kind : str
        A key of `LISTS`; by default by the ending of `out`.
    tilt_series_pixel_size : float
        What the pixels of a RELION 4 list measure, Å; 0 takes the tomogram set's.

    Returns
    -------
    str
        A sentence: what was kept and what the format has no place for.
    """
    particles = read_particle_list(source)
    source, table = particles.source, particles.table
    kind = kind or format_for(out)
    if out.resolve() == source.file.resolve():
        raise TomoTutorError(f"{out}: this is the list itself; choose another name")
    if kind == "imod" and out.is_dir() and any(out.iterdir()):
        raise TomoTutorError(f"{out}: exists already and is not empty; choose another folder for the models")
    what = f"{out}: {len(table)} particles of {len(set(table.tomogram_N.tolist()))} tomograms"
    same = (
        kind == format_of(source.file)
        and not source.reading.centre
        and LISTS[kind].frame in (None, (table.unit, table.origin))
    )
    if same:
        rewrite_list(source.file, out)
        return f"{what}; every value as it was"
    dropped = write_list(table, out, kind, known_tomograms(particles), tilt_series_pixel_size)
    have = {
        "orientation": table.angles_deg_N3,
        "class": table.class_N,
        "score": table.score_N,
        "tilt range": table.tilt_range_N2,
    }
    kept = [
        "tomogram",
        "position (shifts applied)",
        *(name for name, values in have.items() if values is not None and name not in dropped),
    ]
    told = f"{what}; kept: {', '.join(kept)}" + (f"; no place for: {', '.join(dropped)}" if dropped else "")
    return told + (f"; {table.assumed}" if table.assumed else "")


def _kept(predictions: Predictions) -> np.ndarray | None:
    """Return the rows to write, None for all."""
    kept_N = predictions.class_N >= 0
    return None if kept_N.all() else np.flatnonzero(kept_N)


def _write_classes(folder: Path, predictions: Predictions, classes: Sequence[str]) -> Path:
    counts = np.bincount(predictions.class_N[predictions.class_N >= 0], minlength=len(classes)).tolist()
    path = folder / "classes.csv"
    _write_csv(
        path,
        ("number", "class", "particles"),
        ((n, guarded(c), k) for n, (c, k) in enumerate(zip(classes, counts, strict=True), 1)),
    )
    return path


def _write_csv(path: Path, header: Sequence[str], rows: object) -> None:
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)  # type: ignore[arg-type]
