"""The command line: thin commands over the Python API. Heavy imports stay inside the functions, so that --help is quick."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomotutor
from tomotutor.errors import CancelledError, TomoTutorError

if TYPE_CHECKING:
    from tomotutor.progress import Progress
    from tomotutor.sources import Source
    from tomotutor.views import CurvePoint

STRATEGY_NAMES = ("teacher_student", "random", "entropy", "margin", "least_confidence")  # a test holds it against the registry
RECIPE_NAMES = ("app", "paper")
DEMO_SETTINGS: dict[str, str] = {"initial_size": "30", "query_size": "20"}
BENCH_NAMES = ("training", "scoring", "round", "labels", "memory", "startup", "screen", "all")

# ---- what the commands share ------------------------------------------------------------------------------------------


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=1))


def _tty_line(text: str) -> None:
    """Show passing progress where a person watches; a log file gets none of it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _show_progress(progress: Progress) -> None:
    if progress.stage == "train":
        what = f"training: mini-batch {progress.done} of {progress.total}, epoch {progress.epoch}, loss {progress.loss:.3f}"
    else:
        what = f"scoring: {progress.done} of {progress.total}"
    _tty_line(f"{what}, {progress.eta_s:.0f} s left" if progress.done < progress.total else "")


def _show_reading(done: int, total: int) -> None:
    _tty_line(f"reading items: {done} of {total}" if done < total else "")


def _add_source(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_argument_group("input (one of)").add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--particles", metavar="STAR", help="RELION 5 particle list with centred coordinates; boxes are cut from its tomograms"
    )
    kind.add_argument("--stack", metavar="FILE", help="MRC stack of volumes (4D), or of 2D images (.mrcs)")
    kind.add_argument("--mrc-dir", metavar="DIR", help="folder of subtomograms, one .mrc file each")
    kind.add_argument("--array", metavar="FILE", help=".npz (array x) or .npy: (N,D,H,W), (N,H,W) or (N,H,W,C)")
    kind.add_argument("--images", metavar="DIR", help="folder of 2D images")
    options = parser.add_argument_group("about the input")
    options.add_argument("--tomograms", metavar="STAR", default="", help="RELION 5 tomogram set (tomograms.star)")
    options.add_argument("--tomogram-dir", metavar="DIR", default="", help="further folder to look for tomograms in")
    options.add_argument("--box", type=int, default=32, metavar="VOXELS", help="edge of the boxes cut from tomograms (default 32)")
    options.add_argument("--voxel-size", type=float, default=0.0, metavar="A", help="voxel size in Å, over what the headers say")
    options.add_argument(
        "--protein",
        choices=("dark", "bright"),
        default="",
        help="contrast of the input (default: dark in tomograms, bright in other 3D input)",
    )
    options.add_argument(
        "--ndim", type=int, choices=(2, 3), default=0, help="dimensions of an item, where a stack or array could be either"
    )
    options.add_argument("--key", default="x", metavar="NAME", help="name of the items' array in an .npz file (default x)")


def _source(args: argparse.Namespace) -> Source:
    from tomotutor.sources import SOURCES, Source

    kind, path = next((kind, getattr(args, kind)) for kind in SOURCES if getattr(args, kind))
    return Source(
        kind, str(Path(path).resolve()), args.tomograms, str(Path(path).resolve().parent), args.tomogram_dir,
        args.box, args.voxel_size, args.protein, args.ndim, args.key,
    )  # fmt: skip


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    """Split KEY=VALUE arguments."""
    for pair in pairs:
        if "=" not in pair:
            raise TomoTutorError(f"--set {pair}: expected KEY=VALUE, for example --set at_form=l2")
    return dict(pair.split("=", 1) for pair in pairs)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting of the recipe; may be given several times"
    )


def _classes(text: str) -> list[str]:
    return [name for name in text.split(",") if name.strip()]


# ---- the commands -----------------------------------------------------------------------------------------------------


def _new(args: argparse.Namespace) -> None:
    from tomotutor.session_file import create_session

    made = create_session(
        Path(args.session),
        _source(args),
        _classes(args.classes),
        junk=not args.no_junk,
        recipe=args.recipe,
        settings=_settings(args.set),
        report=_show_reading,
    )
    print(f"{args.session}: {made.items} items")
    if made.padded:
        wholly = f", {made.outside} of them lie outside altogether: check voxel size and tomogram" if made.outside else ""
        print(f"warning: {made.padded} boxes leave their tomogram; what is missing is filled with the mean{wholly}", file=sys.stderr)
    if made.duplicates:
        print(
            f"warning: {made.duplicates} items are exact duplicates of others; each set is asked once and shares its label", file=sys.stderr
        )


