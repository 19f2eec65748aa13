"""What the screen remembers: of a session in its folder, of the person in Qt's settings."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QSettings

from tomotutor.base.files import new_file

_FILE = "screen.json"
_RECENT, _MOST = "recent", 6
_ARRANGEMENT, _ANNOTATOR = "arrangement", "annotator"


@dataclass(frozen=True)
class Arrangement:
    """How a person has arranged the screen.

    Attributes
    ----------
    page : int
        Number of the page of the dock that shows.
    below : float
        Share of the window's height that Particles takes; 0: as it comes.
    beside : float
        Share of the window's width that the dock takes, likewise.
    """

    page: int = 0
    below: float = 0.0
    beside: float = 0.0


def automatic_training(folder: Path) -> bool:
    """Whether trainings of a session start by themselves."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / _FILE).read_text())
        return not (isinstance(found, dict) and found.get("automatic_training") is False)
    return True


def set_automatic_training(folder: Path, on: bool) -> None:
    """Remember whether trainings of a session start by themselves."""
    with new_file(folder / _FILE) as partial:
        partial.write_text(json.dumps({"automatic_training": on}))


def recent_sessions() -> list[Path]:
    """Return the sessions opened last that are still there, the newest first."""
    found = _kept().value(_RECENT, [])
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return [Path(name) for name in names if (Path(name) / "labels.sqlite").is_file()]


def add_recent(folder: Path) -> None:
    """Remember a session as the one opened last."""
    this = folder.resolve()
    names = [str(this), *(str(path) for path in recent_sessions() if path != this)]
    _kept().setValue(_RECENT, names[:_MOST])


def arrangement() -> Arrangement:
    """Return how the screen was arranged when a session was last closed."""
    with contextlib.suppress(TypeError, ValueError):
        page, *shares = json.loads(str(_kept().value(_ARRANGEMENT, "")))
        return Arrangement(int(page), *(min(max(float(share), 0.0), 0.9) for share in shares))
    return Arrangement()


def set_arrangement(arranged: Arrangement) -> None:
    """Remember how the screen is arranged."""
    _kept().setValue(_ARRANGEMENT, json.dumps([arranged.page, arranged.below, arranged.beside]))


def annotator() -> str:
    """Return who labels here, "" where nobody was asked yet."""
    return str(_kept().value(_ANNOTATOR, "") or "")


def set_annotator(name: str) -> None:
    """Remember who labels here."""
    _kept().setValue(_ANNOTATOR, name)


def _kept() -> QSettings:
    return QSettings("TomoTutor", "TomoTutor")
