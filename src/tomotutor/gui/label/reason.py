"""One line under the item: why it is asked, and what is known of it."""

from __future__ import annotations

from typing import Any

from tomotutor.session.status import ItemView


def describe(item: ItemView | None) -> str:
    """Return the title of an item, as rich text without the fold that its id may need."""
    if item is None:
        return "every item has an answer"
    notes = []
    if item.label:
        notes.append("has a mask" if item.label.endswith(".png") else f"labeled {item.label}")
    elif item.action:
        notes.append("unsure" if item.action == "unsure" else "skipped before")
    if item.is_audit:
        notes.append("audit item")
    if item.padded:
        notes.append("box leaves the tomogram")
    return " · ".join([item.id, *notes])


def reason(item: ItemView | None, *, has_model: bool, pool_map: Any = None, unit: str = "nats") -> str:
    """Return what the networks say of an item in a line; where there is no model yet, its group on the pool map."""
    if item is None:
        return "nothing left to label"
    hidden = item.is_audit and item.label is None
    if has_model:
        if hidden:
            return "audit item: the prediction is hidden until you answer"
        number = "" if item.disagreement is None else f"disagreement {item.disagreement:.3f} {unit}"
        return " · ".join(part for part in (item.reason, number) if part) or "not scored in this round"
    if item.reason and not hidden:
        return item.reason
    group = None if pool_map is None else pool_map.group(item.row)
    if group is None:
        return "no model yet: it comes after the first training"
    if hidden:
        return "no model yet · audit item: its look-alikes are hidden until you answer"
    size, groups = int((pool_map.group_N == group).sum()), pool_map.group_N.max() + 1
    return f"no model yet · look-alikes: group {group + 1} of {groups} ({size} items)"
