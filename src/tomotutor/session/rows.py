"""What a row of the database must be, for rows may be damaged and still be readable: types, ranges and known words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from tomotutor.session.label_log import NO_ITEM, Entry

ACTIONS = ("label", "unsure", "skip", "class", "undo", "redo")


def entry_fits(entry: Entry, items: int) -> bool:
    """Whether a row of the label log can be one of a session of so many items."""
    e = entry
    turned = e.action in ("undo", "redo")
    return (
        _whole(e.seq, 1)
        and _whole(e.item, NO_ITEM, items - 1)
        and e.action in ACTIONS
        and all(isinstance(text, str) for text in (e.at, e.annotator, e.origin))
        and e.audit in ("check", "train", "")
        and _whole(e.round, 0)
        and all(text is None or isinstance(text, str) for text in (e.label, e.predicted))
        and all(value is None or _number(value) for value in (e.confidence, e.disagreement))
        and (e.step is None or _whole(e.step, 1, e.seq))
        and (e.undoes is None or _whole(e.undoes, 1, e.seq - 1))
        and (e.undoes is not None) == turned
        and (e.item != NO_ITEM or e.action == "class" or turned)
        and (e.action != "label" or bool(e.label))
        and (e.action != "class" or (e.item == NO_ITEM and change_fits(e.label)))
    )


def change_fits(text: str | None) -> bool:
    """Whether the text of a "class" entry is a change of classes."""
    try:
        change = json.loads(text or "")
    except (ValueError, RecursionError):
        return False
    if not isinstance(change, dict):
        return False
    what, names = change.get("do"), change.get("names")
    if what == "reorder":
        return _names(names)
    words = {"add": ("name",), **dict.fromkeys(("rename", "merge", "recolour", "rekey"), ("name", "to"))}
    return isinstance(what, str) and what in words and all(_named(change.get(word)) for word in words[what])


def record_fits(record: object) -> bool:
    """Whether the record of a round has what the rest goes by."""
    if not isinstance(record, dict):
        return False
    metrics, warmth = record.get("metrics"), record.get("temperatures")
    return (
        isinstance(record.get("recipe"), dict)
        and isinstance(metrics, dict)
        and isinstance(metrics.get("seconds", {}), dict)
        and all(_number(value) for value in metrics.get("seconds", {}).values())
        and ("start_check" not in metrics or _counts(metrics["start_check"]))
        and ("classes" not in record or _names(record["classes"]))
        and _whole(record.get("log", 0), 0)
        and isinstance(record.get("shape", []), list)
        and all(_whole(edge, 1, 2**20) for edge in record.get("shape", []))
        and _number(record.get("voxel_size_angst", 0))
        and (warmth is None or (isinstance(warmth, dict) and all(_number(v) and v > 0 for v in warmth.values())))
    )


def _whole(value: object, least: int, most: float = math.inf) -> bool:
    return type(value) is int and least <= value <= most


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _named(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_named(name) for name in value)


def _counts(value: object) -> bool:
    return isinstance(value, Mapping) and all(_whole(count, 0) for count in value.values())
