"""Commands on a session: make it, label, train, and take the answer out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tomotutor.cli.common import (
    Commands,
    add_command,
    add_set_argument,
    add_source_arguments,
    describe_point,
    open_window,
    point_json,
    print_json,
    read_settings,
    read_source,
    show_progress,
    split_names,
)
from tomotutor.formats.particles import EXPORTED
from tomotutor.learn.recipe import CHOICES, PRESETS


def _new(args: argparse.Namespace) -> None:
    from tomotutor.session import Session
    from tomotutor.session.create import create_session

    made = create_session(
        Path(args.session),
        read_source(args),
        split_names(args.classes),
        junk=not args.no_junk,
        task=args.task,
        recipe=args.recipe,
        settings=read_settings(args.set),
        start=args.start,
        report=show_progress,
    )
    print(f"{args.session}: {made.items} items")
    if made.padded:
        wholly = (
            f", {made.outside} of them lie outside altogether: check voxel size and tomogram" if made.outside else ""
        )
        print(
            f"warning: {made.padded} boxes leave their tomogram; what is missing is filled with the mean{wholly}",
            file=sys.stderr,
        )
    if made.duplicates:
        print(
            f"warning: {made.duplicates} items are exact duplicates of others; each set is asked once and shares its "
            "label",
            file=sys.stderr,
        )
    with Session(args.session, opened=made.opened) as session:
        session.map_pool(show_progress)
    if session.pool_map is not None:
        print("starts from pretrained networks: typical members of groups that look alike are asked first")


def _relocate(args: argparse.Namespace) -> None:
    from tomotutor.session.relocate import relocate_session

    count = relocate_session(Path(args.session), args.old, args.new)
    print(f"{args.session}: its {count} items are read from {args.new} now")


def _add(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    source = read_source(args)
    with Session(args.session) as session:
        count, duplicates = session.add_items(source, show_progress)
    print(f"{args.session}: {count} items added, called like {session.ids[-1]}; {len(session.ids)} in all")
    if duplicates:
        print(
            f"warning: {duplicates} of them are exact duplicates; each set is asked once and shares its label",
            file=sys.stderr,
        )


def _label(args: argparse.Namespace) -> None:
    from tomotutor.session.session_file import SessionFile

    SessionFile.read(Path(args.session))  # a wrong folder should not cost a start of napari
    open_window(Path(args.session))


def _status(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    with Session(args.session, write=False) as session:
        status = session.status
        padded = int(session.pool.padded_N.sum()) if args.json else 0
        overlapping = int((session.overlaps_N > 0).sum()) if args.json else 0
    if args.json:
        print_json(
            {
                "items": status.items,
                "labeled": status.labeled,
                "unsure": status.unsure,
                "skipped": status.skipped,
                "round": status.round,
                "audit_accuracy": status.audit.accuracy,
                "audit_interval": status.audit.interval,
                "audit_n": status.audit.n,
                "audit_skipped": status.audit.skipped,
                "classes": status.counts,
                "padded": padded,
                "overlapping": overlapping,
                "strategy": session.recipe.query.strategy,
            }
        )
        return
    print(f"items     {status.items}")
    print(f"labeled   {status.labeled} ({', '.join(f'{name} {count}' for name, count in status.counts.items())})")
    print(f"unsure    {status.unsure}, skipped {status.skipped}")
    print(f"round     {status.round}; {status.since_round} of {status.due_at} labels towards the next")
    print(f"accuracy  {status.audit.describe() if status.round else 'no model yet'}")


def _queue(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    with Session(args.session, write=False) as session:
        current = session.current
        items = ([current] if current else []) + session.upcoming(args.n - 1)
        overlaps_N = session.overlaps_N if args.json else None
    rows: list[dict[str, Any]] = []
    for position, item in enumerate(items, start=1):
        best = max(range(len(item.teacher_probs)), key=item.teacher_probs.__getitem__) if item.teacher_probs else None
        rows.append(
            {
                "position": position,
                "item": item.id,
                "disagreement": item.disagreement,
                "predicted": None if best is None else session.classes[best],
                "audit": item.is_audit,
            }
        )
        if overlaps_N is not None:
            rows[-1]["overlaps"] = int(overlaps_N[item.row])
    if args.csv:
        import csv

        from tomotutor.base.files import new_file
        from tomotutor.formats.label_csv import guarded

        with new_file(Path(args.csv)) as path, path.open("w", newline="") as handle:
            writer = csv.DictWriter(
                handle, ["position", "item", "disagreement", "predicted", "audit"], lineterminator="\n"
            )
            writer.writeheader()
            names = ("item", "predicted")
            writer.writerows(
                {k: "" if v is None else guarded(v) if k in names else v for k, v in row.items()} for row in rows
            )
    elif args.json:
        print_json(rows)
    else:
        for row in rows:
            told = (
                "audit item"
                if row["audit"]
                else ""
                if row["disagreement"] is None
                else f"{row['disagreement']:.4f} {row['predicted']}"
            )
            print(f"{row['position']:5d}  {row['item']:24s} {told}".rstrip())


def _import_labels(args: argparse.Namespace) -> None:
    from tomotutor.export.lists import read_answers
    from tomotutor.session import Session

    with Session(args.session) as session:
        count = session.import_labels(read_answers(Path(args.csv), session))
    print(f"{count} labels imported")


def _round(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    with Session(args.session) as session:
        point = session.run_round(show_progress)
    if args.json:
        print_json(point_json(point))
    else:
        print(describe_point(point))


def _predict(args: argparse.Namespace) -> None:
    from tomotutor.export.answers import write_table
    from tomotutor.session import Session

    with Session(args.session, write=False) as session:
        table, *others = write_table(session, Path(args.out), show_progress)
        if others:
            print(f"{others[0].parent}: {len(others)} masks")
        print(f"{table}: {len(session.ids)} items")


def _export(args: argparse.Namespace) -> None:
    from tomotutor.export.answers import export
    from tomotutor.session import Session

    with Session(args.session, write=False) as session:
        written = export(session, Path(args.out), args.format, per_class=args.per_class, report=show_progress)
    if args.json:
        print_json([str(path) for path in written])
    else:
        print("\n".join(str(path) for path in written))


def _apply(args: argparse.Namespace) -> None:
    from tomotutor.data.sources import open_input
    from tomotutor.export.answers import apply
    from tomotutor.session import Session

    source = read_source(args)
    with Session(args.session, write=False) as session:
        trained, model = session.source, session.model
    source = source.replace(
        mean=trained.preparation.mean,
        std=trained.preparation.std,
        rescale=source.preparation.rescale or trained.preparation.rescale,
        low_pass=source.preparation.low_pass or trained.preparation.low_pass,
        normalise=trained.preparation.normalise,
    )
    opened = open_input(source).with_tilts_of(trained)
    voxel, known = opened.pool.voxel_size_angst, model.voxel_size_angst
    if voxel and known and abs(voxel - known) > 0.01 * known:
        print(
            f"warning: the new voxels have {voxel:g} Å, the model was trained at {known:g} Å; see --rescale",
            file=sys.stderr,
        )
    for path in apply(model, opened, Path(args.out), per_class=args.per_class, report=show_progress):
        print(path)


def add(commands: Commands) -> None:
    """Add these commands."""
    new = add_command(commands, "new", _new, "make a session on particles, volumes, arrays or images", threads=True)
    add_source_arguments(new)
    new.add_argument(
        "--classes",
        default="",
        metavar="A,B,C",
        help="class names in their order; junk is added as the last one (default: those of the data set)",
    )
    new.add_argument(
        "--task",
        choices=CHOICES["task"],
        default="",
        help="a class for each item, or for each pixel of an image (default: as the data set)",
    )
    new.add_argument("--no-junk", action="store_true", help="add no class junk")
    new.add_argument("--recipe", choices=PRESETS, default="app", help="settings to begin with (default app)")
    new.add_argument(
        "--start",
        default="",
        metavar="pretrained|scratch|DIR|SESSION|efficientnet-lite0|FILE",
        help="what the networks start from: weights that ship, for volumes with app the default; fresh ones; "
        "weights that pretrain made; the last round of another session; or, for images, EfficientNet-Lite0 of an "
        "installed package; for those of more than 64 pixels a .safetensors file with a ResNet-18, -34 or -50 of "
        "torchvision or timm",
    )
    add_set_argument(new)

    more = add_command(
        commands,
        "add",
        _add,
        "add the items of another list, stack or folder to a session, labeled or not",
        threads=True,
        writes=True,
    )
    add_source_arguments(more)

    relocate = add_command(
        commands, "relocate", _relocate, "tell a session that its input moved, to another disk or machine", writes=True
    )
    relocate.add_argument(
        "--from",
        dest="old",
        required=True,
        metavar="A",
        help="folder in which the session looks for it, of this machine or another",
    )
    relocate.add_argument("--to", dest="new", required=True, metavar="B", help="the same folder on this machine")

    add_command(commands, "label", _label, "label a session on screen, in napari", threads=True, writes=True)

    status = add_command(commands, "status", _status, "tell where a session stands")
    status.add_argument("--json", action="store_true", help="for programs")

    queue = add_command(commands, "queue", _queue, "list the next items to ask")
    queue.add_argument("-n", type=int, default=20, metavar="N", help="how many (default 20)")
    queue.add_argument("--csv", metavar="FILE", help="write them to a CSV file")
    queue.add_argument("--json", action="store_true", help="for programs")

    text = "take labels over from a CSV file, or masks from a folder: all of them, or none"
    imported = add_command(commands, "import-labels", _import_labels, text, writes=True)
    imported.add_argument(
        "csv",
        metavar="CSV|DIR",
        help="columns item,class[,annotator] or tomogram,star_row,class[,annotator]; in segmentation PNG masks",
    )

    one = add_command(
        commands, "round", _round, "train on the labels so far and rank the pool anew", threads=True, writes=True
    )
    one.add_argument("--json", action="store_true", help="for programs")

    predict = add_command(
        commands, "predict", _predict, "write the answer for every item: labels kept, the rest predicted", threads=True
    )
    predict.add_argument(
        "--out",
        required=True,
        metavar="CSV",
        help="columns item,class,confidence,disagreement,labeled; segmentation: with masks",
    )

    export = add_command(commands, "export", _export, "write labels and predictions for other programs", threads=True)
    export.add_argument(
        "--format",
        required=True,
        choices=(*EXPORTED, "averages"),
        help="particle list with classes: the session's own format keeps every value, others are converted; "
        "csv: a table of predictions "
        "(in segmentation with masks); averages: an MRC average of each class",
    )
    export.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    export.add_argument("--per-class", action="store_true", help="also one list per class")
    export.add_argument("--json", action="store_true", help="for programs")

    apply = add_command(
        commands, "apply", _apply, "use a trained session on new input: predictions and export", threads=True
    )
    add_source_arguments(apply)
    apply.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    apply.add_argument("--per-class", action="store_true", help="also one list per class")
