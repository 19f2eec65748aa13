"""session.toml: what a session is made of."""

from __future__ import annotations

import dataclasses
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomli_w

import tomotutor
from tomotutor.base.errors import TomoTutorError
from tomotutor.base.files import new_file
from tomotutor.data.sources import Source
from tomotutor.learn.recipe import Recipe
from tomotutor.session.classes import check_classes

NAME = "session.toml"


@dataclass(frozen=True)
class SessionFile:
    """Contents of session.toml."""

    classes: tuple[str, ...]
    source: Source
    recipe: Recipe

    @staticmethod
    def read(folder: Path) -> SessionFile:
        """Read it.

        Raises
        ------
        TomoTutorError
            There is none, or it is damaged.
        """
        path = folder / NAME
        try:
            values = tomllib.loads(path.read_text())
            return SessionFile(
                tuple(values["classes"]), Source.from_dict(values["source"]), Recipe.from_dict(values["recipe"])
            )
        except TomoTutorError as problem:
            raise TomoTutorError(f"{path}: {problem}") from None
        except FileNotFoundError:
            raise TomoTutorError(f"{folder}: not a session (no {NAME} in it); make one with 'tomotutor new'") from None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise TomoTutorError(
                f"{path}: damaged ({problem}); the labels in labels.sqlite are not touched by that"
            ) from None

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        values = {
            "version": tomotutor.__version__,
            "classes": list(self.classes),
            "source": self.source.to_dict(),
            "recipe": self.recipe.to_dict(),
        }
        with new_file(folder / NAME) as path:
            path.write_text(tomli_w.dumps(values))

    def with_recipe(self, recipe: Recipe) -> SessionFile:
        """Return a copy with other settings."""
        return dataclasses.replace(self, recipe=recipe)

    def with_source(self, source: Source) -> SessionFile:
        """Return a copy with its input described otherwise."""
        return dataclasses.replace(self, source=source)
