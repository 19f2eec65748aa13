import importlib.util
import re
from pathlib import Path

import pytest

import tomotutor
from tomotutor.cli import make_parser

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
