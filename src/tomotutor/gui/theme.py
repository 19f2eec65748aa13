"""Colours of the screen: those of napari's theme."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

from tomotutor.session.classes import JUNK

TEACHER, STUDENT = QColor(70, 140, 205), QColor(215, 130, 40)  # readable on dark and on light


@dataclass(frozen=True)
class Colours:
    """What is painted by hand is painted in these."""

    text: QColor
    ground: QColor
    raised: QColor
    line: QColor
    warning: QColor


def mixed(a: QColor, b: QColor, share: float) -> QColor:
    """Return `a` with a share of `b` in it."""
    parts = zip((a.red(), a.green(), a.blue()), (b.red(), b.green(), b.blue()), strict=True)
    return QColor(*(round((1 - share) * x + share * y) for x, y in parts))


def colours_of(theme: str) -> Colours:
    """Return the colours of one of napari's themes."""
    found = get_theme(theme)
    names = (found.text, found.background, found.foreground, found.secondary, found.warning)
    return Colours(*(QColor(*c.as_rgb_tuple()[:3]) for c in names))


def class_colours(
    classes: Sequence[str], chosen: Mapping[str, str] | None = None
) -> dict[str, tuple[float, float, float]]:
    """Return a colour for each class, from 0 to 1: the chosen one ("#rrggbb"), else a bright one; junk is grey."""
    # the golden section: neighbours differ, however many there are
    hues = [(0.13 + 0.618 * n) % 1 for n in range(len(classes))]
    found = {
        name: (0.6, 0.6, 0.6) if name == JUNK else colorsys.hsv_to_rgb(h, 0.85, 0.95)
        for name, h in zip(classes, hues, strict=True)
    }
    for name, colour in (chosen or {}).items():
        if name in found:
            rgb = QColor(colour)
            found[name] = (rgb.redF(), rgb.greenF(), rgb.blueF())
    return found
