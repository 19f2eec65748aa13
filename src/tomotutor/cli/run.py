"""Commands that run rounds without a person: run, and the demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tomotutor.base.errors import TomoTutorError
from tomotutor.cli.common import (
    Commands,
    add_command,
    add_set_argument,
    clear_line,
    describe_point,
    has_screen,
    open_window,
    point_json,
    print_json,
    read_settings,
    show_progress,
)
from tomotutor.learn.recipe import CHOICES, PRESETS

if TYPE_CHECKING:
    from tomotutor.session import Session
    from tomotutor.session.status import CurvePoint


def _run(args: argparse.Namespace) -> None:
    from tomotutor.data.sources import open_pool
    from tomotutor.oracle.play import read_oracle, run
    from tomotutor.oracle.report import table
    from tomotutor.session import Session

    for name in ("init", "query"):
        if getattr(args, name) < 1:
            raise TomoTutorError(f"--{name} {getattr(args, name)}: expected 1 at least")
    if bool(args.test) != bool(args.test_oracle):
        raise TomoTutorError("--test and --test-oracle belong together: the test session and its truth")

    def tell(point: CurvePoint) -> None:
        clear_line()
        if not args.json:
            print(describe_point(point), flush=True)

    with Session(args.session) as session:
        oracle = read_oracle(session, args.oracle, by_page=args.by == "page", error=args.oracle_error)
        if args.test_split:
            # session.source has the statistics of what is trained on
            oracle.test_on(open_pool(session.source.replace(split=args.test_split)))
        if args.test:
            oracle.test_on_session(Session(args.test, write=False), args.test_oracle)
        _set_recipe(session, args)
        if args.test_fraction is not None:
            oracle.hold_out(args.test_fraction)
        numbers = {"init": args.init, "query": args.query, "rounds": args.rounds}
        curve = run(session, oracle, **numbers, told=tell, report=show_progress)
        written = oracle.write_report(Path(args.out) if args.out else session.folder / "report")
    if args.json:
        print_json([point_json(point) for point in curve])
    else:
        print(table(curve))
        print("\n".join(str(path) for path in written))


def _set_recipe(session: Session, args: argparse.Namespace) -> None:
    from tomotutor.learn.recipe import preset

    changes = {"strategy": args.strategy, "seed": args.seed, "audit_share": args.audit_share}
    recipe = session.recipe
    if args.recipe:
        recipe = preset(args.recipe, session.pool.ndim, session.source.kind, session.recipe.task)
        if recipe.network.start == "pretrained":  # what a session starts from is settled when it is made
            recipe = recipe.replace(start=session.recipe.network.start, width=session.recipe.network.width)
    recipe = recipe.replace(
        initial_size=args.init, query_size=args.query, **{k: v for k, v in changes.items() if v is not None}
    )
    session.set_recipe(recipe.with_settings(read_settings(args.set)))


def _demo(args: argparse.Namespace) -> None:
    from tomotutor.cli import make_parser
    from tomotutor.session import Session
    from tomotutor.session.sample import create_sample_session, sample_data

    folder = Path(args.dir)
    session = folder / "session"
    if not (session / "session.toml").is_file():
        create_sample_session(session, show_progress)
        with Session(session) as opened:
            opened.map_pool(show_progress)
    print(f"sample session: {session}")
    if not args.headless and has_screen():
        open_window(session)
        return
    print("no screen: a simulated annotator answers" if not args.headless else "a simulated annotator answers")
    commands = [
        [
            "run",
            str(session),
            "--oracle",
            str(sample_data() / "truth.csv"),
            "--init",
            "20",
            "--query",
            "20",
            "--rounds",
            "3",
        ],
        ["export", str(session), "--format", "relion", "--out", str(folder / "relion"), "--per-class"],
    ]
    commands[0] += ["--out", str(folder / "report")]
    parser = make_parser()
    for command in commands:
        args = parser.parse_args(command)
        args.function(args)


def add(commands: Commands) -> None:
    """Add these commands."""
    run = add_command(
        commands, "run", _run, "whole rounds with an oracle in place of the person", threads=True, writes=True
    )
    run.add_argument(
        "--oracle",
        required=True,
        metavar="CSV|DIR|y",
        help=(
            "truth: item,class or tomogram,star_row,class; a folder of masks in segmentation; y for that of "
            "the data set or .npz file"
        ),
    )
    run.add_argument("--init", type=int, required=True, metavar="N", help="labels before the first training")
    run.add_argument("--query", type=int, required=True, metavar="M", help="labels before each further one")
    run.add_argument("--rounds", type=int, required=True, metavar="R", help="number of queries; R + 1 trainings")
    run.add_argument(
        "--by",
        choices=("item", "page"),
        default="item",
        help="a person who labels item by item (default), or one who first names a page of 24 of each group of "
        "look-alikes and takes out what does not belong; --init and --query count decisions then",
    )
    run.add_argument(
        "--oracle-error",
        type=float,
        default=0.0,
        metavar="P",
        help="share of answers that are wrong, more often between look-alikes (default 0)",
    )
    run.add_argument("--strategy", choices=CHOICES["strategy"], help="query strategy (default: the session's)")
    run.add_argument("--recipe", choices=PRESETS, help="settings (default: the session's)")
    add_set_argument(run)
    run.add_argument("--seed", type=int, metavar="K", help="seed of everything random (default: the session's)")
    run.add_argument(
        "--audit-share",
        type=int,
        metavar="N",
        help="one item in N is an audit item; 0 for none (default: the session's)",
    )
    run.add_argument("--test", metavar="SESSION2", help="session whose items serve as a fixed test set")
    run.add_argument("--test-oracle", metavar="CSV|DIR|y", help="truth of that session, as for --oracle")
    run.add_argument(
        "--test-split", metavar="NAME", help="part of the session's data set that serves as a fixed test set"
    )
    run.add_argument("--test-fraction", type=float, metavar="F", help="hold out this share of the items as a test set")
    run.add_argument("--out", metavar="DIR", help="where pictures and predictions go (default SESSION/report)")
    run.add_argument("--json", action="store_true", help="for programs")

    demo = add_command(
        commands,
        "demo",
        _demo,
        "open the sample session; without a screen, run it with a simulated annotator",
        session=False,
        threads=True,
    )
    demo.add_argument("--headless", action="store_true", help="do not open a window")
    demo.add_argument(
        "--dir", default="tomotutor-demo", metavar="DIR", help="where the sample session goes (default tomotutor-demo)"
    )
