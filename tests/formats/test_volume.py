import bz2
import gzip
import json
import struct

import emfile
import h5py
import mrcfile
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.volumes.volume import is_volume, open_volume

zarr = pytest.importorskip("zarr")
RNG = np.random.default_rng(0)
VOLUME = RNG.normal(size=(5, 6, 7)).astype(np.float32)  # three different edges: exchanged axes cannot pass
STACK = RNG.normal(size=(3, 5, 6, 7)).astype(np.float32)
PARTS = [np.s_[1:3], np.s_[2], np.s_[1:4, 2, ::2], np.s_[0:0], np.s_[4, 5, 6], np.s_[:, 1:3, 2:7]]


def refused(message, path, **options):
    with pytest.raises(TomoTutorError, match=message) as caught:
        np.asarray(open_volume(path, **options).data)
    assert path.name in str(caught.value)
    assert str(caught.value).count("\n") == 0


def write(path, volume, **how):
    """Write a volume in the format of its ending, by the format's own program."""
    if path.suffix == ".em":
        emfile.write(path, volume)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("volume", data=volume, **how)
    elif path.suffix == ".zarr":
        zarr.create_array(
            str(path), data=volume, **{"zarr_format": 3, "chunks": tuple(max(1, s // 2) for s in volume.shape), **how}
        )
    else:
        mrcfile.write(path.with_suffix("") if path.suffix in (".gz", ".bz2") else path, volume)
        if path.suffix in (".gz", ".bz2"):
            plain = path.with_suffix("")
            path.write_bytes((gzip if path.suffix == ".gz" else bz2).compress(plain.read_bytes()))
            plain.unlink()
    return path


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz", "a.mrc.bz2", "a.rec", "a.em", "a.h5", "a.zarr"])
def test_every_format_gives_the_same_voxels_in_the_same_order(tmp_path, name):
    volume = open_volume(write(tmp_path / name, VOLUME))
    assert volume.data.shape == (5, 6, 7)
    assert not volume.is_volume_stack
    np.testing.assert_array_equal(np.asarray(volume.data), VOLUME)
    for part in PARTS:
        np.testing.assert_array_equal(volume.data[part], VOLUME[part])


FORMATS = {
    "a.mrc": ["int8", "int16", "uint16", "float16", "float32"],
    "a.em": ["int8", "int16", "int32", "float32", "float64"],
    "a.h5": ["int8", "uint8", "int32", "float16", "float64"],
    "a.zarr": ["int8", "uint8", "int32", "float16", "float64"],
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.parametrize("name", FORMATS)
def test_any_volume_comes_back(tmp_path_factory, name, data):
    dtype = data.draw(st.sampled_from(FORMATS[name]))
    volume = data.draw(arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=6)))
    path = write(tmp_path_factory.mktemp("v") / name, volume)
    read = np.asarray(open_volume(path).data)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, volume)  # NaN and infinity too


def test_bytes_are_signed_or_not_as_the_header_or_the_user_says(tmp_path):
    bytes_ = np.arange(-128, 112, dtype=np.int8).reshape(4, 5, 12)
    mrc, em = write(tmp_path / "a.mrc", bytes_), write(tmp_path / "a.em", bytes_)
    for path in (mrc, em):
        np.testing.assert_array_equal(open_volume(path).data, bytes_)
        np.testing.assert_array_equal(open_volume(path, byte_sign="unsigned").data, bytes_.view(np.uint8))
    raw = bytearray(mrc.read_bytes())
    raw[152:160] = struct.pack("<ii", 1146047817, 0)  # IMOD, flags say: not signed
    mrc.write_bytes(raw)
    np.testing.assert_array_equal(open_volume(mrc).data, bytes_.view(np.uint8))
    np.testing.assert_array_equal(open_volume(mrc, byte_sign="signed").data, bytes_)
    raw[156] = 1
    mrc.write_bytes(raw)
    np.testing.assert_array_equal(open_volume(mrc).data, bytes_)


def test_mrc_axes_in_another_order(tmp_path):
    """A CCP4 map with columns along z, rows along x and sections along y, written by hand."""
    path = tmp_path / "a.mrc"
    mrcfile.write(path, np.ascontiguousarray(VOLUME.transpose(1, 2, 0)))  # sections y, rows x, columns z
    raw = bytearray(path.read_bytes())
    raw[64:76] = struct.pack("<iii", 3, 1, 2)
    path.write_bytes(raw)
    np.testing.assert_array_equal(open_volume(path).data, VOLUME)


@pytest.mark.parametrize("machine", [3, 5, 6])
def test_em_of_either_byte_order(tmp_path, machine):
    order = "<" if machine == 6 else ">"
    head = struct.pack(f"{order}4B3i", machine, 0, 0, 5, 7, 6, 5).ljust(512, b"\0")
    (tmp_path / "a.em").write_bytes(head + VOLUME.astype(f"{order}f4").tobytes())
    np.testing.assert_array_equal(open_volume(tmp_path / "a.em").data, VOLUME)


def test_compressed_files_say_what_is_wrong_and_cannot_explode(tmp_path):
    path = write(tmp_path / "a.mrc.gz", VOLUME)
    packed = path.read_bytes()
    path.write_bytes(packed[:-60])
    refused("cannot be decompressed|not an MRC file", path)
    plain = gzip.decompress(packed)
    path.write_bytes(gzip.compress(plain + bytes(50_000_000)))  # more than the header says: not even looked at
    np.testing.assert_array_equal(open_volume(path).data, VOLUME)
    path.write_bytes(gzip.compress(plain[:-8]))
    refused("cut short: 1856 bytes, .* needs 1864", path)


def test_damaged_em(tmp_path):
    path = write(tmp_path / "a.em", VOLUME)
    raw = path.read_bytes()
    for content, message in (
        (raw[:-4], "cut short: 1348 bytes"),
        (raw[:100], "not an EM file"),
        (b"\x09" + raw[1:], "not an EM file"),
        (raw[:3] + b"\x08" + raw[4:], "complex voxels"),
        (raw[:4] + bytes(4) + raw[8:], "size of 0×6×5"),
    ):
        path.write_bytes(content)
        refused(message, path)


# ---- HDF5
# ---------------------------------------------------------------------------------------------------------------


def test_hdf5_array_by_name_or_the_only_one(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["deep/er/volume"] = VOLUME
        file["table"] = np.zeros((4, 2))
        file["deep/soft"] = h5py.SoftLink("/deep/er/volume")
        file["deep/er/volume"].attrs["element_size_um"] = [0.0011, 0.0012, 0.00135]  # z, y, x
    opened = open_volume(path)
    np.testing.assert_array_equal(np.asarray(opened.data), VOLUME)
    assert opened.voxel_size_angst == pytest.approx(13.5)
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        file["deep/er/volume"] = VOLUME
        file["stack"] = STACK
    refused(r"arrays with 3 or 4 axes are deep/er/volume \(7×6×5\), stack \(7×6×5×3\); .* --key", path)
    stack = open_volume(path, key="stack")
    assert stack.is_volume_stack
    np.testing.assert_array_equal(stack.data[1], STACK[1])


def test_eman2_stack(tmp_path):
    path = tmp_path / "particles.hdf"
    with h5py.File(path, "w") as file:
        for i in (10, 2, 1):
            file[f"MDF/images/{i}/image"] = VOLUME * i
            file[f"MDF/images/{i}"].attrs["EMAN.apix_x"] = 3.5
    opened = open_volume(path)
    assert (opened.data.shape, opened.voxel_size_angst, opened.is_volume_stack) == ((3, 5, 6, 7), 3.5, True)
    np.testing.assert_array_equal(opened.data[2], VOLUME * 10)  # in the order of numbers
    np.testing.assert_array_equal(opened.data[0:2, 1], np.stack([VOLUME[1], VOLUME[1] * 2]))


def test_hdf5_voxels_in_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["volume"] = VOLUME
    path = tmp_path / "link.h5"
    with h5py.File(path, "w") as file:
        file["volume"] = h5py.ExternalLink("secret.h5", "/volume")
    refused("link to another file .secret.h5., which is not followed", path)
    path = tmp_path / "virtual.h5"
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout(VOLUME.shape, "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "volume", VOLUME.shape)
        file.create_virtual_dataset("volume", layout)
    refused("lie in other files", path)
    (tmp_path / "raw").write_bytes(VOLUME.tobytes())
    path = tmp_path / "external.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("volume", VOLUME.shape, "f4", external=[(str(tmp_path / "raw"), 0, VOLUME.nbytes)])
    refused("lie in other files", path)


def test_bad_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5" * 100)
    refused("not an HDF5 file", path)
    with h5py.File(path, "w") as file:
        file["text"] = np.full((2, 2, 2), b"abc")
    refused("expected real numbers", path)
    with h5py.File(path, "w") as file:
        file["complex"] = VOLUME.astype("complex64")
    refused("expected real numbers", path)
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((0, 4, 4))
    refused("expected at least 1", path)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (2**12,) * 3, "f4", chunks=(2**11, 2**10, 2**9))
    refused("expected up to 2 GiB each", path)
    raw = write(path, np.repeat(VOLUME, 40, 0), compression="gzip", chunks=(200, 6, 7)).read_bytes()
    path.write_bytes(raw[:-3000])
    refused("not an HDF5 file|not a volume", path)
    refused("no such file", tmp_path / "gone.h5")


# ---- Zarr
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("codec", ["none", "default", "gzip", "sharded"])
def test_zarr_of_both_formats_and_usual_compressors(tmp_path, version, codec):
    from zarr.codecs import GzipCodec

    how = {
        "none": {"compressors": None},
        "default": {},
        "gzip": {"compressors": GzipCodec()},
        "sharded": {"shards": (4, 6, 4), "chunks": (2, 3, 2)},
    }
    if version == 2 and codec == "sharded":
        pytest.skip("Zarr 2 has no shards")
    if version == 2 and codec == "gzip":
        import numcodecs

        how["gzip"] = {"compressors": numcodecs.GZip()}
    path = write(tmp_path / "a.zarr", VOLUME, zarr_format=version, **how[codec])
    np.testing.assert_array_equal(np.asarray(open_volume(path).data), VOLUME)


def pyramid(path, version, *, axes="zyx", unit="angstrom", sizes=(5.0, 10.0, 20.0), whole=None):
    """Write an OME-Zarr pyramid; level n is filled with n, [z, y, x] of (8, 12, 16) halved n times."""
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    order = [{"z": 0, "y": 1, "x": 2}.get(a) for a in axes]
    datasets = []
    for n, size in enumerate(sizes):
        level = np.full((8 >> n, 12 >> n, 16 >> n), n, np.float32)
        level[0, 1, 2] = 100
        data = np.expand_dims(
            level.transpose([o for o in order if o is not None]), tuple(i for i, o in enumerate(order) if o is None)
        )
        group.create_array(str(n), data=data)
        scale = [1.0 if o is None else size for o in order]
        datasets.append({"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    described = [
        {"name": a, "type": "space", "unit": unit} if a in "zyx" else {"name": a, "type": "channel"} for a in axes
    ]
    found = {"version": "0.4", "axes": described, "datasets": datasets}
    if whole:
        found["coordinateTransformations"] = [{"type": "scale", "scale": [whole] * len(axes)}]
    group.attrs.update(
        {"multiscales": [found]} if version == 2 else {"ome": {"version": "0.5", "multiscales": [found]}}
    )
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_level_by_voxel_size(tmp_path, version):
    path = pyramid(tmp_path / "a.zarr", version)
    for near, level in ((0, 0), (4, 0), (5, 0), (9.8, 0), (10, 1), (9.95, 1), (15, 1), (20, 2), (100, 2)):
        opened = open_volume(path, near_angst=near)
        assert opened.data[1, 1, 1] == level, near
        assert opened.voxel_size_angst == pytest.approx(5 * 2**level)


@pytest.mark.parametrize("axes", ["zyx", "tczyx", "xyz", "czyx"])
@pytest.mark.parametrize(("unit", "size"), [("angstrom", 6.0), ("nanometer", 0.6), ("micrometer", 6e-4)])
def test_ome_zarr_axes_and_units(tmp_path, axes, unit, size):
    opened = open_volume(pyramid(tmp_path / "a.zarr", 3, axes=axes, unit=unit, sizes=[size]))
    assert opened.data.shape == (8, 12, 16)
    assert opened.voxel_size_angst == pytest.approx(6)
    assert opened.data[0, 1, 2] == 100
    assert np.argwhere(np.asarray(opened.data) == 100).tolist() == [[0, 1, 2]]


def test_ome_zarr_scale_of_the_whole_and_no_unit(tmp_path):
    assert open_volume(pyramid(tmp_path / "a.zarr", 3, whole=2.0)).voxel_size_angst == pytest.approx(10)
    assert open_volume(pyramid(tmp_path / "b.zarr", 2, unit="")).voxel_size_angst == 0


def test_zarr_group_with_arrays(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.create_array("volume", data=VOLUME)
    group.create_array("table", data=np.zeros((3, 2)))
    np.testing.assert_array_equal(np.asarray(open_volume(tmp_path / "a.zarr").data), VOLUME)
    group.create_array("stack", data=STACK)
    refused("expected one: say which holds the voxels with --key", tmp_path / "a.zarr")
    assert open_volume(tmp_path / "a.zarr", key="stack").is_volume_stack


def test_zarr_never_leaves_its_folder(tmp_path):
    write(tmp_path / "secret.zarr", VOLUME)
    for number, trick in enumerate(
        ("../secret.zarr", str(tmp_path / "secret.zarr"), "0/../../secret.zarr", "..\\secret.zarr", "link")
    ):
        path = pyramid(tmp_path / f"{number}.zarr", 2)
        (path / "link").symlink_to(tmp_path / "secret.zarr")
        attributes = json.loads((path / ".zattrs").read_text())
        attributes["multiscales"][0]["datasets"] = [{"path": trick}]
        (path / ".zattrs").write_text(json.dumps(attributes))
        refused("leaves the folder", path)
    refused("leaves the folder", path, key="../secret.zarr")


class Bomb:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_zarr_unpickles_nothing(tmp_path, capsys):
    import pickle

    path = write(tmp_path / "a.zarr", VOLUME, zarr_format=2, compressors=None, chunks=VOLUME.shape)
    node = json.loads((path / ".zarray").read_text())
    chunk = next(p for p in path.iterdir() if not p.name.startswith("."))
    chunk.write_bytes(pickle.dumps(Bomb()))
    for change in (
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"dtype": "|O", "filters": [{"id": "pickle"}]},
    ):
        (path / ".zarray").write_text(json.dumps(node | change))
        refused("compressed with 'pickle'|expected real numbers", path)
    assert "unpickled" not in capsys.readouterr().out


def test_bad_zarr(tmp_path):
    path = write(tmp_path / "a.zarr", VOLUME)
    node = json.loads((path / "zarr.json").read_text())
    for change, message in (
        ({"shape": [5, 6]}, "its chunks have the size"),
        ({"shape": [5, 6, 0]}, "expected at least 1"),
        ({"data_type": "complex64"}, "expected real numbers"),
        ({"codecs": [{"name": "numcodecs.pickle"}]}, "compressed with"),
        (
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**20, 2**20, 2]}}},
            "expected up to 2 GiB",
        ),
        ({"zarr_format": 9}, "not Zarr data"),
    ):
        (path / "zarr.json").write_text(json.dumps(node | change))
        refused(message, path)
    (path / "zarr.json").write_text("{")
    refused("not Zarr data", path)
    (path / "zarr.json").write_text(json.dumps(node))
    chunk = next(p for p in (path / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:5])
    refused("not a volume that can be read", path)
    (tmp_path / "folder").mkdir()
    refused("a folder without Zarr metadata", tmp_path / "folder")
    assert not is_volume(tmp_path / "folder")
    channels = pyramid(tmp_path / "c.zarr", 3, axes="czyx")
    zarr.open_group(str(channels)).create_array("0", data=np.zeros((2, 8, 12, 16)), overwrite=True)
    refused("one channel and one time point", channels)
