import math
import reprlib
import tomllib

import pytest
import tomli_w

from tomotutor.base.errors import TomoTutorError
from tomotutor.learn.recipe import PRESETS, Recipe, preset


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_presets_round_trip_through_toml(name, ndim):
    recipe = preset(name, ndim)
    assert Recipe.from_dict(tomllib.loads(tomli_w.dumps(recipe.to_dict()))) == recipe


def test_paper_is_the_papers_schedule():
    paper = preset("paper", 3)
    assert (
        paper.network.width,
        paper.training.at_form,
        paper.training.transfer_weight,
        paper.training.epochs,
        paper.training.decay_at,
    ) == (
        1.0,
        "l2",
        100,
        100,
        0.8,
    )
    assert (
        paper.training.optimizer,
        paper.training.learning_rate,
        paper.training.momentum,
        paper.training.weight_decay,
    ) == ("sgd", 0.1, 0.9, 5e-4)
    assert (paper.network.precision, paper.audit.share, paper.query.candidate_factor) == ("float32", 0, 10)
    cifar = preset("paper", 2)
    assert (cifar.training.epochs, cifar.training.batch_size, cifar.training.augmentation) == (200, 128, "strong")


def test_app_does_not_grow_with_the_labels():
    assert preset("app", 3).training.epochs == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at_form": "l3"}, "at_form is 'l3'; expected one of l2, mean_sq"),
        ({"colour": "red"}, "unknown setting 'colour'; expected one of name, task"),
        ({"steps": "many"}, "steps is 'many'; expected a whole number"),
        ({"width": "0.3"}, "width is 0.3"),
        ({"steps": "0"}, "epochs and steps are both 0"),
        ({"audit_share": "1"}, "audit_share is 1"),
        ({"query_size": "0"}, "query_size is 0"),
        ({"strategy": "psychic"}, "strategy is 'psychic'"),
        ({"committee": "1"}, "committee is 1; expected a whole number of 2 or more"),
        (
            {"task": "segmentation", "teacher": "drn_d_22", "audit_share": "0", "tta": "half_turns"},
            "tta half_turns is not",
        ),
        ({"mc_passes": "0"}, "mc_passes is 0"),
        ({"teacher": "resnet1000"}, "teacher is 'resnet1000'"),
        ({"teacher": "drn_d_22"}, "teacher drn_d_22 is not for classification.*; expected resnet18, resnet34"),
        ({"task": "segmentation"}, "teacher resnet18 is not for segmentation.*; expected drn_d_22"),
        ({"task": "segmentation", "teacher": "drn_d_22"}, "audit_share 8 is not for segmentation.*; expected 0"),
        ({"stem": "wide"}, "stem is 'wide'; expected one of auto, 7s2pool"),
    ],
)
def test_wrong_settings_are_said(settings, message):
    with pytest.raises(TomoTutorError, match=message):
        Recipe().with_settings(settings)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("seed", -1, "0 to 9223372036854775807"),
        ("seed", 10**22, "0 to 9223372036854775807"),
        ("batch_size", 1, "a whole number of 2 or more"),
        ("weight_decay", -1e-4, "a number of 0 or more"),
        ("momentum", -0.1, "a number of 0 or more"),
        ("momentum", 1.0, "a number below 1"),
        ("learning_rate", 0.0, "a number above 0"),
        ("passes", -1, "a whole number of 0 or more"),
        ("epochs", -1, "a whole number of 0 or more"),
        ("steps", 10**22, "a whole number of 2147483647 at most"),
        ("steps", math.inf, "a whole number"),
        ("steps", 7.5, "a whole number"),
        ("steps", True, "a whole number"),
        ("steps", [160], "a whole number"),
        ("steps", {"of": {"steps": 1}}, "a whole number"),
        ("stem", 3, "one of auto, 7s2pool, 3s1, 3s2"),
        ("name", 3, "text"),
        *(
            (name, wrong, "one of" if name == "width" else "a finite number")
            for name in ("width", "learning_rate", "momentum", "weight_decay", "decay_at", "transfer_weight")
            for wrong in (math.nan, math.inf, 10**400)
        ),
    ],
    ids=reprlib.repr,
)
def test_settings_that_fail_later_are_refused_when_given(setting, value, expected):
    message = rf"^recipe: {setting} is .*; expected {expected}"
    for make in (
        lambda: Recipe(**{setting: value}),
        lambda: Recipe().replace(**{setting: value}),
        lambda: Recipe.from_dict({setting: value}),
    ):
        with pytest.raises(TomoTutorError, match=message):
            make()


