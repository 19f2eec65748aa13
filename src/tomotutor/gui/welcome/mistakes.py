"""Which field of the New session page a mistake is in, and how it reads there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.options import OPTIONS

_FLAGS = {it.more["flag"]: name for name, it in OPTIONS.items()}
_FLAGS |= {"--classes": "classes", "--task": "task", "--start": "start"}
_BEGINS = (("class ", "classes"), ("classes ", "classes"), ("classes:", "classes"), ("start ", "start"))


class FieldError(TomoTutorError):
    """A mistake in a field of the page."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def field_of(problem: Exception, paths: Mapping[str, Path]) -> str:
    """Return the name of the field that a mistake is in, "" where none is at fault.

    Parameters
    ----------
    problem : Exception
        What making the session or looking at its input raised.
    paths : dict of str to Path
        The paths on the page, by the names of their fields.
    """
    if isinstance(problem, FieldError):
        return problem.field
    if not isinstance(problem, TomoTutorError):
        return ""
    text = str(problem)
    if (setting := re.search(r": (\w+) (?:is|has) ", text)) and setting[1] in OPTIONS:
        return setting[1]
    for flag in re.findall(r"--[a-z-]+", text):
        if flag in _FLAGS:
            return _FLAGS[flag]
    of_path = [(len(str(path)), name) for name, path in paths.items() if re.match(rf"{re.escape(str(path))}[:/]", text)]
    if of_path:
        return max(of_path)[1]
    return next((name for begin, name in _BEGINS if text.startswith(begin)), "")


def in_words(text: str, labels: Mapping[str, str]) -> str:
    """Return an error with the page's own names for its fields in place of the command line's."""
    return re.sub(
        r"--[a-z-]+",
        lambda found: f"“{labels[name]}”" if (name := _FLAGS.get(found[0], "")) in labels else found[0],
        text,
    )
