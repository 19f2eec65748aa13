"""A class that was renamed by hand in session.toml, whose labels nothing names any more: put back, so that it opens."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

from tomotutor.session.classes import JUNK, check_classes, fold
from tomotutor.session.database import Database
from tomotutor.session.label_log import replay
from tomotutor.session.labels import labels_of
from tomotutor.session.session_file import SessionFile


def put_back_class(folder: Path, name: str, instead: str) -> bool:
    """Name a class in session.toml again where the log has labels of it and session.toml does not name it.

    Parameters
    ----------
    folder : Path
        The session.
    name : str
        The class.
    instead : str
        The name that it is to have; where session.toml has that, and no label is of it, it gives its place back.

    Returns
    -------
    bool
        Whether session.toml was changed.
    """
    file = SessionFile.read(folder)
    with closing(Database(folder, write=True)) as database:
        log = replay(database.entries())
        classes = fold(file.classes, log.active)
        labeled = {classes.current(e.label or "", e.seq) for e in log.labels().values()}
        named = labels_of(file.recipe.task, folder, classes).one_class
        if not named or name in classes.names or name not in labeled:
            return False
        names = list(file.classes)
        if instead in names and instead not in labeled:
            names[names.index(instead)] = name
        else:
            names.insert(len(names) - (names[-1] == JUNK), name)
        dataclasses.replace(file, classes=check_classes(names, junk=False)).write(folder)
    return True
