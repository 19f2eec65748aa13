"""Look-alikes on the newest embedding: groups with their likely class, what resembles one item, picks that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tomotutor.learn.head import BLOCK, features, pool_mean
from tomotutor.learn.results import Answers
from tomotutor.learn.strategies.geometry import squared_distances

STARTS = 4  # of k-means, the best of which is kept: from one start it often joins two kinds and splits a third
MOST_ITEMS = 20_000  # clustered in a larger pool; every other item joins the group whose centre is nearest


@dataclass(frozen=True)
class Groups:
    """Groups of look-alikes.

    Attributes
    ----------
    rows : ndarray
        (N,) pool rows that were grouped, ascending.
    group_N : ndarray
        Group of each, from 0, the largest first.
    away_N : ndarray
        Squared distance of each to its group's centre, of embeddings at length √D: the smallest is the most typical.
    """

    rows: np.ndarray
    group_N: np.ndarray
    away_N: np.ndarray

    def __len__(self) -> int:
        return int(self.group_N.max()) + 1 if len(self.group_N) else 0

    def members(self, group: int) -> np.ndarray:
        """Return the pool rows of a group, the most typical in front."""
        inside = np.flatnonzero(self.group_N == group)
        return self.rows[inside[np.argsort(self.away_N[inside], kind="stable")]]

    def typical(self) -> np.ndarray:
        """Return all rows in the order to ask: the most typical of each group, of the largest first, then the second
        most typical ones, and so on.
        """
        turn_N = np.empty(len(self.rows), np.int64)
        for group in range(len(self)):
            inside = np.flatnonzero(self.group_N == group)
            turn_N[inside[np.argsort(self.away_N[inside], kind="stable")]] = np.arange(len(inside))
        return self.rows[np.lexsort((self.group_N, turn_N))]


@dataclass(frozen=True)
class GroupAnswer:
    """What a group probably is.

    Attributes
    ----------
    group, size : int
        Its number and number of members.
    likely : int
        The class that most members are expected to be of.
    purity : float
        Expected share of that class: mean calibrated probability of it, over labeled members whether they have it.
    labeled, against : int
        Members with a label, and how many of these are of another class.
    """

    group: int
    size: int
    likely: int
    purity: float
    labeled: int
    against: int


def find_groups(embedding_ND: np.ndarray, rows: np.ndarray, groups: int, seed: int = 0) -> Groups:
    """Group items that look alike: k-means of the centred embedding at length √D, the space of the head.

    Parameters
    ----------
    embedding_ND : ndarray
        The pool's embedding.
    rows : ndarray
        Pool rows to group; check particles are to stay out.
    groups : int
        Number of groups; fewer where there are not two items for each.
    seed : int
        Of the start of k-means.
    """
    from sklearn.cluster import KMeans

    rows = np.sort(rows)
    if not len(rows):
        return Groups(rows, np.zeros(0, np.int64), np.zeros(0, np.float32))
    rng = np.random.default_rng([seed, 0x6406])
    centre_D = pool_mean(embedding_ND)
    some = rows if len(rows) <= MOST_ITEMS else np.sort(rng.choice(rows, MOST_ITEMS, replace=False))
    x_ND = features(embedding_ND, some, centre_D)
    wanted = max(1, min(groups, len(some) // 2))
    model = KMeans(wanted, n_init=STARTS, random_state=int(rng.integers(2**31))).fit(x_ND)
    centres_GD = model.cluster_centers_
    group_N, away_N = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    for part, x in _blocks(embedding_ND, rows, centre_D):
        square = squared_distances(x, centres_GD)
        group_N[part] = square.argmin(1)
        away_N[part] = square.min(1)
    size_G = np.bincount(group_N, minlength=len(centres_GD))
    rank_G = np.empty(len(size_G), np.int64)
    rank_G[np.lexsort((np.arange(len(size_G)), -size_G))] = np.arange(len(size_G))
    return Groups(rows, rank_G[group_N], away_N)


def _blocks(embedding_ND: np.ndarray, rows: np.ndarray, centre_D: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(rows), BLOCK):
        part = slice(start, min(start + BLOCK, len(rows)))
        yield part, features(embedding_ND, rows[part], centre_D)


def answer_groups(groups: Groups, probs_NC: np.ndarray, answers: Answers) -> list[GroupAnswer]:
    """Return what each group probably is, in the order of the groups.

    Parameters
    ----------
    groups : Groups
        The groups.
    probs_NC : ndarray
        Calibrated probabilities of `groups.rows`, as `Head.probs(embedding, groups.rows)` gives them.
    answers : Answers
        The pool's answers, for its labels.
    """
    labeled_N, class_N = answers.labeled_N[groups.rows], answers.class_N[groups.rows]
    share_NC = np.where(labeled_N[:, None], class_N[:, None] == np.arange(probs_NC.shape[1]), probs_NC)
    found = []
    for group in range(len(groups)):
        inside = groups.group_N == group
        expected_C = share_NC[inside].mean(0)
        likely = int(expected_C.argmax())
        told = labeled_N & inside
        found.append(
            GroupAnswer(
                group,
                int(inside.sum()),
                likely,
                float(expected_C[likely]),
                int(told.sum()),
                int((class_N[told] != likely).sum()),
            )
        )
    return found


def similar(
    embedding_ND: np.ndarray, row: int, n: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the n items most like one, nearest first, and their similarity: the cosine of the centred embeddings.

    Parameters
    ----------
    embedding_ND : ndarray
        The pool's embedding.
    row : int
        The item; it is not among what is found.
    n : int
        How many; fewer where there are no more.
    rows : ndarray, optional
        Where to look; by default the whole pool. Check particles are to stay out.
    """
    rows = np.arange(len(embedding_ND)) if rows is None else np.asarray(rows, np.int64)
    centre_D = pool_mean(embedding_ND)
    own_D = features(embedding_ND, np.array([row]), centre_D)[0]
    cosine_N = np.empty(len(rows), np.float32)
    for part, x in _blocks(embedding_ND, rows, centre_D):
        cosine_N[part] = x @ own_D / len(own_D)
    cosine_N[rows == row] = -np.inf
    order = np.lexsort((rows, -cosine_N))[: min(n, int((rows != row).sum()))]
    return rows[order], cosine_N[order]
