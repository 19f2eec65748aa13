"""Small files that declare or unpack to something huge are refused in a sentence, before memory or time is taken."""

import gzip
import io
import json
import struct
import tracemalloc
import zipfile

import h5py
import mrcfile
import numpy as np
import pytest
from PIL import Image

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source, open_pool
from tomotutor.formats.volumes.volume import open_volume

zarr = pytest.importorskip("zarr")


def npy_header(shape, dtype="<f4"):
    handle = io.BytesIO()
    np.lib.format.write_array_header_1_0(handle, {"descr": dtype, "fortran_order": False, "shape": shape})
    return handle.getvalue()


def many_in_hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10**9, 8, 8, 8), "f4", chunks=(1, 8, 8, 8))
    return Source("stack", str(path), key="")


def many_in_zarr(path):
    zarr.create_array(str(path), shape=(10**9, 8, 8, 8), chunks=(1, 8, 8, 8), dtype="f4")
    return Source("stack", str(path), key="")


def empty_rows(path):
    path.write_bytes(npy_header((10**12, 8, 8, 0)))
    return Source("array", str(path))


def large_header(path):
    path.write_bytes(npy_header((10**9, 8, 8, 8)) + bytes(1000))
    return Source("array", str(path))


def large_npz(path):
    size = 2**30
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as out,
    ):
        out.write(npy_header((size // 512, 8, 8, 8), "|u1"))
        for _ in range(size >> 20):
            out.write(bytes(1 << 20))
    return Source("array", str(path))


def lying_npz(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy_header((10**9, 8, 8, 8)) + bytes(1000))
    return Source("array", str(path))


def large_image(path):
    zarr.create_array(str(path), shape=(10, 10**6, 10**6), chunks=(1, 100, 100), dtype="f4")
    return Source("stack", str(path), key="", ndim=2)


def small_png(path):
    path.mkdir()
    Image.new("L", (8500, 8500)).save(path / "a.png")
    return Source("images", str(path))


BOMBS = [
    ("a.h5", many_in_hdf5, "has 1000000000 items; expected up to 5000000"),
    ("a.zarr", many_in_zarr, "has 1000000000 items; expected up to 5000000"),
    ("a.npy", empty_rows, r"x is empty, its shape is \(1000000000000, 8, 8, 0\)"),
    ("b.npy", large_header, "the file is cut short"),
    ("a.npz", large_npz, "that unpack to 1073741"),
    ("b.npz", lying_npz, "the file is cut short"),
    ("images", small_png, r"a\.png: \d{5} bytes that unpack to 578000000"),
    ("i.zarr", large_image, "its items have 1000000×1000000 pixels"),
]


@pytest.mark.parametrize(("name", "make", "message"), BOMBS, ids=[make.__name__ for _, make, _ in BOMBS])
def test_an_input_that_declares_too_much(tmp_path, name, make, message):
    source = make(tmp_path / name)
    tracemalloc.start()
    with pytest.raises(TomoTutorError, match=message):
        open_pool(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz", "a.em"])
def test_a_volume_of_40_petabytes(tmp_path, name):
    path = tmp_path / name
    if name == "a.em":
        path.write_bytes(struct.pack("<4B3i", 6, 0, 0, 5, *(215_000,) * 3).ljust(512, b"\0") + bytes(2000))
    else:
        mrcfile.write(tmp_path / "small.mrc", np.zeros((8, 8, 8), np.float32))
        raw = bytearray((tmp_path / "small.mrc").read_bytes())
        raw[:12] = struct.pack("<3i", *(215_000,) * 3)
        path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    with pytest.raises(TomoTutorError, match=r"cut short|that unpack to"):
        open_volume(path)


def test_an_extended_header_of_2_gb_takes_no_memory(tmp_path):
    mrcfile.write(tmp_path / "a.mrc", np.zeros((8, 8, 8), np.float32))
    raw = bytearray((tmp_path / "a.mrc").read_bytes())
    raw[92:96] = struct.pack("<i", 2**31 - 1)
    (tmp_path / "a.mrc").write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(TomoTutorError, match="cut short"):
        open_volume(tmp_path / "a.mrc")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_volume_too_large_to_be_read_at_once(tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(10**5,) * 3, chunks=(64,) * 3, dtype="f4")
    volume = open_volume(tmp_path / "a.zarr")
    assert not volume.data[99_990:, 5, :3].any()  # parts of it can be read
    with pytest.raises(TomoTutorError, match="too many to be read at once"):
        np.asarray(volume.data)


def damage(raw, at, new):
    return raw[:at] + new + raw[at + len(new) :]


def test_damaged_npz_ends_in_our_error(tmp_path):
    path = tmp_path / "a.npz"
    rng = np.random.default_rng(0)
    np.savez_compressed(path, x=rng.integers(0, 9, (20, 8, 8, 8), np.uint8))
    packed = path.read_bytes()
    data = 30 + struct.unpack("<H", packed[26:28])[0] + struct.unpack("<H", packed[28:30])[0]
    central = packed.rindex(b"PK\1\2")
    np.savez(path, x=np.zeros((2, 8, 8, 8), np.uint8))
    plain = path.read_bytes()
    shape = plain.index(b"(2, 8")
    for raw in (
        damage(packed, data + 40, b"\xff" * 60),  # zlib.error
        damage(damage(packed, 8, b"\x63\0"), central + 10, b"\x63\0"),  # NotImplementedError: unknown compression
        damage(damage(packed, 6, b"\1\0"), central + 8, b"\1\0"),  # RuntimeError: encrypted
        damage(plain, shape, b"((((("),  # TokenError
        damage(plain, shape, b"()   "),
        packed[: len(packed) // 2],
        b"",
    ):
        path.write_bytes(raw)
        with pytest.raises(TomoTutorError, match=r"a\.npz: "):
            open_pool(Source("array", str(path)))


# ---- what leads outside or starts something
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_follows_no_link_out_of_its_folder(tmp_path, version):
    x = np.arange(64, dtype="u1").reshape(4, 4, 4)
    how = {"chunks": (4, 4, 4), "compressors": None, "zarr_format": version}
    path = tmp_path / "a.zarr"
    zarr.create_array(str(path), data=x, **how)
    (tmp_path / "secret").write_bytes(bytes(range(100, 164)))
    chunk = next(p for p in path.rglob("*") if p.is_file() and "zarr" not in p.name and not p.name.startswith("."))
    inner = path / "elsewhere"
    chunk.rename(inner)
    chunk.symlink_to(inner)
    np.testing.assert_array_equal(np.asarray(open_volume(path).data), x)  # a link that stays inside
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(TomoTutorError, match="is a link that leaves the folder"):
        np.asarray(open_volume(path).data)
    metadata = path / ("zarr.json" if version == 3 else ".zarray")
    metadata.rename(tmp_path / "metadata.json")
    metadata.symlink_to(tmp_path / "metadata.json")
    with pytest.raises(TomoTutorError, match="is a link that leaves the folder"):
        open_volume(path)
    (tmp_path / "b.zarr").symlink_to(path)  # the folder itself may be a link
    metadata.unlink()
    metadata.write_text((tmp_path / "metadata.json").read_text())
    assert json.loads(metadata.read_text())
    chunk.unlink()
    inner.rename(chunk)
    np.testing.assert_array_equal(np.asarray(open_volume(tmp_path / "b.zarr").data), x)
