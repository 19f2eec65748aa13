"""Commands that run rounds without a person: run, and the demo."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
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
    from tomotutor.data.pool import Pool
    from tomotutor.session import Session
    from tomotutor.session.status import CurvePoint

    Outcome = tuple[Sequence[CurvePoint], list[Path]]


def _run(args: argparse.Namespace) -> None:
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

    session = Session(args.session)
    try:
        curve, written = (_run_masks if session.is_segmentation else _run_classes)(session, args, tell)
    finally:
        session.close()
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


def _test_split(session: Session, args: argparse.Namespace) -> Pool:
    from tomotutor.data.sources import open_pool

    return open_pool(session.source.replace(split=args.test_split))  # normalised as what was trained on


def _run_classes(session: Session, args: argparse.Namespace, tell: Callable[[CurvePoint], None]) -> Outcome:
    from tomotutor.oracle import classes as oracle
    from tomotutor.oracle import pages
    from tomotutor.oracle.report import write_report
    from tomotutor.session import Session

    truth_N = oracle.read_truth(session, args.oracle)
    test = None
    if args.test_split:
        pool = _test_split(session, args)
        test = oracle.TestSet(pool, oracle.pool_truth(pool, session.classes))
    if args.test:
        other = Session(args.test, write=False)
        test = oracle.TestSet(other.pool, oracle.read_truth(other, args.test_oracle, session.classes))
    _set_recipe(session, args)
    if args.test_fraction is not None:
        test = oracle.draw_test_set(session, truth_N, args.test_fraction)
    curve = pages.run(
        session,
        pages.Person(session, truth_N, by_page=args.by == "page", error=args.oracle_error),
        init=args.init,
        query=args.query,
        rounds=args.rounds,
        test=test,
        told=tell,
        report=show_progress,
    )
    return curve, write_report(Path(args.out) if args.out else session.folder / "report", session, truth_N)


def _run_masks(session: Session, args: argparse.Namespace, tell: Callable[[CurvePoint], None]) -> Outcome:
    from tomotutor.oracle import masks as mask_oracle
    from tomotutor.session import Session

    if args.by == "page" or args.oracle_error:
        raise TomoTutorError("run: --by page and --oracle-error are for classes; this session takes masks")
    truth = mask_oracle.read_truth(session, session.pool, args.oracle)
    test = None
    if args.test_split:
        pool = _test_split(session, args)
        test = mask_oracle.MaskTest(pool, mask_oracle.read_truth(session, pool, "y"))
    if args.test:
        other = Session(args.test, write=False)
        test = mask_oracle.MaskTest(other.pool, mask_oracle.read_truth(session, other.pool, args.test_oracle))
    _set_recipe(session, args)
    if args.test_fraction is not None:
        mask_oracle.hold_out(session, args.test_fraction)
    curve = mask_oracle.run(
        session, truth, init=args.init, query=args.query, rounds=args.rounds, test=test, told=tell, report=show_progress
    )
    return curve, mask_oracle.write_report(Path(args.out) if args.out else session.folder / "report", session, truth)


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
    run = add_command(commands, "run", _run, "whole rounds with an oracle in place of the person", threads=True)
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
