"""The sample data that ships with TomoTutor, and sessions on it."""

from __future__ import annotations

from pathlib import Path

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.progress import Report, ignore
from tomotutor.data.sources import Source
from tomotutor.session.create import Created, create_session

CLASSES = ("ribosome", "proteasome", "chaperonin", "ferritin")


def sample_data() -> Path:
    """Return the folder of the sample data: in an installed package, or at the top of a checkout."""
    here = Path(__file__).parent
    for folder in (here.parent / "sample_data", here.parents[2] / "sample_data"):
        if (folder / "particles.star").is_file():
            return folder
    raise TomoTutorError(f"{here}: the sample data is missing from this installation; install TomoTutor again")


def create_sample_session(folder: Path, report: Report = ignore, settings: dict[str, str] | None = None) -> Created:
    """Make a session on the two sample tomograms."""
    data = sample_data()
    source = Source("particles", str(data / "particles.star"), str(data / "tomograms.star"))
    return create_session(folder, source, CLASSES, settings=settings, report=report)
