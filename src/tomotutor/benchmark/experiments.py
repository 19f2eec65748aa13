"""The experiments of `tomotutor bench`: what is compared on what, at two sizes. Adding one is an entry
in EXPERIMENTS.
"""

from __future__ import annotations

from typing import Any

from tomotutor.benchmark.experiment import Experiment, Plan, even

# the most important first: a grid runs in this order
STRATEGIES: dict[str, dict[str, str]] = {
    "teacher_student": {"at_form": "mean_sq"},
    "teacher_student_l2": {"at_form": "l2"},
    "random": {"strategy": "random"},
    "margin": {"strategy": "margin"},
    "entropy": {"strategy": "entropy"},
    "badge": {"strategy": "badge"},
    "pair_badge": {"strategy": "pair_badge"},
    "residual": {"strategy": "residual"},
    "core_set": {"strategy": "core_set"},
    "qbc": {"strategy": "qbc"},
    "cod": {"strategy": "cod"},
    "least_confidence": {"strategy": "least_confidence"},
    "no_transfer": {"transfer_weight": "0"},
}
# where the paper is followed teacher_student is its own form, l2
PAPER_STRATEGIES: dict[str, dict[str, str]] = {
    **{name: settings for name, settings in STRATEGIES.items() if name != "teacher_student_l2"},
    "teacher_student": {},
    "teacher_student_mean_sq": {"at_form": "mean_sq"},
    **{name: {"strategy": name} for name in ("mc_dropout", "bald", "ll4al", "vaal", "sraal")},
    **{name: {"strategy": name} for name in ("entropy_gradnorm", "egl", "typiclust", "prob_cover")},
}
NAMED = ("teacher_student", "margin", "entropy", "badge")
MASK_METHODS = ("teacher_student", "random", "margin", "entropy")  # of those that have a meaning in segmentation

# float32 and no audit items: runs with one seed can be compared, and a fixed test set measures them
MEASURED = {"precision": "float32", "audit_share": "0", "start": "scratch", "tta": "none"}
PRODUCT_SMALL = {**MEASURED, "width": "0.25"}
FAIR_SMALL = {**PRODUCT_SMALL, "init": "scratch"}
# warm, so that the 160 mini-batches of each round add up
PRODUCT_TINY = {**PRODUCT_SMALL, "precision": "bfloat16"}
CIFAR_SMALL = {"width": "0.5", "epochs": "50", "init": "scratch"}
# a first layer of stride 2 makes an image cost a seventh; warm, as in the paper, so that ten epochs a round add up
CIFAR_TINY = {"width": "0.25", "stem": "3s2", "epochs": "10", "batch_size": "64", "precision": "bfloat16"}
# ten epochs are too few for a ResNet-50, which begins from scratch; its lines were made in float32
TABLE5_TINY = {**CIFAR_TINY, "epochs": "30", "precision": "float32"}


def _only(*names: str) -> dict[str, dict[str, str]]:
    return {name: STRATEGIES[name] for name in names}


def _labeling(settings: dict[str, str], **more: Any) -> Plan:
    """Return the regime of a person who labels a few hundred items: 60, 100, … 380 labels."""
    return Plan("app", settings, even(60, 40, 8), seeds=10, **more)


def _cifar(queries: int = 2, **more: Any) -> dict[str, Plan]:
    """Return 10 to 40 % of CIFAR's 50,000 images, of 10,000 at half width and a quarter of the schedule, or some of
    5,000 at a quarter.
    """
    return {
        "tiny": Plan("paper", CIFAR_TINY, even(500, 500, queries), per_class=500, **{"other_seeds": 1, **more}),
        "small": Plan("paper", CIFAR_SMALL, even(1000, 500, 6), per_class=1000, **more),
        "full": Plan("paper", {}, even(5000, 2500, 6), **more),
    }


# transfer losses at the weights of the grid; λ = 0 is a student without a teacher
_WEIGHTS = (1, 10, 100, 1000)
TRANSFER_LOSSES: dict[str, dict[str, str]] = {
    **{f"{form}_{w}": {"at_form": form, "transfer_weight": str(w)} for form in ("l2", "mean_sq") for w in _WEIGHTS},
    **{f"{loss}_{w}": {"transfer": loss, "transfer_weight": str(w)} for loss in ("mse", "l1", "kl") for w in _WEIGHTS},
    "twin": {"student": "twin"},
}
# what the disagreement is measured by; teacher_student_l2 is KL(teacher ‖ student) as in the paper
UNCERTAINTIES: dict[str, dict[str, str]] = {
    f"uncertainty_{kind}": {"at_form": "l2", "uncertainty": kind} for kind in ("kl_st", "js", "mse", "l1", "at")
}

