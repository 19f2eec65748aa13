"""Commands that simulate: sets of subtomograms, whole tomograms, and the sample data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomotutor.base.errors import command
from tomotutor.cli.common import (
    Commands,
    add_command,
    add_device_argument,
    add_structures_argument,
    numbers,
    read_device,
    show,
)

if TYPE_CHECKING:
    from tomotutor.simulate import Imaging


def _show(what: str) -> Any:
    return lambda done, total: show(what, done, total)


def _imaging(args: argparse.Namespace) -> Imaging:
    from tomotutor.simulate import Imaging

    return Imaging(
        args.voxel_size,
        args.snr,
        args.tilt_range,
        args.tilt_step,
        args.defocus,
        ctf=not args.no_ctf,
        projections=args.projections,
    )


def _subtomograms(args: argparse.Namespace) -> None:
    import time

    from tomotutor.simulate import SubtomogramSettings, find_structures, simulate_subtomograms

    settings = SubtomogramSettings(
        args.per_class,
        args.imbalance,
        args.false_picks,
        args.membrane,
        args.gold,
        args.box,
        args.resolution,
        args.max_shift,
        args.mode,
        args.seed,
    )
    imaging, device = _imaging(args), read_device(args.device)
    structures = find_structures(args.structures, args.assembly)
    start = time.perf_counter()
    classes = simulate_subtomograms(
        Path(args.out), structures, settings, imaging, device=device, batch=args.batch, report=_show("subtomograms")
    )
    seconds = time.perf_counter() - start
    print(f"{args.out}: {len(classes)} classes, {seconds:.0f} s on {device}")
    names = ",".join(c for c in classes if c != "junk")
    print("next:", command("new", "SESSION", "--stack", Path(args.out) / "subtomograms.mrc", "--classes", names))


def _tomograms(args: argparse.Namespace) -> None:
    from tomotutor.simulate import TomogramSettings, find_structures, simulate_tomograms

    settings = TomogramSettings(
        args.shape,
        args.count,
        args.particles,
        args.imbalance,
        args.false_picks,
        args.membrane,
        args.gold,
        args.pick_error,
        args.box,
        args.resolution,
        args.mode,
        args.seed,
    )
    imaging, device = _imaging(args), read_device(args.device)
    structures = find_structures(args.structures, args.assembly)
    placed = simulate_tomograms(Path(args.out), structures, settings, imaging, device=device, report=_show("tomograms"))
    for name, picks, complexes in placed:
        short = f", {args.particles - picks} found no room" if picks < args.particles else ""
        print(f"{name}: {picks} picks, {complexes} of them complexes{short}")
    out, names = Path(args.out), ",".join(s.name for s in structures)
    files = "--particles", out / "particles.star", "--tomograms", out / "tomograms.star"
    print("next:", command("new", "SESSION", *files, "--classes", names))


def _sample(args: argparse.Namespace) -> None:
    from tomotutor.simulate import make_sample_data

    make_sample_data(Path(args.folder))
    print(args.folder)


def _add_shared(parser: argparse.ArgumentParser, snr: float) -> None:
    add_structures_argument(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder to write to")
    parser.add_argument(
        "--assembly",
        default="",
        metavar="NAME",
        help="biological assembly of structures, or asu (default: 1 if there is one)",
    )
    parser.add_argument("--box", type=int, default=32, metavar="VOXELS", help="edge of the boxes, even (default 32)")
    parser.add_argument("--voxel-size", type=float, default=10.0, metavar="A", help="voxel size in Å (default 10)")
    parser.add_argument(
        "--resolution",
        type=float,
        default=0.0,
        metavar="A",
        help="resolution of the densities in Å (default: two voxels)",
    )
    parser.add_argument(
        "--snr",
        type=float,
        default=snr,
        help=f"var(signal) / var(noise) in the boxes, after CTF and wedge (default {snr:g})",
    )
    parser.add_argument(
        "--tilt-range", type=numbers(float, 2), default=(-60.0, 60.0), metavar="A,B", help="degrees (default -60,60)"
    )
    parser.add_argument(
        "--tilt-step", type=float, default=3.0, metavar="DEG", help="between tilts, with --projections (default 3)"
    )
    parser.add_argument(
        "--defocus", type=numbers(float, 2), default=(3.0, 6.0), metavar="A,B", help="µm, drawn between (default 3,6)"
    )
    parser.add_argument("--no-ctf", action="store_true", help="no contrast transfer function")
    parser.add_argument(
        "--projections",
        action="store_true",
        help="tilt projections and weighted back-projection instead of the Fourier wedge",
    )
    parser.add_argument(
        "--imbalance", type=float, default=1.0, metavar="R", help="largest class over smallest (default 1)"
    )
    parser.add_argument(
        "--false-picks",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share that shows no complex, class junk (default 0)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="same seed, same bytes (default 0)")
    add_device_argument(parser)


def add(commands: Commands) -> None:
    """Add these commands."""
    simulate = commands.add_parser(
        "simulate",
        help="simulate subtomograms or tomograms with the truth",
        description="Simulate data with the truth.",
    )
    kinds = simulate.add_subparsers(title="what to simulate", metavar="WHAT", required=True)

    single = add_command(
        kinds,
        "subtomograms",
        _subtomograms,
        "simulate a stack of subtomograms with truth and poses",
        session=False,
        threads=True,
    )
    _add_shared(single, 0.05)
    single.add_argument(
        "--per-class", type=int, default=480, metavar="N", help="items of the largest class (default 480)"
    )
    single.add_argument(
        "--max-shift", type=float, default=1.0, metavar="VOXELS", help="largest shift along each axis (default 1)"
    )
    single.add_argument("--membrane", action="store_true", help="some false picks lie on membranes")
    single.add_argument("--gold", action="store_true", help="some false picks lie on gold beads")
    single.add_argument(
        "--mode", type=int, choices=(2, 12), default=12, help="MRC mode: 12 (float16, default) or 2 (float32)"
    )
    single.add_argument(
        "--batch", type=int, default=16, metavar="N", help="computed at once; changes speed, not bytes (default 16)"
    )

    whole = add_command(
        kinds,
        "tomograms",
        _tomograms,
        "simulate crowded tomograms with a particle list and truth",
        session=False,
        threads=True,
    )
    _add_shared(whole, 0.1)
    whole.add_argument(
        "--shape", type=numbers(int, 3), default=(96, 288, 288), metavar="Z,Y,X", help="voxels (default 96,288,288)"
    )
    whole.add_argument("--count", type=int, default=1, metavar="N", help="tomograms (default 1)")
    whole.add_argument(
        "--particles", type=int, default=260, metavar="N", help="picks in each, false ones included (default 260)"
    )
    whole.add_argument("--membrane", type=int, default=0, metavar="N", help="vesicles in each (default 0)")
    whole.add_argument("--gold", type=int, default=0, metavar="N", help="gold beads in each (default 0)")
    whole.add_argument(
        "--pick-error",
        type=float,
        default=0.7,
        metavar="VOXELS",
        help="deviation of picks along each axis (default 0.7)",
    )
    whole.add_argument(
        "--mode", type=int, choices=(0, 1, 2, 12), default=0, help="MRC mode: 0 (int8, default), 1, 2 or 12"
    )

    sample = add_command(
        kinds, "sample", _sample, "make the sample data that the demo opens", session=False, threads=True
    )
    sample.add_argument("folder", metavar="FOLDER", help="new folder to write to")
