"""What an experiment of `tomotutor bench` is: methods, sizes, a data set; those there are stand in experiments.py."""

from __future__ import annotations

from dataclasses import dataclass, field

SCALES = ("tiny", "small", "full")
REFERENCE = "all_labels"  # the method name of a training on every label


@dataclass(frozen=True)
class Plan:
    """One size of an experiment.

    Attributes
    ----------
    recipe : str
        Preset of every method.
    settings : dict of str to str
        Changes to it for every method.
    budgets : tuple of int
        Labels at each training.
    seeds : int
        The methods that are compared by a test run with the seeds 0 … seeds − 1.
    other_seeds : int
        All other methods run with the first so many seeds.
    classes : tuple of int
        First and last + 1 of the classes to use, in their order; (0, 0) takes all.
    per_class : int
        Items of the largest class in the pool; 0 takes all there are.
    imbalance : float
        Largest class over smallest; the sizes fall geometrically in the order of the classes.
    """

    recipe: str
    settings: dict[str, str]
    budgets: tuple[int, ...]
    seeds: int = 3
    other_seeds: int = 3
    classes: tuple[int, int] = (0, 0)
    per_class: int = 0
    imbalance: float = 1.0


def even(init: int, query: int, rounds: int) -> tuple[int, ...]:
    """Return the budgets of `rounds` queries of one size after a first set."""
    return tuple(init + k * query for k in range(rounds + 1))


@dataclass(frozen=True)
class Experiment:
    """A comparison of methods on one data set.

    Attributes
    ----------
    summary : str
        One line, for people.
    methods : dict of str to dict
        Name of a method to the settings in which its recipe differs.
    plans : dict of str to Plan
        Sizes, some of SCALES: "tiny" (an hour or so on two cores) where "small" is days of them, "small", and "full"
        where the paper has one.
    named : tuple of str
        Our method, then the comparators it is tested against, named beforehand; every other row is descriptive.
    train, test : str
        The two sets in the data folder, see `tomotutor.benchmark.data`; "" as `train` makes a small set on the spot.
    dataset : str
        Kind of input (`tomotutor.data.sources.SOURCES`) of a published data set: the data folder is where it lies,
        `train` and `test` are its splits. "": see `train`.
    size : tuple of int
        Pixels (y, x) that the data set's images are brought to; () leaves them.
    reference : dict or None
        Settings of a training on all labels, the ceiling; None: there is none.
    probes : tuple of str
        Further measurements of each round, keys of `tomotutor.benchmark.measure.PROBES`.
    deeper : str
        Teacher to train on the final labels of each method; "" for none.
    """

    summary: str
    methods: dict[str, dict[str, str]]
    plans: dict[str, Plan]
    named: tuple[str, ...] = ()
    train: str = "train"
    test: str = "test"
    dataset: str = ""
    size: tuple[int, ...] = ()
    reference: dict[str, str] | None = None
    probes: tuple[str, ...] = field(default=())
    deeper: str = ""
