"""What is killed in test_kills.py: labels, changes and trains, and says what was acknowledged, a line each.

Started once, it runs each way of writing in a process of its own; only that one is killed.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

from tomotutor.base.progress import ignore
from tomotutor.export.answers import export
from tomotutor.session import Session, bulk, classes


def say(*words: object) -> None:
    os.write(1, f"{' '.join(map(str, words))}\n".encode())  # one call: no line is cut by a kill


def label(session: Session, folder: Path) -> None:
    for n in range(10**6):
        row = n % len(session.ids)
        name = session.classes[n % 2]
        session.label(session.ids[row], name)
        say("label", row, name)


def take_over(session: Session, folder: Path) -> None:
    """Import a label for every item."""
    for n in range(10**6):
        name = session.classes[n % 2]
        session.import_labels((item, name, "") for item in session.ids)
        say("all", name)


def take_back(session: Session) -> None:
    """Undo the step that a killed run left standing."""
    while (step := session.state.log.last_step()) and bulk.is_bulk(step[0]):
        session.undo()


def steps(session: Session, give: Callable[[int], int]) -> None:
    """Give many labels in one step and take them back, on and on."""
    say("from", max((entry.seq for entry in session._core.database.entries()), default=0))
    for n in range(10**6):
        count = give(n)
        assert count
        say("step", session.state.log.last_step()[0].of_step, count)
        session.undo()
        say("undone", n)


def select(session: Session, folder: Path) -> None:
    take_back(session)
    steps(session, lambda n: session.label_many(range(len(session.ids)), session.classes[n % 2]))


def accept(session: Session, folder: Path) -> None:
    if not session.rounds:
        session.set_recipe(session.recipe.replace(between="uherding"))
        for row in range(12):
            session.label(session.ids[row], session.classes[row % 2])
        session.run_round()
    take_back(session)
    session.refresh_answers()
    steps(session, lambda n: session.accept(range(len(session.ids))))


def turn(session: Session, folder: Path) -> None:
    """Undo what was said last, or bring it back."""
    for n in range(10**6):
        row = n % len(session.ids)
        before = session.labels().get(row, "-")
        say("begin", row)
        session.label(session.ids[row], session.classes[n % 2])
        session.undo()
        say("label", row, before)
        session.redo()
        say("label", row, session.classes[n % 2])


def change(session: Session, folder: Path) -> None:
    for n in range(10**6):
        first = session.classes[0]
        session.change_classes(classes.rename(session.class_table, first, f"name_{n}"))
        say("renamed", first, n)


def train(session: Session, folder: Path) -> None:
    y = np.arange(len(session.ids)) % 2
    for row in range(12):
        session.label(session.ids[row], session.classes[y[row]])
        say("label", row, session.classes[y[row]])
    say("trained", len(session.rounds))
    while True:
        session.run_round()
        say("trained", len(session.rounds))


def write(session: Session, folder: Path) -> None:
    if not session.rounds:
        for row in range(12):
            session.label(session.ids[row], session.classes[row % 2])
        session.run_round()
    say("ready to write")
    for n in range(10**6):
        export(session, folder.parent / "out", "csv", per_class=False, report=ignore)
        say("exported", n)


WAYS = {way.__name__: way for way in (label, take_over, select, accept, turn, change, train, write)}


def serve() -> None:
    """Read `folder way` lines; each runs in a process of its own, whose imports are done already."""
    for line in sys.stdin:
        folder, way = line.rstrip("\n").rsplit(" ", 1)
        child = os.fork()
        if not child:
            with Session(folder) as opened:
                say("ready", os.getpid())
                WAYS[way](opened, Path(folder))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    for name in (
        "torch",
        "scipy.stats",
        "tomotutor.learn.inference",
        "tomotutor.learn.next_items",
        "tomotutor.learn.round",
    ):
        import_module(name)
    serve()