# a session that starts pretrained; bfloat16 halves the time and is as repeatable on one machine. 100 mini-batches and
# single answers are what query rules were compared with: the app trains for 200 and answers over half turns, since
# start-development and start-product
PRETRAINED_SMALL = {"precision": "bfloat16", "audit_share": "0", "width": "0.25", "steps": "100", "tta": "none"}
START_BUDGETS = (10, 20, 40, 80, 160)
SIMULATED_BUDGETS = (20, 40, 80, 160)
FROM_SCRATCH = {"start": "scratch", "cold_start": "random", "steps": "160"}
STARTS: dict[str, dict[str, str]] = {
    "pair_badge": {"strategy": "pair_badge"},
    "margin": {"strategy": "margin"},
    "entropy": {"strategy": "entropy"},
    "badge": {"strategy": "badge"},
    "random": {"strategy": "random", "cold_start": "random"},
    "scratch_random": {"strategy": "random", **FROM_SCRATCH},
    "teacher_student": {"strategy": "teacher_student"},
    "typical_random": {"strategy": "random"},
    "typiclust": {"strategy": "typiclust"},
    "residual": {"strategy": "residual"},
    "core_set": {"strategy": "core_set"},
    "qbc": {"strategy": "qbc"},
    "cod": {"strategy": "cod"},
    "teacher_student_l2": {"strategy": "teacher_student", "at_form": "l2"},
    "no_transfer": {"strategy": "teacher_student", "transfer_weight": "0"},
    "scratch_teacher_student": {"strategy": "teacher_student", **FROM_SCRATCH},
    "scratch_badge": {"strategy": "badge", **FROM_SCRATCH},
}


def _starts(*names: str) -> dict[str, dict[str, str]]:
    return {name: STARTS[name] for name in names}


def _outside(what: str, train: str) -> Experiment:
    """Return a comparison of pretrained and fresh networks, and of rules, on a set that lies outside what the weights
    were trained on.
    """
    return Experiment(
        f"{what}: does a pretrained start still help?",
        _starts("random", "scratch_random", "pair_badge", "badge", "margin", "entropy"),
        {"small": Plan("app", PRETRAINED_SMALL, (20, 40, 160), seeds=3)},
        named=("random", "scratch_random"),
        train=f"{train}/train",
        test=f"{train}/test",
    )


def _complexes(first: int, *budgets: int) -> dict[str, Plan]:
    """Return 14 classes from `first` on, the largest 4 times the smallest: nine budgets with fresh networks each time,
    or these, warm.
    """
    classes: dict[str, Any] = {"classes": (first, first + 14), "per_class": 200, "imbalance": 4.0}
    return {
        "tiny": Plan("app", PRODUCT_TINY, budgets, other_seeds=1, **classes),
        "small": _labeling(FAIR_SMALL, **classes),
    }


# the paper's simulated set: 50 classes, 24,000 subtomograms, 7 points from 10 to 40 %
FIG4_FULL = Plan("paper", {}, even(2400, 1200, 6))


def _images(what: str, dataset: str, test: str, init: int, query: int, queries: int) -> Experiment:
    """Return the paper's protocol on a published data set of images, at its full size."""
    masks = dataset == "cityscapes"
    return Experiment(
        what,
        {name: PAPER_STRATEGIES[name] for name in MASK_METHODS} if masks else PAPER_STRATEGIES,
        {"full": Plan("paper", {}, even(init, query, queries))},
        named=MASK_METHODS if masks else NAMED,
        test=test,
        dataset=dataset,
        reference={},
        probes=() if masks else ("picks", "gradient"),
    )


