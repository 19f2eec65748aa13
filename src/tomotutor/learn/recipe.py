"""Recipe: every setting of training and querying, frozen, round-tripping through TOML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.settings import Settings, declared, setting
from tomotutor.learn.task_rules import CITYSCAPES, PRETRAINED, OfItems, OfPixels, rules_of

LEAST_TO_TRAIN = 4  # labels, in two classes; the first typical items may all be of different classes

# a test holds the choices against the registries, which this module does not import: they need torch


@dataclass(frozen=True)
class Network:
    """What is trained.

    Attributes
    ----------
    teacher : str
        Teacher network; its student follows from the pair table.
    stem : {"auto", "7s2pool", "3s1", "3s2"}
        First layer of a ResNet: kernel, stride, max-pool; (a), (b) and (c) in 3D. "auto" takes 3s2 for volumes, 3s1 for
        images up to 64², 7s2pool for larger ones.
    width : float
        Channel multiplier of both networks (1 is the paper's network); 0 lets the machine decide: 1 on a GPU, ¼ on a
        CPU.
    student : {"shallow", "twin"}
        "twin" is a second network of the teacher's own depth, from another seed.
    start : {"scratch", "pretrained"}
        What fresh networks are: drawn at random, or the start that the session keeps (`tomotutor.learn.start`) with new
        last layers.
    precision : {"auto", "float32", "bfloat16"}
        "auto" takes the fastest path whose layers, one by one, agree with float32; the others fix precision and layout,
        so that runs with one seed can be compared.
    tta : {"none", "half_turns"}
        Test-time augmentation. "half_turns" (volumes): the final answer, and that for audit items, is the mean over the
        box and its half turns about x, y and z; candidates are ranked as they are.
    """

    teacher: Literal[OfItems, OfPixels] = "resnet18"
    stem: Literal["auto", "7s2pool", "3s1", "3s2"] = "auto"
    width: float = setting(0.0, among=(0.0, 0.25, 0.5, 1.0))
    student: Literal["shallow", "twin"] = "shallow"
    start: Literal["scratch", "pretrained"] = "scratch"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    tta: Literal["none", "half_turns"] = "none"


@dataclass(frozen=True)
class Training:
    """How it is trained.

    Attributes
    ----------
    init : {"warm", "scratch", "shrink_perturb"}
        Whether a round starts from the weights of the last one, from fresh ones, or from ½ of the last plus 0.1 of
        fresh ones; optimizer and schedule always restart.
    epochs, steps : int
        Length of a training: passes over the labeled set, or (if `epochs` is 0) a fixed number of mini-batches.
        A warm round of a step-counted recipe takes half as many.
    passes : int
        A step-counted training takes more mini-batches than `steps` where these would be fewer passes over the labeled
        set.
    batch_size : int
        Items in a mini-batch.
    optimizer, learning_rate, momentum, weight_decay
        Equal for teacher and student. `momentum` is for SGD.
    schedule : {"step", "one_cycle"}
        "step" divides the rate by 10 after `decay_at` of the training (1 = never); "one_cycle" warms up and anneals to
        zero.
    augmentation : {"none", "flip", "strong"}
        See `tomotutor.learn.augment`.
    transfer : {"at", "mse", "l1", "kl"}
        What the student learns from the teacher: attention maps, raw activations (mse, l1) or posteriors (kl).
    at_form : {"l2", "mean_sq"}
        Form of the attention-transfer loss.
    transfer_weight : float
        λ of L_S = cross-entropy + λ·L_trans; 0 trains the student on the labels alone.
    calibration : {"none", "temperature"}
        "temperature" holds out 10 % of the labels and scales the logits of teacher and student, each by its own
        temperature.
    """

    init: Literal["warm", "scratch", "shrink_perturb"] = "warm"
    epochs: int = setting(0, low=0)
    steps: int = setting(160, low=0)
    passes: int = setting(0, low=0)
    batch_size: int = setting(16, low=2)  # batch norm has no deviation of one item
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = setting(0.05, above=0)
    momentum: float = setting(0.9, low=0, below=1)
    weight_decay: float = setting(5e-4, low=0)
    schedule: Literal["step", "one_cycle"] = "one_cycle"
    decay_at: float = setting(1.0, low=0)
    augmentation: Literal["none", "flip", "strong"] = "strong"
    transfer: Literal["at", "mse", "l1", "kl"] = "at"
    at_form: Literal["l2", "mean_sq"] = "mean_sq"
    transfer_weight: float = setting(100.0, low=0)
    calibration: Literal["none", "temperature"] = "none"


@dataclass(frozen=True)
class Query:
    """What is asked next.

    Attributes
    ----------
    strategy : str
        A key of `tomotutor.learn.strategies.STRATEGIES`.
    uncertainty : {"kl_ts", "kl_st", "js", "mse", "l1", "at"}
        Distance of teacher and student that `teacher_student` ranks by: KL(T ‖ S), KL(S ‖ T), Jensen-Shannon, or of
        activations.
    committee, mc_passes : int
        Networks of `qbc`; passes of `mc_dropout` and `bald`.
    gradient_norm : {"tensors", "global", "last"}
        Sum of the norms over parameter tensors, norm of all of them, or the last layer's alone (closed form).
    initial_size, query_size : int
        Labels before the first training, and after each further one (M).
    candidate_factor : int
        |R_U| = candidate_factor · M candidates are scored in a round.
    between : str
        Rule that renews the order of asking after each label, between rounds; "round" keeps the last round's order.
    cold_start : {"random", "typical"}
        Which items are asked first of all: random ones, or typical members of the groups that look alike to a
        pretrained start.
    """

    strategy: Literal[
        "teacher_student",
        "random",
        "entropy",
        "margin",
        "least_confidence",
        "mc_dropout",
        "bald",
        "qbc",
        "core_set",
        "badge",
        "vaal",
        "sraal",
        "ll4al",
        "entropy_gradnorm",
        "expected_gradnorm",
        "egl",
        "typiclust",
        "prob_cover",
        "cod",
        "pair_badge",
        "residual",
        "max_herding",
        "uherding",
        "margin_cluster",
        "drop_query",
        "tcm",
    ] = "teacher_student"
    uncertainty: Literal["kl_ts", "kl_st", "js", "mse", "l1", "at"] = "kl_ts"
    committee: int = setting(3, low=2)
    mc_passes: int = setting(25, low=1)
    gradient_norm: Literal["tensors", "global", "last"] = "tensors"
    initial_size: int = setting(40, low=1)
    query_size: int = setting(40, low=1)
    candidate_factor: int = setting(10, low=1)
    between: Literal[
        "round",
        "teacher_student",
        "random",
        "entropy",
        "margin",
        "least_confidence",
        "core_set",
        "badge",
        "pair_badge",
        "residual",
        "typiclust",
        "prob_cover",
        "max_herding",
        "uherding",
        "margin_cluster",
        "drop_query",
        "tcm",
    ] = "round"
    cold_start: Literal["random", "typical"] = "random"


@dataclass(frozen=True)
class Audit:
    """What measures accuracy.

    Attributes
    ----------
    share : int
        One item in `share` is drawn uniformly to measure accuracy; 0 turns audit items off. Its flat name is
        `audit_share`.
    """

    share: int = setting(8, low=0, name="audit_share")


@dataclass(frozen=True, init=False)
class Recipe(Settings):
    """Settings of one session, by concern; made and changed by their flat names, as in ``Recipe(steps=200)``.

    Attributes
    ----------
    name : str
        Preset it started from.
    task : {"classification", "segmentation"}
        A class for each item, or for each pixel of an image.
    seed : int
        Seeds everything that is random.
    network, training, query, audit
        What is trained, how, what is asked next, and what measures accuracy.
    """

    what: ClassVar[str] = "recipe"

    name: str = "app"
    task: Literal["classification", "segmentation"] = "classification"
    seed: int = setting(0, low=0, high=2**63 - 1)
    network: Network = Network()
    training: Training = Training()
    query: Query = Query()
    audit: Audit = Audit()

    @override
    def check(self) -> None:
        rules_of(self.task).check(self.task, self.flat())
        if not self.training.epochs and not self.training.steps:
            raise TomoTutorError("recipe: epochs and steps are both 0; give the training a length")
        if self.query.cold_start == "typical" and self.network.start == "scratch":
            raise TomoTutorError(
                "recipe: cold_start is typical, which pretrained networks tell; set it to random, or start to "
                "pretrained"
            )
        if self.audit.share == 1:
            raise TomoTutorError("recipe: audit_share is 1; expected 0 (off) or 2 and more (one item in so many)")

    def pretrained(self, ndim: int) -> Self:
        """Return a copy with the app's training for a pretrained start, of items of `ndim` dimensions."""
        return self.replace(**{**PRETRAINED, "tta": PRETRAINED["tta"] if ndim == 3 else "none"})

    def from_scratch(self) -> Self:
        """Return a copy that starts from scratch, with the training that suits it where this one has the app's for a
        pretrained start.
        """
        if self.network.start == "scratch":
            return self
        plain, own = Recipe().flat(), self.flat()
        back = {
            name: plain[name]
            for name, value in PRETRAINED.items()
            if name not in ("tta", "between") and own[name] == value
        }
        return self.replace(**{**back, "start": "scratch"})

    def with_settings(self, settings: dict[str, str]) -> Self:
        """Return a copy with settings given as text, as on a command line; start=scratch brings along the training that
        suits it.
        """
        base = self.from_scratch() if settings.get("start") == "scratch" else self
        known = declared(type(self))
        read = {name: known[name].read(text, self.what) if name in known else text for name, text in settings.items()}
        return base.replace(**read)


CHOICES = Recipe.choices()
PRESETS = ("app", "paper")

# What differs from the paper's simulated cryo-ET schedule, by kind of input. Not stated there, and ours: the batch size
# and weight decay of Cityscapes, the weight decay of Adam. CamVid is none of the paper's data sets and takes
# Cityscapes' schedule.
_CIFAR: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 128,
    "augmentation": "strong",
    "initial_size": 5000,
    "query_size": 2500,
}
_PAPER: dict[str, dict[str, Any]] = {
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "svhn": {**_CIFAR, "initial_size": 7324, "query_size": 3662},
    "caltech101": {"epochs": 50, "learning_rate": 0.01, "augmentation": "flip", "initial_size": 868, "query_size": 434},
    "imagenet": {
        "teacher": "vgg16",
        "optimizer": "adam",
        "weight_decay": 0.0,
        "decay_at": 1.0,
        "augmentation": "flip",
        "initial_size": 128120,
        "query_size": 64060,
    },
    "cityscapes": CITYSCAPES,
    "camvid": {**CITYSCAPES, "initial_size": 37, "query_size": 18},
}


def preset(name: str, ndim: int, kind: str = "", task: str = "classification") -> Recipe:
    """Return the preset `name` for a task on items of `ndim` dimensions from an input of some kind.

    `app` is what a person labels with: warm starts, a fixed number of steps. `paper` is the schedule of arXiv
    2509.15805: that of the data set `kind`; for other input CIFAR's in 2D, and the simulated cryo-ET one in 3D (its
    batch size is not stated there; 64 is ours). In segmentation the pair is DRN-D-22 and DRN-D-14, trained by Adam.
    """
    rules = rules_of(task)
    if name == "app":
        return Recipe(**{**rules.app[ndim], **rules.always})
    if name == "paper":
        paper = Recipe(
            name="paper",
            width=1.0,
            at_form="l2",
            init="warm",
            epochs=100,
            batch_size=64,
            learning_rate=0.1,
            schedule="step",
            decay_at=0.8,
            augmentation="none",
            precision="float32",
            audit_share=0,
        )
        return paper.replace(**{**_PAPER.get(kind, rules.paper[ndim]), **rules.always})
    raise TomoTutorError(f"recipe {name!r} is not known; expected one of {', '.join(PRESETS)}")
