"""Damaged lists of every format end in our error or in a valid table, never in another exception and
never in a hang.
"""

import time

import numpy as np
import pytest

from formats.test_lists import FILES, ORIGINALS, entries, make_table
from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.particles.lists import LISTS, read_list, rewrite_list, write_list

KINDS = [*LISTS, "relion_real", "map"]
WORDS = [
    b"nan",
    b"-1e999",
    b"1e30",
    b"",
    b" ",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"loop_",
    b"data_",
    b";",
    b"'",
    b'"',
    b"_rlnTomoName",
    b",",
    b"{",
    b"[]",
    b"null",
    b"9" * 30,
    b"-",
    b"1_0",
    "Å".encode(),
    b"../",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"CONT",
    b"OBJT",
    b"IEOF",
    b"\x1e",
    b"\r",
]


def seeds(tmp_path, kind):
    """Return the file that is damaged, the list that is read, and valid contents of the file."""
    table = make_table(n=7, names=("a", "b"), class_names=())
    if kind == "relion_real":
        return (tmp_path / "p.star",) * 2, [ORIGINALS["relion"].encode()]
    name = "dynamo" if kind == "map" else kind
    path = tmp_path / FILES[name]
    write_list(table, path, name, entries(table))
    if kind == "map":
        return (path.with_suffix(".doc"), path), [path.with_suffix(".doc").read_bytes()]
    file = next(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else path
    return (file, path), [file.read_bytes(), ORIGINALS.get(kind, "").encode() or file.read_bytes()]


def mutate(rng, raw):
    broken = bytearray(raw)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, len(broken) + 1))
        match rng.integers(6):
            case 0:
                broken[at : at + 1] = bytes([rng.integers(256)])
            case 1:
                broken[at : at + int(rng.integers(1, 40))] = b""
            case 2:
                broken[at:at] = WORDS[rng.integers(len(WORDS))]
            case 3:
                broken[at : at + int(rng.integers(1, 9))] = WORDS[rng.integers(len(WORDS))]
            case 4:
                piece = bytes(broken[at : at + int(rng.integers(1, 60))])
                broken[at:at] = piece
            case _ if rng.random() < 0.3:
                del broken[at:]
    return bytes(broken)


def fuzz(tmp_path, kind, count):
    (file, path), valid = seeds(tmp_path, kind)
    rng = np.random.default_rng(sorted(KINDS).index(kind))
    read = 0
    for number in range(count):
        raw = mutate(rng, valid[number % len(valid)])
        file.write_bytes(raw)
        start = time.perf_counter()
        try:
            table = read_list(path)
            assert np.isfinite(table.xyz_N3).all()
            assert len(table.ids) == len(table.xyz_N3) == len(table.tomogram_N) > 0
            assert all(isinstance(name, str) and name.strip() for name in table.tomogram_N)
            if number % 5 == 0 and kind != "copick":
                target = tmp_path / "again" / path.name
                rewrite_list(path, target, np.ones(len(table), int))
                np.testing.assert_array_equal(np.sort(read_list(target).xyz_N3, 0), np.sort(table.xyz_N3, 0))
            read += 1
        except TomoTutorError as problem:
            assert len(str(problem).splitlines()) == 1, raw
            assert str(tmp_path) in str(problem), raw
        except Exception as problem:
            raise AssertionError(f"{kind} {number}: {problem!r} for {raw!r}") from problem
        assert time.perf_counter() - start < 20, raw
    return read


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_lists(tmp_path, kind):
    fuzz(tmp_path, kind, 200)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_lists(tmp_path, kind):
    assert fuzz(tmp_path, kind, 20_000) > 0