def test_a_recipe_is_kept_by_concern_and_read_flat_too():
    recipe = preset("app", 3).replace(steps=7, audit_share=5, seed=3)
    kept = recipe.to_dict()
    assert set(kept) == {"name", "task", "seed", "network", "training", "query", "audit"}
    assert (kept["seed"], kept["training"]["steps"], kept["audit"]) == (3, 7, {"share": 5})
    flat = recipe.flat()
    assert (len(flat), flat["steps"], flat["audit_share"]) == (37, 7, 5)
    assert Recipe.from_dict(flat) == Recipe.from_dict(kept) == Recipe(**flat) == recipe
    assert recipe.with_settings({"steps": "9"}).training.steps == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training": {"strategy": "random"}}, "unknown setting 'training.strategy'"),
        ({"training": {"steps": {"a": 1}}}, "steps is {'a': 1}; expected a whole number"),
        ({"training": 3}, "recipe: training: is 3; expected a table"),
        ([1], r"recipe: is \[1\]; expected a table"),
    ],
)
def test_a_wrong_table_is_said(values, message):
    with pytest.raises(TomoTutorError, match=message):
        Recipe.from_dict(values)


def test_the_choices_are_those_of_the_registries():
    from tomotutor.export.answers import WRITERS
    from tomotutor.learn.models import PAIRS, STEMS
    from tomotutor.learn.recipe import CHOICES
    from tomotutor.learn.strategies import STRATEGIES
    from tomotutor.learn.task_rules import RULES
    from tomotutor.learn.tasks import TASKS
    from tomotutor.learn.transfer import ATTENTION_FORMS, MODULE_DISTANCES, OTHER_TRANSFERS
    from tomotutor.oracle.play import ORACLES
    from tomotutor.session.labels import LABELS

    assert CHOICES["strategy"] == tuple(STRATEGIES)
    assert CHOICES["teacher"] == tuple(PAIRS)
    assert CHOICES["stem"] == ("auto", *STEMS)
    assert CHOICES["task"] == tuple(TASKS) == tuple(RULES) == tuple(LABELS) == tuple(ORACLES) == tuple(WRITERS)
    assert CHOICES["at_form"] == tuple(ATTENTION_FORMS)
    assert CHOICES["transfer"] == ("at", *OTHER_TRANSFERS)
    assert CHOICES["uncertainty"] == ("kl_ts", "kl_st", "js", *MODULE_DISTANCES)


PAPER = [  # data, epochs, batch, optimizer, rate, decay at epoch, teacher, initial, query
    ("cifar10", 200, 128, "sgd", 0.1, 160, "resnet18", 5000, 2500),
    ("cifar100", 200, 128, "sgd", 0.1, 160, "resnet18", 5000, 2500),
    ("svhn", 200, 128, "sgd", 0.1, 160, "resnet18", 7324, 3662),
    ("caltech101", 50, 64, "sgd", 0.01, 40, "resnet18", 868, 434),
    ("imagenet", 100, 64, "adam", 0.1, 100, "vgg16", 128120, 64060),
    ("cityscapes", 50, None, "adam", 5e-4, 40, "drn_d_22", 298, 149),
]


@pytest.mark.parametrize(
    ("kind", "epochs", "batch", "optimizer", "rate", "decay", "teacher", "initial", "query"), PAPER
)
def test_the_paper_preset_knows_the_data_sets(kind, epochs, batch, optimizer, rate, decay, teacher, initial, query):
    task = "segmentation" if teacher == "drn_d_22" else "classification"
    recipe = preset("paper", 2, kind, task)
    assert (
        recipe.task,
        recipe.training.epochs,
        recipe.training.optimizer,
        recipe.training.learning_rate,
        recipe.network.teacher,
    ) == (
        task,
        epochs,
        optimizer,
        rate,
        teacher,
    )
    assert batch is None or recipe.training.batch_size == batch
    assert recipe.training.decay_at * epochs == decay
    assert (recipe.query.initial_size, recipe.query.query_size) == (initial, query)
    assert optimizer == "adam" or (recipe.training.momentum, recipe.training.weight_decay) == (0.9, 5e-4)
    assert recipe.training.augmentation == ("strong" if kind in ("cifar10", "cifar100", "svhn") else "flip")


@pytest.mark.parametrize("name", PRESETS)
def test_segmentation_has_presets_of_its_own(name):
    recipe = preset(name, 2, task="segmentation")
    assert (recipe.task, recipe.network.teacher, recipe.audit.share) == ("segmentation", "drn_d_22", 0)
    assert Recipe.from_dict(tomllib.loads(tomli_w.dumps(recipe.to_dict()))) == recipe
