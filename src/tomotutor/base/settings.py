"""Settings, each declared once: its type, choices, bounds and help stand beside its field, and are read from there."""

from __future__ import annotations

import dataclasses
import math
import reprlib
import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from tomotutor.base.errors import TomoTutorError

_LARGEST = 2**31 - 1  # of whole numbers that declare no bound


def setting(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    among: tuple[Any, ...] = (),
    name: str = "",
    help: str = "",
    **more: Any,
) -> Any:
    """Declare a field of a group of settings.

    Parameters
    ----------
    default : object
        Its value where none is given; without one it must be given.
    low, high : float, optional
        Smallest and largest value.
    above, below : float, optional
        Values that it must exceed, and stay under.
    among : tuple
        Numbers it may be (for words, the type is a Literal).
    name : str
        Its flat name, where the field's own would not be unique.
    help : str
        What the command line says of it.
    **more
        Kept as it is for those who read declarations, in `Setting.more`.
    """
    bounds = {"low": low, "high": high, "above": above, "below": below}
    return dataclasses.field(
        default=default, metadata={**bounds, "among": among, "name": name, "help": help, "more": more}
    )


@dataclasses.dataclass(frozen=True)
class Setting:
    """The declaration of one setting.

    Attributes
    ----------
    name : str
        Flat name: unique among all groups.
    group, field : str
        Where its value is kept; the group is "" at the top.
    hint : type
        int, float, str, a Literal, or a tuple of numbers.
    default : object
        `dataclasses.MISSING` where it must be given.
    low, high, above, below, among, help, more
        As declared with `setting`.
    """

    name: str
    group: str
    field: str
    hint: Any
    default: Any
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    among: tuple[Any, ...] = ()
    help: str = ""
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def choices(self) -> tuple[Any, ...]:
        """What it may be, where that is a list."""
        return get_args(self.hint) if get_origin(self.hint) is Literal else self.among

    @property
    def kind(self) -> type:
        """The type of its value, or of the numbers in its tuple."""
        if get_origin(self.hint) is Literal:
            return type(get_args(self.hint)[0])
        kind: type = get_args(self.hint)[0] if self.is_tuple else self.hint
        return kind

    @property
    def is_tuple(self) -> bool:
        """Whether it is any number of numbers."""
        return get_origin(self.hint) is tuple

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return (
            -math.inf if self.low is None else self.low,
            (_LARGEST if self.kind is int else math.inf) if self.high is None else self.high,
        )

    def read(self, text: str, what: str) -> Any:
        """Return the value that a text such as a command line's stands for."""
        try:
            return self.kind(text)
        except ValueError:
            raise self._wrong(text, what) from None

    def checked(self, value: Any, what: str) -> Any:
        """Return a value as it is kept.

        Raises
        ------
        TomoTutorError
            It has the wrong type, is not finite, or is none of the choices or out of bounds.
        """
        if self.is_tuple:
            if not isinstance(value, list | tuple):
                raise self._wrong(value, what)
            return tuple(self._number(one, value, what) for one in value)
        if self.kind is not str:
            value = self._number(value, value, what)
        elif not isinstance(value, str):
            raise self._wrong(value, what)
        if self.choices and value not in self.choices:
            raise self._wrong(value, what)
        return value

    def _number(self, value: Any, found: Any, what: str) -> int | float:
        if not isinstance(value, Integral if self.kind is int else Real) or isinstance(value, bool):
            raise self._wrong(found, what)
        size: Any = abs(value)
        if self.kind is float and not size <= sys.float_info.max:
            raise self._wrong(found, what, "" if self.choices else "a finite number")
        number: int | float = self.kind(value)
        expected = self._within(number)
        if expected:
            raise self._wrong(found, what, expected)
        return number

    def _within(self, number: float) -> str:
        """Return what is expected instead of a number out of bounds, "" for one that lies within."""
        low, high = self.bounds
        if self.low is not None and self.high is not None:
            return "" if low <= number <= high else f"{low} to {high}"
        if number < low:
            return f"{self._noun} of {low} or more"
        if number > high:
            return f"{self._noun} of {high} at most"
        if self.above is not None and number <= self.above:
            return f"{self._noun} above {self.above}"
        return f"{self._noun} below {self.below}" if self.below is not None and number >= self.below else ""

    @property
    def _noun(self) -> str:
        if self.choices:
            words = [f"{c:g}" if isinstance(c, float) else str(c) for c in self.choices]
            return f"one of {', '.join(filter(None, words))}" + (", or nothing" if "" in self.choices else "")
        nouns = {str: "text", int: "a whole number", float: "a number"}
        return ("a list, each entry " if self.is_tuple else "") + nouns[self.kind]

    def _wrong(self, found: Any, what: str, expected: str = "") -> TomoTutorError:
        return TomoTutorError(f"{what}: {self.name} is {reprlib.repr(found)}; expected {expected or self._noun}")


