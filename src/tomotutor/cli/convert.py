"""The command that turns one particle list into another."""

from __future__ import annotations

import argparse
from pathlib import Path

from tomotutor.cli.common import Commands, add_command, add_list_arguments, source_of
from tomotutor.formats.particles import LIST_NAMES


def _convert(args: argparse.Namespace) -> None:
    from tomotutor.export.lists import convert_list

    source = source_of("particles", args.list, args)
    print(convert_list(source, Path(args.out), args.format, args.tilt_series_pixel_size))


def add(commands: Commands) -> None:
    """Add this command."""
    convert = add_command(
        commands,
        "convert",
        _convert,
        "write a particle list in another format, positions, orientations and classes kept",
        session=False,
    )
    convert.add_argument("list", metavar="IN", help="particle list of any format that new --particles takes")
    convert.add_argument(
        "out",
        metavar="OUT",
        help="list to write; its ending says the format: .star (RELION 5), .tbl, .em, .mod, .csv; else see --format",
    )
    convert.add_argument(
        "--format", choices=LIST_NAMES, default="", help="format of OUT; copick and IMOD write into a folder"
    )
    add_list_arguments(convert)
    convert.add_argument(
        "--tilt-series-pixel-size",
        type=float,
        default=0.0,
        metavar="A",
        help="pixels that a RELION 4 list counts (default: the tomogram set's)",
    )
