"""Makes the generated parts of the docs: cli.md from the parser, the table in strategies.md from the registry, and from
the lines of each experiment its summary and its curve.
"""

import argparse
import re
from pathlib import Path

from tomotutor.benchmark.comparison import summary
from tomotutor.benchmark.plots import draw_all
from tomotutor.benchmark.results import read_runs
from tomotutor.cli import make_parser
from tomotutor.export import figures
from tomotutor.learn.strategies import STRATEGIES

HERE = Path(__file__).parent
EXPERIMENTS = sorted((HERE / "benchmarks" / "experiments").glob("*/lines.jsonl"))


def _describe(sub: argparse.ArgumentParser) -> str:
    """Return a command's description and its arguments as a table (argparse's own layout differs between Python
    versions).
    """
    rows = []
    for action in sub._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else "")
        value = " ".join(value) if isinstance(value, tuple) else value
        name = " ".join(filter(None, ["/".join(action.option_strings), str(value) if action.nargs != 0 else ""]))
        needed = " (required)" if action.required and action.option_strings else ""
        cells = (f"`{name}`", f"{action.help}{needed}")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([sub.description or "", "", "| argument | meaning |", "|---|---|", *rows, ""])


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parsers of all commands; of one that has commands of its own, theirs."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return [command for action in below for sub in action.choices.values() for command in _commands(sub)] or [parser]


def cli_page() -> str:
    """Return docs/cli.md."""
    parts = ["# Command line\n\nMade by `make docs` from the commands' own help.\n"]
    return "\n".join(parts + [f"## {sub.prog}\n\n{_describe(sub)}" for sub in _commands(make_parser())])


def strategies_page(text: str) -> str:
    """Return docs/strategies.md with its table made anew."""
    rows = "\n".join(f"| `{name}` | {strategy.summary} |" for name, strategy in STRATEGIES.items())
    table = f"<!-- table: made by make docs -->\n| strategy | asks by |\n|---|---|\n{rows}\n<!-- end of table -->"
    return re.sub(r"<!-- table.*?end of table -->", lambda _: table, text, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """Return every generated page with its text."""
    strategies = HERE / "strategies.md"
    summaries = {lines.with_name("summary.md"): summary(read_runs([lines])) for lines in EXPERIMENTS}
    return {HERE / "cli.md": cli_page(), strategies: strategies_page(strategies.read_text()), **summaries}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
    for lines in EXPERIMENTS:
        figures.save(draw_all(read_runs([lines]))["accuracy"], lines.with_name("accuracy.png"))
