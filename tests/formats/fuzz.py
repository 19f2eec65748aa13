"""Damaged files of every format that is read, in a process with little memory and time for each.

Promise: whatever the bytes are, reading ends in our error, one line that names the file, or in valid data; never in
another exception, a crash, more than 1 GiB, or more than 10 s.

`python tests/formats/fuzz.py FORMATS COUNT FOLDER [SKIP]` damages COUNT files of each and prints a line of JSON.
"""

from __future__ import annotations

import bz2
import gzip
import json
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import zarr
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from formats.test_lists import FILES, ORIGINALS, entries, make_table
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source, open_pool
from tomotutor.formats.label_csv import read_labels
from tomotutor.formats.mask_png import read_mask, write_mask
from tomotutor.formats.particles.lists import LISTS, read_list, rewrite_list, write_list
from tomotutor.formats.particles.relion_sets import read_tomograms
from tomotutor.formats.tilts import read_tilt_series, read_tlt
from tomotutor.formats.volumes.volume import open_volume

SECONDS, MEMORY = 10, 2**30
WORDS = [
    *(b"nan", b"-1e999", b"1e30", b"", b" ", b"\n", b"\0", b"\xff\xfe", b"loop_", b"data_", b";", b"'", b'"', b","),
    *(b"_rlnTomoName", b"{", b"[]", b"null", b"true", b"9" * 30, b"-", b"1_0", "Å".encode(), b"../", b"[" * 3000),
    *(b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00", b"CONT", b"OBJT", b"IEOF", b"\x1e", b"\r"),
    *(b"x" * 70_000, b"(", b"PK\1\2", b"IDAT", b"|O", b">f8"),
]


@dataclass(frozen=True)
class Format:
    """Valid contents, where the damaged file goes, and how it is read: `read(path, number)`."""

    file: Path
    valid: list[bytes]
    read: Callable[[Path, int], object]


def lists(folder: Path, kind: str) -> Format:
    """Return a format of particle lists; every fifth that is read is written again, too."""
    table = make_table(n=7, names=("a", "b"), class_names=())
    name = "dynamo" if kind == "map" else "relion" if kind == "relion_real" else kind
    path = folder / FILES[name]
    write_list(table, path, name, entries(table))
    file = next(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else path
    file = path.with_suffix(".doc") if kind == "map" else file
    original = ORIGINALS.get("relion" if kind == "relion_real" else kind, "").encode()

    def read(_: Path, number: int) -> None:
        table = read_list(path)
        assert np.isfinite(table.xyz_N3).all()
        assert len(table.ids) == len(table.xyz_N3) == len(table.tomogram_N) > 0
        assert all(isinstance(name, str) and name.strip() for name in table.tomogram_N)
        if number % 5 == 0 and kind != "copick":
            target = folder / "again" / path.name
            rewrite_list(path, target, np.ones(len(table), int))
            np.testing.assert_array_equal(np.sort(read_list(target).xyz_N3, 0), np.sort(table.xyz_N3, 0))

    valid = [original] if kind == "relion_real" else [file.read_bytes(), original or file.read_bytes()]
    return Format(file, valid, read)


def volume_at(path: Path) -> Callable[[Path, int], None]:
    """Return what opens the volume at `path` and reads a corner of it."""

    def read(_: Path, number: int) -> None:
        volume = open_volume(path)
        assert volume.data.ndim in (3, 4)
        assert min(volume.data.shape) >= 1
        assert volume.voxel_size_angst >= 0
        part = np.asarray(volume.data[tuple(slice(0, 8) for _ in volume.data.shape)])
        assert part.dtype.kind in "biuf"

    return read


def volumes(folder: Path, name: str) -> Format:
    """Return a format of volumes."""
    import mrcfile
    from emfile import write as write_em

    x = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    path = folder / name
    file = path
    if name.startswith("a.mrc"):
        mrcfile.write(folder / "plain.mrc", x)
        raw = (folder / "plain.mrc").read_bytes()
        path.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)(raw))
    elif name == "a.em":
        write_em(path, x)
    elif name.endswith(".h5"):
        with h5py.File(path, "w") as opened:
            opened.create_dataset(
                "volume", data=x, **({"chunks": (2, 3, 4), "compression": "gzip"} if name == "b.h5" else {})
            )
            opened["volume"].attrs["element_size_um"] = [0.001] * 3
    elif name == "ome.zarr":
        group = zarr.open_group(str(path), mode="w", zarr_format=2)
        group.create_array("0", data=x)
        scale = [{"type": "scale", "scale": [5.0] * 3}]
        axes = [{"name": a, "type": "space", "unit": "angstrom"} for a in "zyx"]
        group.attrs["multiscales"] = [
            {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        ]
        file = path / ".zattrs"
    else:
        zarr.create_array(str(path), data=x, zarr_format=2 if name == "two.zarr" else 3, chunks=x.shape)
        chunk = next((p for p in (path / "c").rglob("*") if p.is_file()), path)
        file = {"two.zarr": path / ".zarray", "chunk.zarr": chunk}.get(name, path / "zarr.json")
    return Format(file, [file.read_bytes()], volume_at(path))


def items(kind: str) -> Callable[[Path, int], None]:
    """Return what opens a pool and reads its first item."""

    def read(path: Path, number: int) -> None:
        pool = open_pool(Source(kind, str(path if kind == "array" else path.parent)))
        x = pool.read(np.arange(1))
        assert x.shape == (1, *pool.shape)

    return read


def arrays(folder: Path, name: str) -> Format:
    """Return .npy and .npz."""
    x = np.random.default_rng(0).integers(0, 9, (3, 4, 5, 6), np.uint8)
    found = []
    for save in [np.save] if name.endswith("npy") else [np.savez, np.savez_compressed]:
        buffer = BytesIO()
        save(buffer, x) if save is np.save else save(buffer, x=x, y=np.arange(3), classes=np.array(["a", "b", "c"]))
        found.append(buffer.getvalue())
    return Format(folder / name, found, items("array"))


def images(folder: Path, ending: str) -> Format:
    """Return a format of images."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    found = []
    for mode in ("RGB", "L", "P"):
        if not (mode == "P" and ending in ("jpg", "webp")):
            buffer = BytesIO()
            called = {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper())
            Image.fromarray(pixels).convert(mode).save(buffer, called)
            found.append(buffer.getvalue())
    (folder / "images").mkdir()
    return Format(folder / "images" / f"a.{ending}", found, items("images"))


def text(name: str, read: Callable[[Path], object], *valid: bytes) -> Callable[[Path, str], Format]:
    """Return a format of one file with text."""
    return lambda folder, _: Format(folder / name, list(valid), lambda path, number: read(path))


def masks(folder: Path, _: str) -> Format:
    """Return masks."""
    file = folder / "mask.png"
    write_mask(file, np.random.default_rng(0).integers(0, 3, (9, 11), np.uint8))
    return Format(file, [file.read_bytes()], lambda path, number: read_mask(path, (9, 11), 3))


TOMOGRAMS = b"""data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesPixelSize #2
_rlnTomoTomogramBinning #3
_rlnTomoSizeX #4
_rlnTomoSizeY #5
_rlnTomoSizeZ #6
_rlnTomoReconstructedTomogram #7
t1 2.5 4 400 300 100 Tomograms/t1.mrc
t2 2.5 4 400 300 100 'Tomograms/t 2.mrc'
"""
TILTS = b"data_t1\n\nloop_\n_rlnTomoYTilt #1\n_rlnMicrographName #2\n-60.1 a.mrc\n0 b.mrc\n59.9 c.mrc\n"
FORMATS: dict[str, Callable[[Path, str], Format]] = {
    **dict.fromkeys([*LISTS, "relion_real", "map"], lists),
    **dict.fromkeys(["a.mrc", "a.mrc.gz", "a.mrc.bz2", "a.em", "a.h5", "b.h5"], volumes),
    **dict.fromkeys(["a.zarr", "ome.zarr", "two.zarr", "chunk.zarr"], volumes),
    **dict.fromkeys(["a.npy", "a.npz"], arrays),
    **dict.fromkeys(["png", "jpg", "tif", "bmp", "webp"], images),
    "mask": masks,
    "tlt": text("a.tlt", read_tlt, b"-60.0\n-57.01\n0.0\n 3\n60\n"),
    "tilt_series": text("t.star", read_tilt_series, TILTS),
    "tomograms": text("tomograms.star", read_tomograms, TOMOGRAMS),
    "labels": text(
        "l.csv", read_labels, b"item,class,annotator\nt:1,a,ann\nt:2,'+b,\n", b"tomogram,star_row,class\nt,1,a\nt,2,b\n"
    ),
}


def mutate(rng: np.random.Generator, raw: bytes) -> bytes:
    """Return damaged bytes: 1 to 4 changes, half of them near the beginning, where headers are."""
    broken = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 4])):
        near = rng.random() < 0.5
        at = int(rng.integers(0, min(len(broken), 1100) + 1 if near else len(broken) + 1))
        match rng.integers(8):
            case 0:
                broken[at : at + 1] = bytes([rng.integers(256)])
            case 1:
                broken[at : at + int(rng.integers(1, 40))] = b""
            case 2:
                broken[at:at] = WORDS[rng.integers(len(WORDS))]
            case 3:
                broken[at : at + int(rng.integers(1, 9))] = WORDS[rng.integers(len(WORDS))]
            case 4:
                broken[at:at] = bytes(broken[at : at + int(rng.integers(1, 60))])
            case 5 if at < len(broken):
                broken[at] ^= 1 << int(rng.integers(8))
            case 6:
                value = int(rng.choice([-1, 0, 1, 2**20, 2**31 - 1]))
                number = struct.pack(str(rng.choice(["<i", ">i", "<q", "<f"])), value)
                broken[at : at + len(number)] = number
            case _ if rng.random() < 0.2:
                del broken[at:]
    return bytes(broken)


def run(name: str, count: int, folder: Path, skip: int = 0) -> dict[str, object]:
    """Damage and read; return tried, read and what failed. What is read now is kept in the file `now`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = FORMATS[name](folder, name)
    rng = np.random.default_rng(sorted(FORMATS).index(name))
    read, failed = 0, []

    def late(*_: object) -> None:
        raise AssertionError(f"longer than {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    for number in range(count):
        raw = mutate(rng, found.valid[number % len(found.valid)])
        if number < skip:
            continue
        (folder.parent / "now").write_text(f"{name} {number} {raw[:3000]!r}")
        found.file.write_bytes(raw)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            found.read(found.file, number)
            read += 1
        except TomoTutorError as problem:
            if len(str(problem).splitlines()) != 1 or str(folder) not in str(problem):
                failed.append(f"{number}: {problem} for {raw[:3000]!r}")
        except Exception as problem:
            failed.append(f"{number}: {type(problem).__name__}: {problem} for {raw[:3000]!r}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return {"format": name, "tried": count - skip, "read": read, "failed": failed}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with Path("/proc/self/statm").open() as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    skip = int((sys.argv[4:] or ["0"])[0])  # of the first format: what an earlier process has done
    for format_name in sys.argv[1].split(","):
        result = run(format_name, int(sys.argv[2]), Path(sys.argv[3]) / format_name, skip)
        skip = 0
        print(json.dumps(result), flush=True)
