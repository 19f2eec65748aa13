"""What a query strategy is given, and what it must return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tomotutor.learn.models import Output


@dataclass(frozen=True)
class Scores:
    """What one network says of some items.

    Attributes
    ----------
    log_probs_NC : ndarray
        float64; in segmentation the log of each class's share of the image.
    embedding_ND : ndarray
        float32.
    averages : dict of str to ndarray
        In segmentation: measures that were averaged over the pixels of each image, by name; else empty.
    """

    log_probs_NC: np.ndarray
    embedding_ND: np.ndarray
    averages: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def probs_NC(self) -> np.ndarray:
        """Softmax probabilities, float64."""
        return np.exp(self.log_probs_NC)

    @property
    def confidence_N(self) -> np.ndarray:
        """Probability of the best class; in segmentation its average over pixels."""
        return 1.0 - self.measure("least_confidence", lambda log_p: 1.0 - np.exp(log_p.max(1)))

    def measure(self, name: str, formula: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return a measure of each item: averaged over pixels where it was, else by `formula` from log_probs_NC."""
        return self.averages[name] if name in self.averages else formula(self.log_probs_NC)

    def take(self, index: np.ndarray) -> Scores:
        """Return the scores of some of the items."""
        return Scores(
            self.log_probs_NC[index], self.embedding_ND[index], {k: v[index] for k, v in self.averages.items()}
        )

    @staticmethod
    def join(parts: Sequence[Scores]) -> Scores:
        """Return the scores of several batches as one."""
        averages = {k: np.concatenate([p.averages[k] for p in parts]) for k in parts[0].averages}
        return Scores(
            np.concatenate([p.log_probs_NC for p in parts]), np.concatenate([p.embedding_ND for p in parts]), averages
        )


class Backend(Protocol):
    """Where candidates get things from: the networks of a round (`tomotutor.learn.round_backend`), or arrays
    (`Arrays`).
    """

    @property
    def steps(self) -> int:
        """Mini-batches of the round's task training."""

    @property
    def device(self) -> str:
        """The torch device that `net` and `read` are on."""

    def score(self, name: str, rows: np.ndarray) -> Scores:
        """Run the "teacher" or "student" over items."""

    def previous(self, rows: np.ndarray) -> Scores | None:
        """Run the last round's teacher over items; None in the first round."""

    def net(self, name: str) -> nn.Module:
        """Return the "teacher" or "student", in eval mode on the device."""

    def read(self, rows: np.ndarray) -> Tensor:
        """Read items, (N, C, ...spatial) on the device."""

    def run(self, rows: np.ndarray, function: Callable[[Tensor], Tensor], *, gradients: bool) -> np.ndarray:
        """Apply a function of a batch to all items and return its values in float64, one row an item."""

    def train_member(self, member: int, rows: np.ndarray) -> Scores:
        """Train another network like the teacher, from a seed of its own, on the labeled items, and run
        it over items.
        """

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return self-supervised features (N, D) of items."""

    def tell(self, done: int, total: int) -> None:
        """Report progress between mini-batches; raises where the round was cancelled."""


class Candidates:
    """R_U, the random part of the unlabeled pool that one round ranks; whatever costs time is computed on first use,
    once.

    Parameters
    ----------
    rows : ndarray
        (N,) pool rows; kept in ascending order, so that no result depends on how R_U was drawn.
    backend : Backend
        Runs and trains networks.
    rng : numpy Generator
        For strategies that draw.
    labeled_rows, labels : ndarray
        Pool rows and class numbers of X_L.
    unlabeled_rows : ndarray
        All rows without a label that may be asked, R_U among them; by default `rows`.
    """

    def __init__(
        self,
        rows: np.ndarray,
        backend: Backend,
        rng: np.random.Generator,
        *,
        labeled_rows: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        unlabeled_rows: np.ndarray | None = None,
    ) -> None:
        none = np.zeros(0, np.int64)
        self.rows = np.sort(rows)
        self.rng = rng
        self.backend = backend
        self.labeled_rows = none if labeled_rows is None else labeled_rows
        self.labels = none if labels is None else labels
        self._further: list[Scores] = []
        self.unlabeled_rows = np.sort(rows if unlabeled_rows is None else unlabeled_rows)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def teacher(self) -> Scores:
        """What the teacher says of the candidates."""
        return self.backend.score("teacher", self.rows)

    @cached_property
    def student(self) -> Scores:
        """What the student says of the candidates."""
        return self.backend.score("student", self.rows)

    @cached_property
    def previous(self) -> Scores | None:
        """What the last round's teacher says of the candidates; None in the first round."""
        return self.backend.previous(self.rows)

    @cached_property
    def labeled(self) -> Scores:
        """What the teacher says of the labeled items."""
        return self.backend.score("teacher", self.labeled_rows)

    @cached_property
    def features(self) -> np.ndarray:
        """Self-supervised features (N + labeled, D) of the candidates, then of the labeled items."""
        return self.backend.features(np.concatenate([self.rows, self.labeled_rows]))

    def run(self, function: Callable[[Tensor], Tensor], *, gradients: bool = False) -> np.ndarray:
        """Apply a function of a batch (N, C, ...spatial) to the candidates; float64, one row an item."""
        return self.backend.run(self.rows, function, gradients=gradients)

    def members(self, number: int) -> list[Scores]:
        """Return what a committee says of the candidates: the teacher, and number − 1 further networks
        trained for it.
        """
        while len(self._further) < number - 1:
            self._further.append(self.backend.train_member(len(self._further) + 1, self.rows))
        return [self.teacher, *self._further[: number - 1]]