def _label(args: argparse.Namespace) -> None:
    from tomotutor.session_file import SessionFile

    SessionFile.read(Path(args.session))  # a wrong folder should not cost a start of napari
    _open_window(Path(args.session))


def _open_window(session: Path) -> None:
    try:
        from tomotutor.gui.app import run_app
    except ImportError as problem:
        raise TomoTutorError(
            f"the screen needs napari and a Qt binding ({problem}); install them with: pip install 'tomotutor[gui]'"
        ) from None
    run_app(session)


def _status(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    session = Session(args.session, write=False)
    status = session.status
    if args.json:
        _print_json({
            "items": status.items, "labeled": status.labeled, "unsure": status.unsure, "skipped": status.skipped, "round": status.round,
            "audit_accuracy": status.audit.accuracy, "audit_interval": status.audit.interval, "audit_n": status.audit.n,
            "audit_skipped": status.audit.skipped, "classes": status.counts,
            "padded": int(session.pool.padded_N.sum()) if len(session.pool.padded_N) else 0, "strategy": session.recipe.strategy,
        })  # fmt: skip
        return
    print(f"items     {status.items}")
    print(f"labeled   {status.labeled} ({', '.join(f'{name} {count}' for name, count in status.counts.items())})")
    print(f"unsure    {status.unsure}, skipped {status.skipped}")
    print(f"round     {status.round}; {status.since_round} of {status.due_at} labels towards the next")
    print(f"accuracy  {status.audit.describe() if status.round else 'no model yet'}")


def _queue(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    session = Session(args.session, write=False)
    current = session.current
    items = ([current] if current else []) + session.upcoming(args.n - 1)
    rows: list[dict[str, Any]] = []
    for position, item in enumerate(items, start=1):
        best = max(range(len(item.teacher_probs)), key=item.teacher_probs.__getitem__) if item.teacher_probs else None
        rows.append({
            "position": position, "item": item.id, "disagreement": item.disagreement,
            "predicted": None if best is None else session.classes[best], "audit": item.is_audit,
        })  # fmt: skip
    if args.csv:
        import csv

        from tomotutor.files import new_file

        with new_file(Path(args.csv)) as path, path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, ["position", "item", "disagreement", "predicted", "audit"], lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    elif args.json:
        _print_json(rows)
    else:
        for row in rows:
            told = "audit item" if row["audit"] else "" if row["disagreement"] is None else f"{row['disagreement']:.4f} {row['predicted']}"
            print(f"{row['position']:5d}  {row['item']:24s} {told}".rstrip())


def _import_labels(args: argparse.Namespace) -> None:
    from tomotutor.formats.label_csv import read_labels
    from tomotutor.session import Session

    labels = read_labels(Path(args.csv))
    session = Session(args.session)
    try:
        count = session.import_labels([(row.item, row.label, row.annotator) for row in labels])
    finally:
        session.close()
    print(f"{count} labels imported")


def _describe(point: CurvePoint) -> str:
    parts = [f"round {point.round:2d}", f"labels {point.labels:4d}", f"audit {point.audit.describe()}"]
    for key, name in (("test_accuracy", "test"), ("pool_accuracy", "pool")):
        if key in point.metrics:
            parts.append(f"{name} {point.metrics[key]:.3f}")
    parts.append(f"{sum(point.metrics['seconds'].values()):.0f} s")
    return "  ".join(parts)


def _point_json(point: CurvePoint) -> dict[str, Any]:
    return {
        "round": point.round, "labels": point.labels, "audit_accuracy": point.audit.accuracy, "audit_interval": point.audit.interval,
        "audit_n": point.audit.n, **point.metrics,
    }  # fmt: skip


def _round(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    session = Session(args.session)
    try:
        point = session.run_round(_show_progress)
    finally:
        session.close()
    if args.json:
        _print_json(_point_json(point))
    else:
        print(_describe(point))


def _predict(args: argparse.Namespace) -> None:
    from tomotutor.export import write_predictions
    from tomotutor.session import Session

    session = Session(args.session)
    try:
        write_predictions(Path(args.out), session.pool.ids, session.predictions(_show_progress), session.classes)
    finally:
        session.close()
    print(f"{args.out}: {len(session.pool)} items")


def _export(args: argparse.Namespace) -> None:
    from tomotutor.export import export_relion, write_predictions
    from tomotutor.session import Session

    session = Session(args.session)
    try:
        predictions, out = session.predictions(_show_progress), Path(args.out)
    finally:
        session.close()
    if args.format == "csv":
        written = [out / "predictions.csv"]
        write_predictions(written[0], session.pool.ids, predictions, session.classes)
    else:
        written = export_relion(out, session.particle_list, session.pool.ids, predictions, session.classes, per_class=args.per_class)
    if args.json:
        _print_json([str(path) for path in written])
    else:
        print("\n".join(str(path) for path in written))


def _apply(args: argparse.Namespace) -> None:
    import numpy as np

    from tomotutor.export import export_relion, write_predictions
    from tomotutor.session import Session, predictions_from
    from tomotutor.sources import open_pool

    source = _source(args)
    session = Session(args.session)
    try:
        source = source.replace(mean=tuple(session.pool.mean_C), std=tuple(session.pool.std_C))
        pool = open_pool(source)
        scores = session.score_pool(pool, _show_progress)
    finally:
        session.close()
    predictions, out = predictions_from(scores, np.full(len(pool), -1)), Path(args.out)
    write_predictions(out / "predictions.csv", pool.ids, predictions, session.classes)
    print(out / "predictions.csv")
    if source.kind == "particles":
        for path in export_relion(out, source.file, pool.ids, predictions, session.classes, per_class=args.per_class):
            print(path)


def _run(args: argparse.Namespace) -> None:
    from tomotutor.benchmark import oracle
    from tomotutor.benchmark.report import table, write_report
    from tomotutor.formats.label_csv import read_labels
    from tomotutor.recipe import preset
    from tomotutor.session import Session

    for name in ("init", "query"):
        if getattr(args, name) < 1:
            raise TomoTutorError(f"--{name} {getattr(args, name)}: expected 1 at least")
    if bool(args.test) != bool(args.test_oracle):
        raise TomoTutorError("--test and --test-oracle belong together: the test session and its truth")
    session = Session(args.session)
    try:
        truth_N = oracle.read_truth(session, args.oracle)
        test = None
        if args.test:
            other = Session(args.test, write=False)
            test = oracle.TestSet(
                other.pool, oracle.truth_of(other.pool.ids, read_labels(Path(args.test_oracle)), session.classes, args.test_oracle)
            )
        changes = {"strategy": args.strategy, "seed": args.seed, "audit_share": args.audit_share}
        recipe = preset(args.recipe, session.pool.ndim) if args.recipe else session.recipe
        recipe = recipe.replace(initial_size=args.init, query_size=args.query, **{k: v for k, v in changes.items() if v is not None})
        session.set_recipe(recipe.with_settings(_settings(args.set)))
        if args.test_fraction is not None:
            test = oracle.draw_test_set(session, truth_N, args.test_fraction)

        def tell(point: CurvePoint) -> None:
            _tty_line("")
            if not args.json:
                print(_describe(point), flush=True)

        curve = oracle.run(
            session, truth_N, init=args.init, query=args.query, rounds=args.rounds, test=test, told=tell, report=_show_progress
        )
        out = Path(args.out) if args.out else session.folder / "report"
        written = write_report(out, session, truth_N)
    finally:
        session.close()
    if args.json:
        _print_json([_point_json(point) for point in curve])
    else:
        print(table(curve))
        print("\n".join(str(path) for path in written))


def _demo(args: argparse.Namespace) -> None:
    from tomotutor.sample import create_sample_session, sample_data

    folder = Path(args.dir)
    session = folder / "session"
    if not (session / "session.toml").is_file():
        create_sample_session(session, _show_reading, DEMO_SETTINGS)
    print(f"sample session: {session}")
    if not args.headless and _has_screen():
        _open_window(session)
        return
    print("no screen: a simulated annotator answers" if not args.headless else "a simulated annotator answers")
    arguments = ["run", str(session), "--oracle", str(sample_data() / "truth.csv"), "--init", "30", "--query", "20", "--rounds", "4"]
    _run(make_parser().parse_args([*arguments, "--out", str(folder / "report")]))
    _export(make_parser().parse_args(["export", str(session), "--format", "relion", "--out", str(folder / "relion"), "--per-class"]))


def _has_screen() -> bool:
    import os

    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _bench(args: argparse.Namespace) -> None:
    from tomotutor.benchmark.speed import BENCHES, run_bench

    benches = dict(BENCHES)
    if args.name in ("screen", "all"):
        if not _has_screen():
            raise TomoTutorError("bench screen: no display; run it under xvfb-run")
        from tomotutor.gui.speed import screen

        benches["screen"] = screen
    for name in benches if args.name == "all" else [args.name]:
        run_bench(name, benches[name], Path(args.out) if args.out else None)


# ---- the parser -------------------------------------------------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; docs/cli.md is made from it."""
    parser = argparse.ArgumentParser(
        prog="tomotutor", description="Label only the subtomograms that matter: active learning with a teacher and a student network."
    )
    parser.add_argument("--version", action="version", version=f"tomotutor {tomotutor.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, function: Callable[[argparse.Namespace], None], text: str, *, session: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(function=function)
        if session:
            sub.add_argument("session", metavar="SESSION", help="session folder")
        return sub

    new = command("new", _new, "make a session on particles, volumes, arrays or images")
    _add_source(new)
    new.add_argument("--classes", required=True, metavar="A,B,C", help="class names in their order; junk is added as the last one")
    new.add_argument("--no-junk", action="store_true", help="add no class junk")
    new.add_argument("--recipe", choices=RECIPE_NAMES, default="app", help="settings to begin with (default app)")
    _add_set(new)

    command("label", _label, "label a session on screen, in napari")

    status = command("status", _status, "tell where a session stands")
    status.add_argument("--json", action="store_true", help="for programs")

    queue = command("queue", _queue, "list the next items to ask")
    queue.add_argument("-n", type=int, default=20, metavar="N", help="how many (default 20)")
    queue.add_argument("--csv", metavar="FILE", help="write them to a CSV file")
    queue.add_argument("--json", action="store_true", help="for programs")

    imported = command("import-labels", _import_labels, "take labels over from a CSV file: all of them, or none")
    imported.add_argument("csv", metavar="CSV", help="columns item,class[,annotator] or tomogram,star_row,class[,annotator]")

    one = command("round", _round, "train on the labels so far and rank the pool anew")
    one.add_argument("--json", action="store_true", help="for programs")

    predict = command("predict", _predict, "write the answer for every item: labels kept, the rest predicted")
    predict.add_argument("--out", required=True, metavar="CSV", help="columns item,class,confidence,disagreement,labeled")

    export = command("export", _export, "write labels and predictions for other programs")
    export.add_argument("--format", required=True, choices=("relion", "csv"), help="RELION STAR, or a table")
    export.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    export.add_argument("--per-class", action="store_true", help="also one STAR file per class")
    export.add_argument("--json", action="store_true", help="for programs")

    apply = command("apply", _apply, "use a trained session on new input: predictions and export")
    _add_source(apply)
    apply.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    apply.add_argument("--per-class", action="store_true", help="also one STAR file per class")

    run = command("run", _run, "whole rounds with an oracle in place of the person")
    run.add_argument(
        "--oracle", required=True, metavar="CSV", help="truth: item,class or tomogram,star_row,class; y for the y of an .npz file"
    )
    run.add_argument("--init", type=int, required=True, metavar="N", help="labels before the first training")
    run.add_argument("--query", type=int, required=True, metavar="M", help="labels before each further one")
    run.add_argument("--rounds", type=int, required=True, metavar="R", help="number of queries; R + 1 trainings")
    run.add_argument("--strategy", choices=STRATEGY_NAMES, help="query strategy (default: the session's)")
    run.add_argument("--recipe", choices=RECIPE_NAMES, help="settings (default: the session's)")
    _add_set(run)
    run.add_argument("--seed", type=int, metavar="K", help="seed of everything random (default: the session's)")
    run.add_argument("--audit-share", type=int, metavar="N", help="one item in N is an audit item; 0 for none (default: the session's)")
    run.add_argument("--test", metavar="SESSION2", help="session whose items serve as a fixed test set")
    run.add_argument("--test-oracle", metavar="CSV", help="truth of that session")
    run.add_argument("--test-fraction", type=float, metavar="F", help="hold out this share of the items as a test set")
    run.add_argument("--out", metavar="DIR", help="where pictures and predictions go (default SESSION/report)")
    run.add_argument("--json", action="store_true", help="for programs")

    demo = command("demo", _demo, "open the sample session; without a screen, run it with a simulated annotator", session=False)
    demo.add_argument("--headless", action="store_true", help="do not open a window")
    demo.add_argument("--dir", default="tomotutor-demo", metavar="DIR", help="where the sample session goes (default tomotutor-demo)")

    bench = command("bench", _bench, "measure this machine against a named peer", session=False)
    bench.add_argument("name", choices=BENCH_NAMES, metavar="NAME", help=", ".join(BENCH_NAMES))
    bench.add_argument("--out", metavar="DIR", help="also write the figures there, as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 for an error the user can mend, 130 when interrupted."""
    args = make_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        args.function(args)
    except TomoTutorError as problem:
        _tty_line("")
        print(f"tomotutor: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, CancelledError):
        print("tomotutor: interrupted; all labels and finished rounds are saved", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