EXPERIMENTS: dict[str, Experiment] = {
    "smoke": Experiment(
        "checks the harness on balls and slabs made on the spot; its figures mean nothing",
        _only("teacher_student", "random"),
        {
            "small": Plan(
                "app", {**FAIR_SMALL, "steps": "2", "batch_size": "8", "candidate_factor": "4"}, even(12, 6, 1), 2, 1
            )
        },
        named=("teacher_student", "random"),
        train="",
        reference={},
        probes=("pool", "picks", "gradient", "map"),
        deeper="resnet18",
    ),
    "tomograms": Experiment(
        "a person's few hundred labels in simulated tomograms, tested on other tomograms; the product's recipe",
        STRATEGIES,
        {"small": _labeling(PRODUCT_SMALL), "full": _labeling({**MEASURED, "width": "1"})},
        named=NAMED,
        train="tomograms",
        test="tomograms_test",
        reference={"steps": "960"},
        probes=("pool", "picks"),
    ),
    "start": Experiment(
        "the product: a pretrained start, few labels, in simulated tomograms, tested on other tomograms",
        STARTS,
        {"small": Plan("app", PRETRAINED_SMALL, START_BUDGETS, seeds=8, other_seeds=5)},
        named=("pair_badge", "margin", "entropy", "badge"),
        train="tomograms",
        test="tomograms_test",
        reference={"strategy": "random"},
        probes=("errors",),
    ),
    "start-product": Experiment(
        "the same by the app's own steps: 20 typical items, then 20 more a round",
        _starts("pair_badge", "badge", "typical_random"),
        {"small": Plan("app", {**PRETRAINED_SMALL, "steps": "200", "tta": "half_turns"}, even(20, 20, 3), seeds=5)},
        named=("pair_badge", "badge", "typical_random"),
        train="tomograms",
        test="tomograms_test",
    ),
    "start-hard": Experiment(
        "the same on complexes set aside, SNR 0.05, tilts to ±50°, imbalance 4, false picks (frozen_data.sh)",
        _starts("pair_badge"),
        {"small": Plan("app", {**PRETRAINED_SMALL, "steps": "200", "tta": "half_turns"}, even(20, 20, 3), seeds=5)},
        named=("pair_badge",),
        train="hard",
        test="hard_test",
    ),
    "start-development": Experiment(
        "the classes on which query rules for a pretrained start are chosen: six complexes, SNR 0.05, imbalance 4",
        STARTS,
        {"small": Plan("app", PRETRAINED_SMALL, SIMULATED_BUDGETS, seeds=3)},
        named=("pair_badge", "margin", "entropy", "badge"),
        train="development/train",
        test="development/test",
        reference={"strategy": "random"},
    ),
    "start-simulated": Experiment(
        "Fig. 4 top in the regime of a labeling app: eleven complexes that the shipped weights have never seen and no "
        "recipe was chosen on",
        STARTS,
        {"small": Plan("app", PRETRAINED_SMALL, SIMULATED_BUDGETS, seeds=8)},
        named=("pair_badge", "margin", "entropy", "badge"),
        train="simulated/train",
        test="simulated/test",
        reference={"strategy": "random"},
        probes=("errors",),
    ),
    "start-heldout": Experiment(
        "ten complexes that the shipped weights have never seen, SNR 0.05",
        _starts("pair_badge", "random", "scratch_random", "margin", "teacher_student"),
        {"small": Plan("app", PRETRAINED_SMALL, START_BUDGETS, seeds=5)},
        named=("pair_badge", "random", "scratch_random"),
        train="heldout/train",
        test="heldout/test",
        probes=("errors",),
    ),
    "start-noise": _outside("SNR 0.01, the weights know 0.02 to 0.5", "noise"),
    "start-coarse": _outside("voxels of 20 Å, the weights know 6 to 16", "coarse"),
    "start-wedge": _outside("tilts to ±30°, the weights know ±40 to ±70", "wedge"),
    "start-ribosome": Experiment(
        "40 real ribosomes among simulated others: one real class",
        _starts("pair_badge", "random", "scratch_random"),
        {"small": Plan("app", PRETRAINED_SMALL, (10, 20, 40), seeds=3)},
        named=("random", "scratch_random"),
        train="ribosome/train",
        test="ribosome/test",
    ),
    "fig4-development": Experiment(
        "the classes on which recipes are chosen: 14 simulated complexes, largest class 4 times the smallest",
        STRATEGIES,
        _complexes(0, 60, 120, 240, 400),
        named=NAMED,
        reference={"steps": "2400"},
    ),
    "fig4-simulated": Experiment(
        "Fig. 4 top: simulated subtomograms; small: 14 complexes that no recipe was chosen on, full: the paper's 7 "
        "points",
        STRATEGIES,
        {**_complexes(14, 60, 120, 240, 400), "full": FIG4_FULL},
        named=NAMED,
        reference={"steps": "2400"},
        probes=("picks", "gradient"),
    ),
    "fig4-real": Experiment(
        "Fig. 4 bottom: real subtomograms, 5 epochs a round",
        PAPER_STRATEGIES,
        {
            "small": Plan(
                "paper",
                {"width": "0.25", "epochs": "5", "batch_size": "32", "decay_at": "1"},
                even(108, 54, 4),
                per_class=108,
            ),
            "full": Plan("paper", {"epochs": "5", "batch_size": "32", "decay_at": "1"}, even(432, 216, 4)),
        },
        named=NAMED,
        reference={},
    ),
    "cifar10": Experiment(
        "Fig. 2 and Tables I to III and VI: accuracy against budget, gap, classes, high-gradient picks",
        PAPER_STRATEGIES,
        _cifar(other_seeds=3),
        dataset="cifar10",
        named=NAMED,
        reference={},
        probes=("picks", "gradient"),
    ),
    "fig3": Experiment(
        "Fig. 3 on CamVid: segmentation, mean IoU against masks",
        {name: PAPER_STRATEGIES[name] for name in MASK_METHODS},
        {
            # its lines were made in float32
            "tiny": Plan("paper", {"width": "0.25", "epochs": "30"}, even(37, 18, 3)),
            "small": Plan("paper", {"width": "0.5"}, even(37, 18, 6)),
        },
        named=MASK_METHODS,
        dataset="camvid",
        size=(90, 120),
    ),
    "cifar100": _images("Fig. 2: CIFAR-100", "cifar100", "test", 5000, 2500, 6),
    "svhn": _images("Fig. 2 and Table II: SVHN, accuracy by class", "svhn", "test", 7324, 3662, 6),
    "caltech101": _images("Fig. 2: Caltech101", "caltech101", "test", 868, 434, 6),
    "imagenet": _images("Fig. 2: ImageNet, 5 points", "imagenet", "val", 128120, 64060, 4),
    "cityscapes": _images("Fig. 3: Cityscapes, mean IoU", "cityscapes", "val", 298, 149, 6),
    "fig1": Experiment(
        "Fig. 1: one query on top of a third of the pool drawn at random; what was picked, and what it brings",
        PAPER_STRATEGIES,
        {
            "tiny": Plan("paper", CIFAR_TINY, even(1750, 250, 1), per_class=500, other_seeds=1),
            "small": Plan("paper", CIFAR_SMALL, even(1750, 250, 1), per_class=500),
            "full": Plan("paper", {}, even(17500, 2500, 1)),
        },
        named=("teacher_student", "random", "margin", "entropy", "badge"),
        dataset="cifar10",
        probes=("picks", "gradient", "map"),
    ),
    "fig5-transfer": Experiment(
        "Fig. 5 left: form and weight of the transfer loss",
        {**_only("random", "no_transfer"), **TRANSFER_LOSSES},
        _cifar(1),
        dataset="cifar10",
        named=("l2_100", "mean_sq_100", "no_transfer", "random"),
    ),
    "fig5-transfer-3d": Experiment(
        "the same on simulated subtomograms",
        {**_only("random", "no_transfer"), **TRANSFER_LOSSES},
        _complexes(0, 60, 120),
        named=("l2_100", "mean_sq_100", "no_transfer", "random"),
    ),
    "fig5-uncertainty": Experiment(
        "Fig. 5 right: what the disagreement is measured by",
        {**_only("teacher_student_l2", "random", "margin", "entropy", "least_confidence"), **UNCERTAINTIES},
        _cifar(1),
        dataset="cifar10",
        named=("teacher_student_l2", "margin", "entropy", "random"),
    ),
    "fig6": Experiment(
        "Fig. 6: with and without temperature scaling of teacher and student",
        {
            **_only("teacher_student_l2", "random"),
            "temperature_scaling": {"at_form": "l2", "calibration": "temperature"},
        },
        _cifar(1),
        dataset="cifar10",
        named=("temperature_scaling", "teacher_student_l2", "random"),
    ),
    "table5": Experiment(
        "Table V: a ResNet-50 trained on what was picked for a ResNet-18",
        PAPER_STRATEGIES,
        {**_cifar(), "tiny": Plan("paper", TABLE5_TINY, even(500, 500, 2), per_class=500, other_seeds=1)},
        named=("teacher_student", "random", "margin", "entropy", "badge"),
        dataset="cifar10",
        deeper="resnet50",
    ),
    "table8": Experiment(
        "Table VIII on simulated subtomograms: a 3D ResNet-34 trained on what was picked for a 3D ResNet-18",
        STRATEGIES,
        {**_complexes(0, 60, 120, 240), "full": FIG4_FULL},
        named=NAMED,
        deeper="resnet34",
    ),
}
