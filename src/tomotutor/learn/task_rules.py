"""What a recipe may be for each task, free of torch: a line in RULES. What is learnt in it is in `tasks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tomotutor.base.errors import TomoTutorError

# teachers that give a class to an item, and to each of its pixels
OfItems = Literal["resnet18", "resnet34", "resnet50", "vgg16", "efficientnet-lite0"]
OfPixels = Literal["drn_d_22"]

# strategies that have a meaning for masks, of which a network gives averages over pixels
PER_PIXEL = ("teacher_student", "random", "entropy", "margin", "least_confidence")

# what the app's recipe differs in where networks start pretrained (docs/evidence.md tells how it was found)
PRETRAINED: dict[str, Any] = {
    "start": "pretrained",
    "cold_start": "typical",
    "init": "scratch",
    "steps": 200,
    "passes": 8,
    "learning_rate": 0.01,
    "strategy": "pair_badge",
    "initial_size": 20,
    "query_size": 20,
    "candidate_factor": 50,
    "tta": "half_turns",
}

CITYSCAPES: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 5e-4,
    "weight_decay": 0.0,
    "augmentation": "flip",
    "initial_size": 298,
    "query_size": 149,
}


@dataclass(frozen=True)
class Rules:
    """What goes with a task; settings by their flat names.

    Attributes
    ----------
    fitting : mapping
        Of the settings that the task restricts: what they may be, and why nothing else.
    always : mapping
        Settings of the task in every preset.
    app, paper : mapping
        Further settings of these presets by dimensions of the items; those of a data set go before `paper`.
    junk : bool
        Whether a session may have a class for items that are none of the others.
    """

    fitting: Mapping[str, tuple[tuple[Any, ...], str]]
    always: Mapping[str, Any]
    app: Mapping[int, Mapping[str, Any]]
    paper: Mapping[int, Mapping[str, Any]]
    junk: bool

    def check(self, task: str, settings: Mapping[str, Any]) -> None:
        """Hold settings against the task; raises TomoTutorError where one does not fit."""
        for name, (values, why) in self.fitting.items():
            if settings[name] not in values:
                raise TomoTutorError(
                    f"recipe: {name} {settings[name]} is not for {task}: {why}; expected {', '.join(map(str, values))}"
                )


RULES: dict[str, Rules] = {
    "classification": Rules(
        fitting={"teacher": (get_args(OfItems), "it gives a class to each pixel")},
        always={},
        app={2: {"between": "uherding"}, 3: {**PRETRAINED, "between": "uherding"}},
        paper={2: {"epochs": 200, "batch_size": 128, "augmentation": "strong"}, 3: {}},
        junk=True,
    ),
    "segmentation": Rules(
        fitting={
            "teacher": (get_args(OfPixels), "it gives one class to an item"),
            "strategy": (PER_PIXEL, "it ranks items by one class each and cannot rank masks"),
            "audit_share": ((0,), "audit items count right classes of items"),
            "calibration": (("none",), "temperatures are for one class an item"),
            "uncertainty": (("kl_ts",), "of masks it is always eq. 4, which kl_ts stands for"),
            "tta": (("none",), "it turns volumes, and masks are of images"),
            "between": (("round",), "it renews the order by classes of items"),
        },
        always={"task": "segmentation", "teacher": "drn_d_22", "audit_share": 0},
        app={
            2: {
                "optimizer": "adam",
                "learning_rate": 5e-3,
                "weight_decay": 0.0,
                "batch_size": 8,
                "augmentation": "flip",
                "steps": 300,
                "initial_size": 10,
                "query_size": 5,
            }
        },
        paper={2: CITYSCAPES},
        junk=False,
    ),
}


def rules_of(task: str) -> Rules:
    """Return the rules of a task; raises TomoTutorError where there is no such task."""
    if task not in RULES:
        raise TomoTutorError(f"task {task!r} is not known; expected one of {', '.join(RULES)}")
    return RULES[task]
