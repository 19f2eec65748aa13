"""Commands that mend a session: its database, and its classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from tomotutor.base.errors import TomoTutorError
from tomotutor.cli.common import Commands, add_command, split_names


def _repair(args: argparse.Namespace) -> None:
    from tomotutor.session.repair import repair_session

    for sentence in repair_session(Path(args.session)):
        print(sentence)


def _classes(args: argparse.Namespace) -> None:
    from tomotutor.session import Session, classes
    from tomotutor.session.lost_class import put_back_class

    for name, to in filter(None, (args.rename, args.merge)):
        put_back_class(Path(args.session), name, to)
    wanted = [
        args.add and (lambda now: classes.add(now, args.add)),
        args.rename and (lambda now: classes.rename(now, *args.rename)),
        args.merge and (lambda now: classes.merge(now, *args.merge)),
        args.recolour and (lambda now: classes.recolour(now, *args.recolour)),
        args.key and (lambda now: classes.rekey(now, *args.key)),
        args.order and (lambda now: classes.reorder(now, split_names(args.order))),
    ]
    changes = [change for change in wanted if change]
    if len(changes) > 1:
        raise TomoTutorError("classes: found several changes; expected one at a time")
    with Session(args.session, write=bool(changes)) as session:
        for change in changes:
            session.change_classes(change(session.class_table))
        counts, table = session.status.counts, session.class_table
    for number, name in enumerate(table.names, start=1):
        chosen = [table.colours.get(name, ""), f"key {table.keys[name]}" if name in table.keys else ""]
        print(f"{number:3d}  {name:24s} {counts[name]:6d} labels  {'  '.join(filter(None, chosen))}".rstrip())


def add(commands: Commands) -> None:
    """Add these commands."""
    add_command(
        commands,
        "repair",
        _repair,
        "save all labels that can be read of a damaged session, and say what is lost",
        writes=True,
    )
    text = "list the classes of a session with their labels, or change one; a change can be undone as any answer"
    names = add_command(commands, "classes", _classes, text, writes=True)
    names.add_argument("--add", metavar="NAME", help="add a class")
    names.add_argument(
        "--rename", nargs=2, metavar=("OLD", "NEW"), help="give a class another name; its labels go along"
    )
    names.add_argument("--merge", nargs=2, metavar=("A", "INTO"), help="make class A a part of another one")
    names.add_argument("--recolour", nargs=2, metavar=("NAME", "COLOUR"), help="give a class a colour, such as #1f77b4")
    names.add_argument("--key", nargs=2, metavar=("NAME", "KEY"), help="give a class a key, a digit or a letter")
    names.add_argument("--order", metavar="A,B,C", help="put the classes into another order")
