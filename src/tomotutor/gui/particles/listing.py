"""What the grid shows: which particles, in which order, under which headers. Plain arrays, no Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tomotutor.session import Session

SHOWS = ("queue", "groups", "class", "labeled", "doubted", "unsure", "chosen", "all")
SORTS = ("queue order", "disagreement", "confidence", "likeness", "tomogram")
IN_QUEUE = 2000  # the next ones that are listed
DOUBTED = 1.0  # nats against a label from which it looks wrong


@dataclass(frozen=True)
class Section:
    """Particles under a header; "" is none."""

    title: str
    rows: np.ndarray


@dataclass(frozen=True)
class Known:
    """What is known of every item of the pool.

    Attributes
    ----------
    class_N : ndarray of int
        The label, else the prediction; −1 where there is neither, or it must not be told.
    labeled_N : ndarray of bool
        Whether it is a label.
    confidence_N, disagreement_N : ndarray
        Of the prediction; nan where there is none. 1 for labels.
    """

    class_N: np.ndarray
    labeled_N: np.ndarray
    confidence_N: np.ndarray
    disagreement_N: np.ndarray


@dataclass(frozen=True)
class Wanted:
    """What the person wants to see; "" is everything."""

    show: str = "queue"
    sort: str = "queue order"
    class_name: str = ""
    tomogram: str = ""
    text: str = ""


@dataclass(frozen=True)
class Group:
    """A group of look-alikes: its members, the most typical in front, and what it is like, "" where unknown."""

    number: int
    rows: np.ndarray
    like: str = ""

    @property
    def title(self) -> str:
        """Its header."""
        size = len(self.rows)
        like = f" · {self.like}" if self.like else ""
        return f"group {self.number + 1} · {size} particle{'' if size == 1 else 's'}{like}"


def known_of(session: Session) -> Known:
    """Return what is known of every item now: the newest labels over the newest answers."""
    n, answers = len(session.ids), session.answers
    if answers is None or len(answers.class_N) != n:
        class_N, labeled_N = np.full(n, -1), np.zeros(n, bool)
        confidence_N, disagreement_N = np.full(n, np.nan), np.full(n, np.nan)
    else:
        class_N = np.where(answers.labeled_N, -1, answers.class_N)  # labels may have been taken back since
        class_N[class_N >= len(session.classes)] = -1
        labeled_N = np.zeros(n, bool)
        confidence_N, disagreement_N = answers.confidence_N.copy(), answers.disagreement_N
    number_of = {name: k for k, name in enumerate(session.classes)}
    blind = sorted(session.state.hidden())  # some may be asked blind since the answers were told
    class_N[blind], confidence_N[blind] = -1, np.nan
    again = session.state.asked_again()
    for row, name in session.labels().items() if session.one_class else ():
        if row not in again:
            class_N[row], labeled_N[row], confidence_N[row] = number_of[name], True, 1.0
    return Known(class_N, labeled_N, confidence_N, disagreement_N)


def groups_of(session: Session) -> list[Group]:
    """Return groups of look-alikes with what each is like; it takes seconds. Before the first round they are those of
    the map, by which the queue begins, where it has all items.
    """
    found, pool_map = session.answering.groups(), session.pool_map
    is_early = pool_map is not None and not session.rounds
    if found is not None and not (is_early and pool_map is not None and len(pool_map.rows) >= len(found[0].rows)):
        groups, answers = found
        like = {a.group: f"like {session.classes[a.likely]} ({a.purity:.0%})" for a in answers}
        return [Group(g, groups.members(g), like.get(g, "")) for g in range(len(groups))]
    if pool_map is None or not len(pool_map.rows):
        return []
    group_N = np.full(len(session.ids), -1)
    group_N[pool_map.rows] = pool_map.group_N
    shown = np.array([row for row in pool_map.order.tolist() if row not in session.state.hidden()], np.int64)
    members = [shown[group_N[shown] == g] for g in range(int(pool_map.group_N.max()) + 1)]
    class_N = known_of(session).class_N
    return [Group(g, rows, _likeness(class_N[rows], session.classes)) for g, rows in enumerate(members)]


def _likeness(class_M: np.ndarray, classes: Sequence[str]) -> str:
    """Return which class most answers of a group are of, and their share; "" where there are none."""
    known = class_M[class_M >= 0]
    if not len(known):
        return ""
    counts = np.bincount(known)
    return f"like {classes[int(counts.argmax())]} ({counts.max() / len(known):.0%})"


def sections(
    session: Session,
    wanted: Wanted,
    known: Known,
    *,
    groups: Sequence[Group] = (),
    doubted: np.ndarray | None = None,
    nearest: np.ndarray | None = None,
    chosen: Section | None = None,
) -> list[Section]:
    """Return what to show.

    Parameters
    ----------
    session : Session
        The session.
    wanted : Wanted
        Filter and order.
    known : Known
        What is known of its items.
    groups : sequence of Group
        For "groups".
    doubted : ndarray or None
        Labels that look wrong, the worst in front, for "doubted".
    nearest : ndarray or None
        Rows in the order of their likeness, for "likeness".
    chosen : Section or None
        What was chosen elsewhere, for "chosen".
    """
    pick_N = _picked(session, wanted)
    if wanted.show == "groups":
        return [
            Section(Group(g.number, kept, g.like).title, kept) for g in groups if len(kept := g.rows[pick_N[g.rows]])
        ]
    if wanted.show == "chosen" and wanted.sort == "queue order" and chosen is not None:
        kept = chosen.rows[pick_N[chosen.rows]]
        return [Section(chosen.title, kept)] if len(kept) else []
    waiting = session.waiting(IN_QUEUE)
    every: Mapping[str, object] = {
        "queue": waiting,
        "labeled": np.flatnonzero(known.labeled_N),
        "doubted": np.zeros(0, np.int64) if doubted is None else doubted,
        "unsure": np.array(sorted(session.state.log.items("unsure")), np.int64),
        "chosen": np.zeros(0, np.int64) if chosen is None else chosen.rows,
        "all": np.arange(len(session.ids)),
    }
    if wanted.show == "class":
        number = session.classes.index(wanted.class_name) if wanted.class_name in session.classes else -2
        rows = np.flatnonzero(known.class_N == number)
    else:
        rows = np.asarray(every[wanted.show])
    rows = rows[pick_N[rows]]
    if wanted.sort == "tomogram":
        tomogram_N = session.pool.tomogram_N
        names, of_N = np.unique(tomogram_N[rows], return_inverse=True)
        found = [(str(name), rows[of_N == k]) for k, name in enumerate(names)]
        return [
            Section(f"{name or 'no tomogram'} · {_particles(len(part))}{_by_class(part, known, session.classes)}", part)
            for name, part in found
        ]
    return [Section("", rows[_order(rows, wanted, known, waiting, nearest)])] if len(rows) else []


def _particles(n: int) -> str:
    return f"{n:,} particle{'' if n == 1 else 's'}"


def _by_class(rows: np.ndarray, known: Known, classes: Sequence[str]) -> str:
    """Return how many answers of each class there are, the most frequent in front."""
    count_C = np.bincount(known.class_N[rows] + 1, minlength=len(classes) + 1)
    if not count_C[1:].any():
        return ""
    names = ["no answer", *classes]
    return ": " + ", ".join(f"{count_C[k]} {names[k]}" for k in np.argsort(-count_C, kind="stable") if count_C[k])


def _picked(session: Session, wanted: Wanted) -> np.ndarray:
    pick_N = np.ones(len(session.ids), bool)
    if wanted.tomogram:
        pick_N &= session.pool.tomogram_N == wanted.tomogram
    if wanted.text:
        text = wanted.text.lower()
        pick_N &= np.fromiter((text in name.lower() for name in session.ids), bool, len(session.ids))
    return pick_N


def _order(
    rows: np.ndarray, wanted: Wanted, known: Known, waiting: np.ndarray, nearest: np.ndarray | None
) -> np.ndarray:
    n = len(known.class_N)
    if wanted.sort == "disagreement":
        return np.argsort(-known.disagreement_N[rows], kind="stable")  # nan comes last
    if wanted.sort == "confidence":
        return np.argsort(np.where(known.labeled_N[rows], np.inf, known.confidence_N[rows]), kind="stable")
    order = nearest if wanted.sort == "likeness" and nearest is not None else waiting
    if wanted.show in ("queue", "doubted") and order is waiting:
        return np.arange(len(rows))
    place_N = np.full(n, n)
    place_N[order] = np.arange(len(order))
    return np.argsort(place_N[rows], kind="stable")
