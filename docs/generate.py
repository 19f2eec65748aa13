"""Makes the generated parts of the docs: cli.md from the parser, the table in strategies.md from the registry, that of
the screen's speed from its figures, and from the lines of each experiment its summary and its curve.
"""

import argparse
import json
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


# what a person waits for: what it is, how it is written, and the aim
SCREEN = (
    (
        "key to next particle painted, volume",
        "{key_to_painted_volume_p50_ms:.0f} / {key_to_painted_volume_p95_ms:.0f} ms",
        "< 100 ms",
    ),
    (
        "the same, isosurface",
        "{key_to_painted_surface_p50_ms:.0f} / {key_to_painted_surface_p95_ms:.0f} ms",
        "< 100 ms",
    ),
    (
        "the same, volume, while training",
        "{key_to_painted_while_training_p50_ms:.0f} / {key_to_painted_while_training_p95_ms:.0f} ms",
        "< 100 ms",
    ),
    (
        "key to every answer, count and frame of the grid, {many_items:,} items",
        "{many_key_to_grid_p50_ms:.0f} / {many_key_to_grid_p95_ms:.0f} ms",
        "< 150 ms",
    ),
    (
        "the same while training",
        "{many_key_to_grid_while_training_p50_ms:.0f} / {many_key_to_grid_while_training_p95_ms:.0f} ms",
        "< 150 ms",
    ),
    (
        "a step of the grid's scroll bar, {most_items:,} items",
        "{most_scroll_p50_ms:.0f} / {most_scroll_p95_ms:.0f} ms",
        "p95 < 50 ms",
    ),
    (
        "sheet turned by the mouse, pictures a second, median / slowest twentieth",
        "{sheet_frames_per_s_p50:.0f} / {sheet_frames_per_s_p5:.0f}",
        "≥ 15",
    ),
    (
        "the same while training",
        "{sheet_while_training_frames_per_s_p50:.0f} / {sheet_while_training_frames_per_s_p5:.0f}",
        "≥ 15",
    ),
    ("main thread held up at most: training", "{blocked_while_training_ms:.0f} ms", "< 100 ms"),
    ("main thread held up at most: end of a round", "{blocked_at_round_end_ms:.0f} ms", "< 100 ms"),
    (
        "main thread held up at most: labeling {many_items:,} items",
        "{many_blocked_while_labeling_ms:.0f} ms",
        "< 100 ms",
    ),
    (
        "main thread held up at most: opening the first session of a window, a second one",
        "{blocked_while_opening_ms:.0f}, {blocked_while_opening_again_ms:.0f} ms",
        "< 100 ms",
    ),
    (
        "opening a session of 300, {many_items:,}, {most_items:,} items",
        "{opening_s:.1f}, {many_opening_s:.1f}, {most_opening_s:.1f} s",
        "< 5 s",
    ),
    (
        "closing: before the first mini-batch, while training, while exporting",
        "{closing_before_first_batch_ms:.0f}, {closing_in_training_ms:.0f}, {closing_while_exporting_ms:.0f} ms",
        "< 1 s",
    ),
    ("from the command to a usable window", "{first_window_s:.1f} s", "< 15 s"),
)


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


def screen_table(text: str) -> str:
    """Return docs/benchmarks/README.md with the table of the screen made anew; what was not measured is left out."""
    figures = json.loads((HERE / "benchmarks" / "screen.json").read_text())["figures"]
    rows = []
    for what, measured, aim in SCREEN:
        needed = re.findall(r"{(\w+)", what + measured)
        if all(figures.get(name) is not None for name in needed):
            rows.append(f"| {what.format(**figures)} | {measured.format(**figures)} | {aim} |")
    head = "| the screen, software OpenGL (screen.json) | measured, median / 95th percentile | aim |\n|---|---|---|"
    table = "\n".join(["<!-- screen: made by make docs -->", head, *rows, "<!-- end of screen -->"])
    return re.sub(r"<!-- screen.*?end of screen -->", lambda _: table, text, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """Return every generated page with its text."""
    strategies = HERE / "strategies.md"
    summaries = {lines.with_name("summary.md"): summary(read_runs([lines])) for lines in EXPERIMENTS}
    bench = HERE / "benchmarks" / "README.md"
    made = {HERE / "cli.md": cli_page(), strategies: strategies_page(strategies.read_text())}
    return made | {bench: screen_table(bench.read_text())} | summaries


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
    for lines in EXPERIMENTS:
        figures.save(draw_all(read_runs([lines]))["accuracy"], lines.with_name("accuracy.png"))
