"""Asking: the order in which items wait for an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomotutor.learn.results import PoolMap
from tomotutor.session import audit
from tomotutor.session.state import State

AGAIN_EVERY = 3  # of the queue, one in so many is asked again while there are such


def first_order(state: State, pool_map: PoolMap | None) -> list[int]:
    """Return the rows that the model in use ranked or, before there is one, those that are typical of the groups."""
    if state.next is not None:
        return state.next.rows.tolist()
    if state.scores is not None:
        return state.scores.queue_rows.tolist()
    if not state.number and pool_map and state.recipe.query.cold_start == "typical":
        return pool_map.order.tolist()
    return []


def compose(state: State, ranked: Sequence[int], current: int | None) -> list[int]:
    """Return what waits: ranked candidates, then the rest at random, audit items mixed in, skipped items last.

    Parameters
    ----------
    state : State
        Of the session.
    ranked : sequence of int
        Rows in the order of the last round's strategy, or of the groups of look-alikes.
    current : int or None
        The row in front of the annotator: it stays there, and takes its place among the answers.
    """
    gone = set(state.log.standing)
    if current is not None:
        gone.add(current)
    first = [int(row) for row in ranked if row not in gone and row not in state.audit_kind]
    rest = state.open_rows(state.rounds[-1].number if state.rounds else 0)
    queries = [*first, *rest[~np.isin(rest, [*first, *gone])].tolist()]
    audits = [row for row in state.audit_kind if row not in gone]
    mixed = audit.mix(queries, audits, state.recipe.audit.share, len(gone))
    again = [row for row in state.asked_again() if row != current]
    blind = set(again)
    others = [row for row in mixed if row not in blind]
    # among others, so that a person does not know which they are; counted on from answer to answer, or the one behind
    # the front of a queue that is composed anew after each label would never come to it
    among = audit.mix(others, again, AGAIN_EVERY, len(state.log.active))
    return [*among, *state.log.items("skip")]
