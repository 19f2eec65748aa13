"""Commands on the answers between rounds: groups, many labels at once, doubts, neighbours, checks, averages."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import TomoTutorError, command
from tomotutor.cli.common import Commands, add_command, count, print_json, show_progress

if TYPE_CHECKING:
    import numpy as np

    from tomotutor.learn.results import Answers
    from tomotutor.session import Session

GROUPS = 20
DRAWN = 20  # members of a class that are asked at a time
TYPICAL = 5  # members of a group that are named


@contextmanager
def _open(args: argparse.Namespace, *, write: bool = False) -> Iterator[Session]:
    """Open a session whose pool has been looked at, and answer; only a pool that has not is a reason to write."""
    from tomotutor.session import Session

    session = Session(args.session, write=write)
    try:
        if not session.one_class:
            raise TomoTutorError(
                f"{args.session}: its labels are masks, which have no answers between rounds; use "
                f"'{command('predict', args.session)}'"
            )
        if session.answering.pool_embedding.newest is None:
            session.close()
            session = Session(args.session)
            if session.answering.pool_embedding.embed(show_progress) is None:
                raise TomoTutorError(
                    f"{args.session}: starts from scratch, so nothing has looked at the pool yet; label items and run "
                    f"'{command('round', args.session)}' first"
                )
        session.refresh_answers()
        yield session
    finally:
        session.close()


def _answers_of(session: Session) -> Answers:
    if session.answers is None:
        raise TomoTutorError(f"{session.folder}: nothing is predicted yet; label items of two classes first")
    return session.answers


def _share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to 1")
    return value


def _groups(args: argparse.Namespace) -> None:
    with _open(args) as session:
        found = session.answering.groups(args.n)
        assert found is not None
        groups, answered = found
        hidden = session.state.hidden()  # of what is asked again nothing is told
        rows: list[dict[str, Any]] = []
        for group in range(len(groups)):
            members = groups.members(group)
            row: dict[str, Any] = {"group": group + 1, "size": len(members), "likely": None, "purity": None}
            if answered:
                one = answered[group]
                row |= {"likely": session.classes[one.likely], "purity": one.purity}
                row |= {"labeled": one.labeled, "against": one.against}
            rows.append(row | {"typical": [session.ids[r] for r in members.tolist() if r not in hidden][:TYPICAL]})
    if args.json:
        print_json(rows)
        return
    for row in rows:
        told = f"{row['likely']} {row['purity']:.2f}" if row["likely"] else "not known yet"
        print(f"{row['group']:4d}  {row['size']:6d} items  {told:24s} {' '.join(row['typical'])}")


def _accept(args: argparse.Namespace) -> None:
    import numpy as np

    with _open(args, write=True) as session:
        answers = _answers_of(session)
        rows = np.arange(len(session.ids))
        if args.class_name:
            rows = np.flatnonzero(answers.class_N == session.class_table.number(args.class_name))
        before = len(session.state.asked_again())
        accepted = session.accept(rows.tolist(), annotator="accept", min_confidence=args.min_confidence)
        again = len(session.state.asked_again()) - before
    if args.json:
        print_json({"accepted": accepted, "asked_again": again})
    else:
        print(f"{accepted} predictions accepted; {again} of them will be asked again, singly and blind")


def _doubts(args: argparse.Namespace) -> None:
    with _open(args) as session:
        _answers_of(session)
        doubts = session.answering.doubts()
        assert doubts is not None
        hidden = session.state.hidden()
        columns = (doubts.rows, doubts.label_L, doubts.predicted_L, doubts.doubt_L)
        rows = [
            {
                "item": session.ids[row],
                "label": session.classes[label],
                "predicted": session.classes[predicted],
                "doubt": doubt,
            }
            for row, label, predicted, doubt in zip(*(c.tolist() for c in columns), strict=True)
            if doubt > 0 and row not in hidden
        ][: args.n]
    if args.json:
        print_json(rows)
        return
    for one in rows:
        print(f"{one['item']:24s} {one['label']} looks like {one['predicted']}, {one['doubt']:.2f} nats against it")
    if not rows:
        print("no label looks wrong")


def _similar(args: argparse.Namespace) -> None:
    with _open(args) as session:
        row = session.row(args.item)
        if row in session.state.hidden():
            raise TomoTutorError(f"item {args.item}: is asked blind, and what it resembles would tell; label it first")
        near = session.answering.similar(row, args.n).tolist()
        answers = session.answers
        rows = []
        for one in near:
            known = answers is not None and answers.class_N[one] >= 0
            rows.append(
                {
                    "item": session.ids[one],
                    "class": session.classes[answers.class_N[one]] if answers is not None and known else None,
                    "confidence": float(answers.confidence_N[one]) if answers is not None and known else None,
                    "labeled": one in session.labels(),
                }
            )
    if args.json:
        print_json(rows)
        return
    for found in rows:
        told = f"{found['class']} {found['confidence']:.2f}" if found["class"] else ""
        print(f"{found['item']:24s} {told}{' (labeled)' if found['labeled'] else ''}".rstrip())


def _check_class(args: argparse.Namespace) -> None:
    from tomotutor.session import Session

    with Session(args.session, write=False) as session:
        state = session.state
        state.classes.number(args.name)
        drawn = any(state.classes.current(c.name, c.seq) == args.name for c in state.class_checks)
    if not drawn or args.n is not None:
        with _open(args, write=True) as session:
            _answers_of(session)
            if not session.check_class(args.name, args.threshold, args.n or DRAWN):
                raise TomoTutorError(
                    f"{args.session}: no item is predicted as {args.name} with at least {args.threshold:g}; choose a "
                    "lower --threshold"
                )
    with Session(args.session, write=False) as session:
        found, state = session.class_purity(args.name), session.state
        rows = {row for c in state.class_checks if state.classes.current(c.name, c.seq) == args.name for row in c.rows}
        waiting = sum(state.asked_again().get(row) == "checks a class" for row in rows)
    if args.json:
        values = {"class": args.name, "asked": found.n, "right": found.right, "waiting": waiting}
        interval = [found.low, found.high] if found.n else None
        print_json(values | {"precision": found.precision if found.n else None, "interval": interval})
        return
    if found.n:
        print(
            f"{args.name}: {found.right} of {found.n} right, {found.precision:.2f} ({found.low:.2f}–{found.high:.2f})"
        )
    if waiting:
        print(f"{args.name}: {waiting} predicted members wait among the next items, to be asked singly and blind")


def _answers(args: argparse.Namespace) -> None:
    import numpy as np

    with _open(args) as session:
        answers, estimate, advice = session.answers, session.answering.estimate(), session.answering.advice()
        if args.csv:
            _write_answers(session, _answers_of(session), Path(args.csv))
        tomograms = session.answering.by_tomogram()
        names, overlapping = session.classes, int((session.overlaps_N > 0).sum())
        values: dict[str, Any] = {
            "source": answers.source if answers else None,
            "unknown": [names[c] for c in answers.unknown] if answers else list(names),
            "classes": {n: int((answers.class_N == c).sum()) if answers else 0 for c, n in enumerate(names)},
            "hidden": int((answers.class_N < 0).sum()) if answers else 0,
            "overlapping": overlapping,
            "estimate": None,
            "left_out": [{"tomogram": name, "right": right, "labels": n} for name, right, n in tomograms],
            "bulk": [
                {"step": f.step, "labels": f.labels, "against": f.against, "asked": f.n, "interval": [f.low, f.high]}
                for f in session.bulk_figures()
            ],
            "advice": [{"action": one.action, "reason": one.reason} for one in advice],
        }
        if estimate:
            recall = {n: None if np.isnan(r) else r for n, r in zip(names, estimate.recall_C.tolist(), strict=True)}
            values["estimate"] = {
                "share": estimate.share,
                "interval": [estimate.low, estimate.high],
                "macro_recall": estimate.macro_recall,
                "recall": recall,
                "basis": estimate.basis,
            }
    if args.json:
        print_json(values)
        return
    print(f"source    {values['source'] or 'none yet'}")
    print(f"answers   {', '.join(f'{name} {n}' for name, n in values['classes'].items())}; hidden {values['hidden']}")
    if values["unknown"]:
        print(f"unknown   {', '.join(values['unknown'])}: without a label, never predicted")
    if estimate:
        print(f"right     {estimate.share:.2f} of the pool ({estimate.low:.2f}–{estimate.high:.2f})")
        print(f"          by {estimate.basis}")
    for name, right, n in tomograms:
        print(f"left out  {name}: {right} of its {n} labels are said by a head on the labels of the other tomograms")
    if overlapping:
        print(f"overlap   {overlapping} picks lie nearer to another than a quarter of the box")
    for one in values["bulk"]:
        print(
            f"step {one['step']}: {one['against']} of {one['asked']} asked again say otherwise, {one['labels']} labels"
        )
    for one in advice:
        print(f"next      {one.reason}")


def _write_answers(session: Session, answers: Answers, path: Path) -> None:
    import csv

    from tomotutor.base.files import new_file
    from tomotutor.formats.label_csv import guarded

    with new_file(path) as part, part.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["item", "class", "confidence", "disagreement", "labeled", "overlaps"])
        columns = (answers.class_N, answers.confidence_N, answers.disagreement_N, answers.labeled_N, session.overlaps_N)
        for item, c, p, d, k, overlaps in zip(session.ids, *(x.tolist() for x in columns), strict=True):
            told = [guarded(session.classes[c]), f"{p:.6f}", f"{d:.6g}", int(k)] if c >= 0 else ["", "", "", 0]
            writer.writerow([guarded(item), *told, overlaps])


def _average(args: argparse.Namespace) -> None:
    from tomotutor.export.averages import write_average
    from tomotutor.session import Session

    if args.items or args.label:
        with Session(args.session, write=False) as session:
            rows, what = _chosen(session, args)
            how = write_average(Path(args.out), session.pool, rows, what, align=not args.no_align, report=show_progress)
    else:
        with _open(args) as session:
            rows, what = _chosen(session, args)
            how = write_average(Path(args.out), session.pool, rows, what, align=not args.no_align, report=show_progress)
    if args.json:
        print_json({"file": args.out, "particles": len(rows), "what": what, "how": how})
    else:
        print(f"{args.out}: {what}, average of {len(rows)} particles, {how}")


def _chosen(session: Session, args: argparse.Namespace) -> tuple[np.ndarray, str]:
    """Return the rows that an average is of, and what they are."""
    import numpy as np

    if args.items:
        rows = sorted({session.row(item) for item in _read_items(args.items)})
        return np.array(rows, np.int64), "selection"
    if args.label:
        session.class_table.number(args.label)
        labeled = sorted(row for row, name in session.labels().items() if name == args.label)
        return np.array(labeled, np.int64), f"label {args.label}"
    if args.class_name:
        number = session.class_table.number(args.class_name)
        return np.flatnonzero(_answers_of(session).class_N == number), f"class {args.class_name}"
    found = session.answering.groups(args.groups)
    assert found is not None
    if not 1 <= args.group <= len(found[0]):
        raise TomoTutorError(
            f"--group {args.group}: there are {len(found[0])} groups; see '{command('groups', args.session)}'"
        )
    return found[0].members(args.group - 1), f"group {args.group}"


def _read_items(given: list[str]) -> list[str]:
    """Return item ids: those given, or those of the column item of a CSV file."""
    if len(given) > 1 or not Path(given[0]).is_file():
        return given
    import csv

    from tomotutor.base.errors import unreadable
    from tomotutor.formats.label_csv import unguarded

    path = Path(given[0])
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return [unguarded(row["item"]) for row in csv.DictReader(handle)]
    except KeyError:
        raise TomoTutorError(f"{path}: has no column item; expected a CSV file with one item id a row") from None
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise unreadable(path, problem, "a CSV file") from None


def add(commands: Commands) -> None:
    """Add these commands."""
    parsers = []

    def command(name: str, function: Any, text: str, *, writes: bool = False) -> argparse.ArgumentParser:
        parsers.append(add_command(commands, name, function, text, threads=True, writes=writes))
        return parsers[-1]

    groups = command("groups", _groups, "list groups of look-alikes: size, likely class, purity, typical members")
    groups.add_argument("-n", type=count, default=GROUPS, metavar="N", help=f"how many groups (default {GROUPS})")

    text = "take confident predictions for labels; one in twenty is asked again blind"
    accept = command("accept", _accept, text, writes=True)
    accept.add_argument("--min-confidence", type=_share, required=True, metavar="P", help="least confidence, 0 to 1")
    accept.add_argument("--class", dest="class_name", default="", metavar="NAME", help="only predictions of this class")

    doubts = command("doubts", _doubts, "list labels that look wrong, the worst in front")
    doubts.add_argument("-n", type=count, default=20, metavar="N", help="how many at most (default 20)")

    similar = command("similar", _similar, "list the items most like one")
    similar.add_argument("item", metavar="ITEM", help="item id")
    similar.add_argument("-n", type=count, default=20, metavar="N", help="how many (default 20)")

    text = "draw predicted members of a class to be asked singly and blind, or tell how pure the class is so far"
    check = command("check-class", _check_class, text, writes=True)
    check.add_argument("name", metavar="NAME", help="class")
    check.add_argument(
        "--threshold", type=_share, default=0.0, metavar="P", help="draw from members at least so confident"
    )
    more = f"draw so many, also where some were drawn before (default {DRAWN} the first time, then none)"
    check.add_argument("-n", type=count, metavar="N", help=more)

    answers = command(
        "answers", _answers, "tell the newest answers: what gives them, how right they are, what to do next"
    )
    text = "also write columns item,class,confidence,disagreement,labeled,overlaps"
    answers.add_argument("--csv", metavar="FILE", help=text)

    text = "average particles: by the list's angles or, where it has none, aligned to each other"
    average = command("average", _average, text)
    which = average.add_mutually_exclusive_group(required=True)
    which.add_argument("--items", nargs="+", metavar="ITEM|CSV", help="item ids, or a CSV file with a column item")
    which.add_argument(
        "--class", dest="class_name", metavar="NAME", help="whatever is labeled or predicted as this class"
    )
    which.add_argument("--label", metavar="NAME", help="only what a person labeled so")
    which.add_argument("--group", type=count, metavar="K", help="a group of look-alikes, as groups counts them")
    average.add_argument(
        "--groups", type=count, default=GROUPS, metavar="N", help=f"number of groups (default {GROUPS})"
    )
    average.add_argument("--no-align", action="store_true", help="without angles, average the boxes as they lie")
    average.add_argument("--out", required=True, metavar="FILE", help="MRC file to write")
    for parser in parsers:
        parser.add_argument("--json", action="store_true", help="for programs")
