"""session.toml: what a session is made of."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomli_w

import tomotutor
from tomotutor.base.errors import TomoTutorError, command, unreadable
from tomotutor.base.files import new_file
from tomotutor.data.sources import Source
from tomotutor.learn.recipe import Recipe
from tomotutor.session.classes import check_classes

NAME = "session.toml"


@dataclass(frozen=True)
class SessionFile:
    """Contents of session.toml.

    Attributes
    ----------
    classes : tuple of str
        Class names.
    recipe : Recipe
        Settings in force.
    source : Source or None
        The first input, of a session that an earlier version made; today's are in the database.
    """

    classes: tuple[str, ...]
    recipe: Recipe
    source: Source | None = None

    @staticmethod
    def read(folder: Path) -> SessionFile:
        """Read it.

        Raises
        ------
        TomoTutorError
            There is none, or it is damaged.
        """
        path = folder / NAME
        if path.is_fifo():  # in a session somebody sent: it would be waited for
            raise TomoTutorError(f"{path}: a pipe; expected the description of a session")
        try:
            values = tomllib.loads(path.read_text())
            source = Source.from_dict(values["source"]) if "source" in values else None
            classes = check_classes([str(name) for name in values["classes"]], junk=False)
            return SessionFile(classes, Recipe.from_dict(values["recipe"]), source)
        except TomoTutorError as problem:
            raise TomoTutorError(f"{path}: {problem}") from None
        except FileNotFoundError:
            if (folder / "labels.sqlite").is_file():
                raise TomoTutorError(
                    f"{path}: not there any more, though the labels are; '{command('repair', folder)}' brings it back"
                ) from None
            raise TomoTutorError(f"{folder}: not a session (no {NAME} in it); make one with 'tomotutor new'") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
            mend = f"the labels are not touched by that; '{command('repair', folder)}' brings a copy of it back"
            raise unreadable(path, problem, "the description of a session", mend) from None

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        values = {
            "version": tomotutor.__version__,
            "classes": list(self.classes),
            "recipe": self.recipe.to_dict(),
        }
        if self.source is not None:
            values["source"] = self.source.to_dict()
        with new_file(folder / NAME) as path:
            path.write_text(tomli_w.dumps(values))

    def with_recipe(self, recipe: Recipe) -> SessionFile:
        """Return a copy with other settings."""
        return dataclasses.replace(self, recipe=recipe)

    def without_source(self) -> SessionFile:
        """Return a copy that leaves its input to the database."""
        return dataclasses.replace(self, source=None)