def declared(owner: type) -> dict[str, Setting]:
    """Return the declarations of a dataclass of settings by their flat names, in order."""
    found: dict[str, Setting] = {}

    def collect(cls: type, group: str) -> None:
        hints = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            hint = hints[field.name]
            if dataclasses.is_dataclass(hint):
                collect(hint, field.name)  # type: ignore[arg-type]
                continue
            told = dict(field.metadata)
            name = told.pop("name", "") or field.name
            assert name not in found, f"two settings are called {name}"
            found[name] = Setting(name, group, field.name, hint, field.default, **told)

    collect(owner, "")
    return found


class Settings:
    """Base of frozen settings grouped by concern: dataclasses with `init=False`, whose fields are settings and groups,
    frozen dataclasses of settings.

    Groups are for reading (`recipe.training.steps`); settings are given and changed by their flat names.

    Parameters
    ----------
    *values, **settings
        Settings in the order of their declaration, or by flat name; what is missing takes its default.

    Raises
    ------
    TomoTutorError
        A setting is unknown, missing, or is nothing that it can be.
    """

    what: ClassVar[str]  # what errors begin with

    def __init__(self, *values: Any, **settings: Any) -> None:
        known = declared(type(self))
        given = dict(zip(known, values, strict=False)) | settings
        for name in given:
            if name not in known:
                raise TomoTutorError(
                    f"{self.what}: unknown setting {reprlib.repr(name)}; expected one of {', '.join(known)}"
                )
        parts: dict[str, dict[str, Any]] = {}
        for name, it in known.items():
            value = given.get(name, it.default)
            if value is dataclasses.MISSING:
                raise TomoTutorError(
                    f"{self.what}: {name} is missing; expected it beside {', '.join(given) or 'others'}"
                )
            parts.setdefault(it.group, {})[it.field] = it.checked(value, self.what)
        hints = get_type_hints(type(self))
        groups = {group: hints[group](**part) for group, part in parts.items() if group}
        for field, value in {**parts.get("", {}), **groups}.items():
            object.__setattr__(self, field, value)
        self.check()

    def check(self) -> None:
        """Hold settings against each other; raises TomoTutorError where they do not go together."""

    def flat(self) -> dict[str, Any]:
        """Return all settings by their flat names."""
        return {
            name: getattr(getattr(self, it.group) if it.group else self, it.field)
            for name, it in declared(type(self)).items()
        }

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed, by their flat names."""
        return type(self)(**{**self.flat(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, a table for each group, for TOML or JSON."""
        tables: dict[str, Any] = {}
        for it, value in zip(declared(type(self)).values(), self.flat().values(), strict=True):
            table = tables.setdefault(it.group, {}) if it.group else tables
            table[it.field] = list(value) if it.is_tuple else value
        return tables

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read what `to_dict` returned, or the settings by their flat names, as earlier versions kept them; what is
        missing takes its default.

        Raises
        ------
        TomoTutorError
            It is no table, or a setting in it is unknown or wrong.
        """
        names = {(it.group, it.field): name for name, it in declared(cls).items()}
        groups = {group for group, _ in names if group}

        def entries(table: Any, where: str) -> list[tuple[Any, Any]]:
            if not isinstance(table, dict):
                raise TomoTutorError(f"{where}: is {reprlib.repr(table)}; expected a table of settings")
            return list(table.items())

        flat = {}
        for key, value in entries(values, cls.what):
            if key not in groups:
                flat[key] = value
                continue
            for field, one in entries(value, f"{cls.what}: {key}"):
                flat[names.get((key, field), f"{key}.{field}")] = one
        return cls(**flat)

    @classmethod
    def choices(cls) -> dict[str, tuple[Any, ...]]:
        """Return what settings may be, where that is a list."""
        return {name: it.choices for name, it in declared(cls).items() if it.choices}
