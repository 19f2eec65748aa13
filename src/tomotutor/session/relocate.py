"""Where a session's inputs are, told anew: they moved, or the session keeps them as an earlier version did."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import concat
from tomotutor.session.database import Database
from tomotutor.session.inputs import INPUTS, read_inputs, to_json
from tomotutor.session.session_file import NAME, SessionFile


def gather_inputs(folder: Path, file: SessionFile, database: Database) -> SessionFile:
    """Bring the inputs of a session of an earlier version, which lie in session.toml and in the database, together
    into the database; session.toml is copied first.

    Returns
    -------
    SessionFile
        What session.toml holds then.
    """
    if file.source is None:
        return file
    shutil.copyfile(folder / NAME, folder / f"{NAME}.old")
    database.set_meta(INPUTS, to_json(read_inputs(database, file.source)))  # from here on session.toml is not asked
    gathered = file.without_source()
    gathered.write(folder)
    return gathered


def relocate_session(folder: Path, old: str, new: str) -> int:
    """Tell a session that its input moved: paths under `old` are looked for under `new` from now on.

    Parameters
    ----------
    folder : Path
        The session.
    old : str
        A folder as the session knows it; of Windows or of POSIX, whatever this machine is.
    new : str
        The same folder on this machine.

    Returns
    -------
    int
        Items found at the new place.

    Raises
    ------
    TomoTutorError
        No path of the session lies under `old`, or its items are not found under `new`; the session stays as it was.
    """
    file = SessionFile.read(folder)
    database = Database(folder, write=True)
    try:
        inputs = read_inputs(database, file.source)
        place = str(Path(new).resolve())
        moved = [dataclasses.replace(one, source=one.source.relocated(old, place)) for one in inputs]
        if moved == inputs:
            known = ", ".join(path for one in inputs for path in one.source.paths().values())
            raise TomoTutorError(f"{folder}: none of its paths lies under {old}; they are {known}")
        opened = [one.open(folder) for one in moved]
        pool = concat([one.pool for one in opened])
        ids, _, _ = database.items()
        if pool.ids != ids:
            raise TomoTutorError(
                f"{new}: it has {len(pool)} items, other than the {len(ids)} this session was made with; copy the "
                "original files there"
            )
        moved = [one.recognised(found, folder) for one, found in zip(moved, opened, strict=True)]
        gather_inputs(folder, file, database)
        database.set_meta(INPUTS, to_json(moved))
        return len(pool)
    finally:
        database.close()
