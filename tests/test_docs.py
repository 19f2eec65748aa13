import importlib.util
import json
import re
from pathlib import Path

import pytest

import tomotutor
from tomotutor.benchmark.experiment import REFERENCE
from tomotutor.benchmark.experiments import EXPERIMENTS
from tomotutor.cli import make_parser
from tomotutor.learn.recipe import preset

TOP = Path(__file__).parents[1]


def test_generated_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", TOP / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, text in generate.pages().items():
        assert path.read_text() == text, f"{path.name} is out of date: make docs"


@pytest.mark.parametrize("page", [*TOP.glob("docs/**/*.md"), TOP / "README.md"], ids=lambda p: p.name)
def test_commands_and_links_in_the_docs_are_real(page):
    text = page.read_text()
    for line in re.findall(r"^tomotutor .*$", text, re.MULTILINE):
        words = line.split("#")[0].split()[1:]
        try:
            make_parser().parse_args(words)
        except SystemExit as stop:
            pytest.fail(f"{page.name}: {line} ({stop})")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_version_is_one():
    assert f'version = "{tomotutor.__version__}"' in (TOP / "pyproject.toml").read_text()


# of other folders the lines are of changed settings, or of rules that are gone
RECORDED = {
    (name, scale): lines
    for name, experiment in EXPERIMENTS.items()
    for scale, ending in (("tiny", "-tiny"), ("small", ""))
    if scale in experiment.plans and (lines := TOP / f"docs/benchmarks/experiments/{name}{ending}/lines.jsonl").exists()
}


@pytest.mark.parametrize(("name", "scale"), RECORDED)
def test_experiments_still_have_the_recipes_of_their_lines(name, scale):
    experiment, plan = EXPERIMENTS[name], EXPERIMENTS[name].plans[scale]
    lines = map(json.loads, RECORDED[name, scale].read_text().splitlines())
    for line in {line["method"]: line for line in lines}.values():
        own = experiment.reference if line["method"] == REFERENCE else experiment.methods[line["method"]]
        start = preset(plan.recipe, 2 if experiment.dataset else 3, experiment.dataset, line["recipe"]["task"])
        now = start.with_settings({**plan.settings, "between": "round", **(own or {})}).flat()  # as a cell has it
        changed = {
            key for key, then in line["recipe"].items() if then != now.get(key, 0)
        }  # settings that are gone were off
        assert changed <= {"seed", "initial_size", "query_size"}, line["method"]