@dataclass(frozen=True)
class Arrays(Backend):
    """A backend that has everything as arrays by pool row: for networks of one's own, and for tests and benchmarks."""

    scores: dict[str, Scores]
    feature_ND: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    nets: dict[str, nn.Module] = field(default_factory=dict)
    steps: int = 0
    device: str = "cpu"

    @override
    def score(self, name: str, rows: np.ndarray) -> Scores:
        return self.scores[name].take(rows)

    @override
    def previous(self, rows: np.ndarray) -> Scores | None:
        return self.score("previous", rows) if "previous" in self.scores else None

    @override
    def net(self, name: str) -> nn.Module:
        return self.nets[name]

    @override
    def read(self, rows: np.ndarray) -> Tensor:
        raise TomoTutorError("candidates from arrays have no images: this strategy needs a session")

    @override
    def run(self, rows: np.ndarray, function: Callable[[Tensor], Tensor], *, gradients: bool) -> np.ndarray:
        return function(self.read(rows)).detach().cpu().double().numpy()

    @override
    def train_member(self, member: int, rows: np.ndarray) -> Scores:
        return self.score(f"member {member}", rows)

    @override
    def features(self, rows: np.ndarray) -> np.ndarray:
        return self.feature_ND[rows]

    @override
    def tell(self, done: int, total: int) -> None:
        pass


class Strategy:
    """A way to decide what to ask next; subclasses implement `score`, batch methods also override `select`.

    Parameters
    ----------
    recipe : Recipe
        For the few settings a strategy has.
    """

    summary = ""  # one line for --help and the docs

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()

    def attach(self, teacher: nn.Module, x: Tensor, seed: int) -> Sequence[nn.Module]:
        """Called before the task training with a batch of one item: may hook into the teacher; returns networks to
        train along.
        """
        return ()

    def aux_loss(self, output: Output, loss_N: Tensor, progress: float) -> Tensor | float:
        """Return what is added to the teacher's loss of a mini-batch, whose own losses are `loss_N`; `progress` runs
        from 0 to 1.
        """
        return 0.0

    def fit(self, candidates: Candidates) -> None:
        """Called once after the task training: train what the strategy needs beyond the round's networks."""

    def score(self, candidates: Candidates) -> np.ndarray:
        """Return utility_N, float64: higher means ask first."""
        raise NotImplementedError

    def select(self, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
        """Return the k candidates to ask, best first, as indices into `candidates.rows`."""
        return rank(utility_N, candidates.rows)[:k]


def rank(utility_N: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Order candidates by falling utility; ties break by pool row."""
    if np.isnan(utility_N).any():
        bad = int(np.isnan(utility_N).sum())
        raise TomoTutorError(
            f"scoring: {bad} of {len(utility_N)} utilities are NaN; the model is broken, retrain from scratch"
        )
    return np.lexsort((rows, -utility_N))


def fill(picked: Sequence[int] | np.ndarray, utility_N: np.ndarray, k: int, candidates: Candidates) -> np.ndarray:
    """Return k candidates: those picked in their order, then the others by utility."""
    first = np.asarray(picked, dtype=np.int64)
    ranked = rank(utility_N, candidates.rows)
    return np.concatenate([first, ranked[~np.isin(ranked, first)]])[:k]


def ask_order(strategy: Strategy, candidates: Candidates, utility_N: np.ndarray) -> np.ndarray:
    """Return all candidates in the order to ask: the M the strategy selects (M = query_size), then the rest by utility,
    which is what the strategy scored them.

    Labels keep coming while the next round trains, so the queue needs an order beyond M.
    """
    k = min(strategy.recipe.query.query_size, len(candidates))
    return fill(strategy.select(utility_N, k, candidates), utility_N, len(candidates), candidates)
