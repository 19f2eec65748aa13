"""Commands that run rounds without a person: run, and the demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tomotutor.cli.common import (
    Commands,
    add_command,
    add_set_argument,
    describe_point,
    has_screen,
    open_window,
    point_json,
    print_json,
    read_settings,
    show_progress,
    show_reading,
    tty_line,
)
from tomotutor.errors import TomoTutorError
from tomotutor.recipe import CHOICES, PRESETS

if TYPE_CHECKING:
    from tomotutor.views import CurvePoint

DEMO_SETTINGS: dict[str, str] = {"initial_size": "30", "query_size": "20"}


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
        session.set_recipe(recipe.with_settings(read_settings(args.set)))
        if args.test_fraction is not None:
            test = oracle.draw_test_set(session, truth_N, args.test_fraction)

        def tell(point: CurvePoint) -> None:
            tty_line("")
            if not args.json:
                print(describe_point(point), flush=True)

        curve = oracle.run(
            session, truth_N, init=args.init, query=args.query, rounds=args.rounds, test=test, told=tell, report=show_progress
        )
        out = Path(args.out) if args.out else session.folder / "report"
        written = write_report(out, session, truth_N)
    finally:
        session.close()
    if args.json:
        print_json([point_json(point) for point in curve])
    else:
        print(table(curve))
        print("\n".join(str(path) for path in written))


def _demo(args: argparse.Namespace) -> None:
    from tomotutor.cli import make_parser
    from tomotutor.sample import create_sample_session, sample_data

    folder = Path(args.dir)
    session = folder / "session"
    if not (session / "session.toml").is_file():
        create_sample_session(session, show_reading, DEMO_SETTINGS)
    print(f"sample session: {session}")
    if not args.headless and has_screen():
        open_window(session)
        return
    print("no screen: a simulated annotator answers" if not args.headless else "a simulated annotator answers")
    commands = [
        ["run", str(session), "--oracle", str(sample_data() / "truth.csv"), "--init", "30", "--query", "20", "--rounds", "4"],
        ["export", str(session), "--format", "relion", "--out", str(folder / "relion"), "--per-class"],
    ]
    commands[0] += ["--out", str(folder / "report")]
    parser = make_parser()
    for command in commands:
        args = parser.parse_args(command)
        args.function(args)


def add(commands: Commands) -> None:
    """Add these commands."""
    run = add_command(commands, "run", _run, "whole rounds with an oracle in place of the person")
    run.add_argument(
        "--oracle", required=True, metavar="CSV", help="truth: item,class or tomogram,star_row,class; y for the y of an .npz file"
    )
    run.add_argument("--init", type=int, required=True, metavar="N", help="labels before the first training")
    run.add_argument("--query", type=int, required=True, metavar="M", help="labels before each further one")
    run.add_argument("--rounds", type=int, required=True, metavar="R", help="number of queries; R + 1 trainings")
    run.add_argument("--strategy", choices=CHOICES["strategy"], help="query strategy (default: the session's)")
    run.add_argument("--recipe", choices=PRESETS, help="settings (default: the session's)")
    add_set_argument(run)
    run.add_argument("--seed", type=int, metavar="K", help="seed of everything random (default: the session's)")
    run.add_argument("--audit-share", type=int, metavar="N", help="one item in N is an audit item; 0 for none (default: the session's)")
    run.add_argument("--test", metavar="SESSION2", help="session whose items serve as a fixed test set")
    run.add_argument("--test-oracle", metavar="CSV", help="truth of that session")
    run.add_argument("--test-fraction", type=float, metavar="F", help="hold out this share of the items as a test set")
    run.add_argument("--out", metavar="DIR", help="where pictures and predictions go (default SESSION/report)")
    run.add_argument("--json", action="store_true", help="for programs")

    demo = add_command(
        commands, "demo", _demo, "open the sample session; without a screen, run it with a simulated annotator", session=False
    )
    demo.add_argument("--headless", action="store_true", help="do not open a window")
    demo.add_argument("--dir", default="tomotutor-demo", metavar="DIR", help="where the sample session goes (default tomotutor-demo)")
