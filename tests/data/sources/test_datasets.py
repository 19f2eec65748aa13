"""Published data sets, each in small files of the real format that the test itself writes byte by byte."""

import contextlib
import os
import pickle
import struct

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.options import DATA_SETS, KINDS
from tomotutor.data.sources import DATASETS, SOURCES, Source, open_pool
from tomotutor.data.sources.batches import read_batch
from tomotutor.oracle.classes import read_truth
from tomotutor.session import Session
from tomotutor.session.create import create_session

RNG = np.random.default_rng(0)
TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HUNDRED = [f"thing_{i}" for i in range(100)]


def text(value: bytes) -> bytes:
    """A Python 2 string, as cPickle writes it."""
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def numbers(values) -> bytes:
    return b"](" + b"".join(b"K" + bytes([v]) for v in values) + b"e"


def array(x, dtype=b"u1") -> bytes:
    """A NumPy array of bytes, as Python 2 pickled it at protocol 2."""
    shape = b"M" + struct.pack("<H", x.shape[0]) + b"M" + struct.pack("<H", x.shape[1]) + b"\x86"
    kind = (
        b"cnumpy\ndtype\n"
        + text(dtype)
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    return head + b"(K\x01" + shape + kind + b"\x89" + text(x.tobytes()) + b"tb"


def python_2(entries: dict[bytes, bytes]) -> bytes:
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in entries.items()) + b"u."


def batch(x, labels, key=b"labels", **more) -> bytes:
    names = b"](" + b"".join(text(b"image_%06d.png" % i) for i in range(len(x))) + b"e"
    return python_2({b"batch_label": text(b"a batch"), key: numbers(labels), b"data": array(x), b"filenames": names})


def names_list(names) -> bytes:
    return b"](" + b"".join(text(n.encode()) for n in names) + b"e"


@pytest.fixture
def images():
    return {
        f"data_batch_{i}": (RNG.integers(0, 256, (4, 3072), np.uint8), RNG.integers(0, 10, 4).tolist())
        for i in range(1, 6)
    } | {"test_batch": (RNG.integers(0, 256, (3, 3072), np.uint8), [9, 0, 4])}


def check_cifar10(folder, images):
    pool = open_pool(Source("cifar10", str(folder)))
    assert pool.shape == (3, 32, 32)
    assert pool.class_names == tuple(TEN)
    assert pool.ids[:5] == ("data_batch_1:0", "data_batch_1:1", "data_batch_1:2", "data_batch_1:3", "data_batch_2:0")
    assert len(pool) == 20
    for row in (0, 6, 19):
        name, i = pool.ids[row].split(":")
        x, y = images[name]
        cut = pool.cut(row).values_C
        assert cut[2, 5, 7] == x[int(i), 2 * 1024 + 5 * 32 + 7]  # red, green, blue planes; rows from the top
        np.testing.assert_array_equal(cut.ravel(), x[int(i)])
        assert pool.truth_N[row] == TEN[y[int(i)]]
    test = open_pool(Source("cifar10", str(folder), split="test"))
    assert test.truth_N.tolist() == ["truck", "airplane", "deer"]


def test_cifar10_binary(tmp_path, images):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, (x, y) in images.items():
        (folder / f"{name}.bin").write_bytes(
            b"".join(bytes([label]) + pixels.tobytes() for label, pixels in zip(y, x, strict=True))
        )
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    check_cifar10(folder, images)
    check_cifar10(tmp_path, images)  # the folder above serves, too
    with (folder / "data_batch_3.bin").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(TomoTutorError, match=r"data_batch_3\.bin: 12293 bytes; expected a multiple of 3073"):
        open_pool(Source("cifar10", str(folder)))
    (folder / "data_batch_3.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(TomoTutorError, match=r"expected 1 from 0 to 9"):
        open_pool(Source("cifar10", str(folder)))


@pytest.mark.parametrize("writer", ["python 2", "python 3"])
def test_cifar10_python(tmp_path, images, writer):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, (x, y) in images.items():
        again = pickle.dumps({b"data": x, b"labels": y}, protocol=2)
        (folder / name).write_bytes(batch(x, y) if writer == "python 2" else again)
    (folder / "batches.meta").write_bytes(python_2({b"label_names": names_list(TEN), b"num_vis": b"M\x00\x0c"}))
    check_cifar10(tmp_path, images)


@pytest.mark.parametrize("version", ["binary", "python"])
def test_cifar100_takes_the_fine_classes(tmp_path, version):
    x, fine, coarse = RNG.integers(0, 256, (5, 3072), np.uint8), [99, 0, 50, 7, 7], [1, 2, 3, 4, 5]
    folder = tmp_path / f"cifar-100-{version}"
    folder.mkdir()
    if version == "binary":
        (folder / "train.bin").write_bytes(
            b"".join(bytes([c, f]) + p.tobytes() for c, f, p in zip(coarse, fine, x, strict=True))
        )
        (folder / "fine_label_names.txt").write_text("\n".join(HUNDRED))
    else:
        entries = {b"fine_labels": numbers(fine), b"coarse_labels": numbers(coarse), b"data": array(x)}
        (folder / "train").write_bytes(python_2(entries))
        (folder / "meta").write_bytes(
            python_2({b"fine_label_names": names_list(HUNDRED), b"coarse_label_names": names_list(TEN)})
        )
    pool = open_pool(Source("cifar100", str(tmp_path)))
    assert pool.truth_N.tolist() == [HUNDRED[f] for f in fine]
    np.testing.assert_array_equal(pool.cut(3).values_C.ravel(), x[3])
    with pytest.raises(TomoTutorError, match="the split 'val' is not one of train, test"):
        open_pool(Source("cifar100", str(tmp_path), split="val"))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


def test_nothing_in_a_python_batch_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "batch"

    def refused(content, message):
        path.write_bytes(content)
        with pytest.raises(TomoTutorError, match=message):
            read_batch(path)
        assert not (tmp_path / "it-ran").exists()

    refused(pickle.dumps({b"data": Evil()}, 2), r"it asks for (posix|nt|os)\.mkdir\); take the binary version")
    refused(pickle.dumps(Evil(), 5), "it asks for")
    refused(b"cbuiltins\neval\n(U\x041+1\x00tR.", "it asks for builtins.eval")
    refused(b"cnumpy\nload\n.", "it asks for numpy.load")
    refused(pickle.dumps({b"data": np.array([Evil()], object)}, 2), "it asks for|expected bytes")
    refused(python_2({b"data": array(np.zeros((2, 3), np.uint8), b"O8")}), "an array of 'O8'|an array of b'O8'")
    refused(python_2({b"data": array(np.zeros((2, 3), np.uint8))})[:-20], "not a batch of CIFAR")
    refused(b"", "not a batch of CIFAR")
    refused(b"\x80\x02\x8e" + b"\xff" * 8, "not a batch of CIFAR")  # bytes of a length that no machine has
    refused(b"\x80\x02]r\xff\xff\xff\x7f.", "not a batch of CIFAR")  # a memo index of two billion
    refused(b"](K\x01e.", "not a batch of CIFAR")  # no dictionary
    rng = np.random.default_rng(1)
    whole = np.frombuffer(batch(np.zeros((2, 3072), np.uint8), [1, 2]), np.uint8)
    for _ in range(200):
        broken = whole.copy()
        at = np.concatenate((rng.integers(0, 200, 3), rng.integers(len(whole) - 200, len(whole), 3)))
        broken[at] = rng.integers(0, 256, len(at))
        path.write_bytes(broken.tobytes())
        with contextlib.suppress(TomoTutorError):
            read_batch(path)


def test_svhn(tmp_path):
    x = RNG.integers(0, 256, (32, 32, 3, 6), np.uint8)
    y = np.array([[1], [10], [9], [2], [10], [5]], np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": x, "y": y})
    pool = open_pool(Source("svhn", str(tmp_path)))
    assert pool.truth_N.tolist() == ["1", "0", "9", "2", "0", "5"]
    assert pool.class_names == tuple("0123456789")
    np.testing.assert_array_equal(pool.cut(4).values_C, x[..., 4].transpose(2, 0, 1))
    with h5py.File(tmp_path / "test_32x32.mat", "w", userblock_size=512) as file:  # MATLAB 7.3 keeps columns first
        file["X"], file["y"] = x.transpose(3, 2, 1, 0), y.T
    with (tmp_path / "test_32x32.mat").open("r+b") as handle:
        handle.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    again = open_pool(Source("svhn", str(tmp_path), split="test"))
    np.testing.assert_array_equal(again.cut(4).values_C, pool.cut(4).values_C)
    assert again.truth_N.tolist() == pool.truth_N.tolist()
    (tmp_path / "train_32x32.mat").write_bytes(b"rubbish")
    with pytest.raises(TomoTutorError, match="not a MATLAB file with X and y"):
        open_pool(Source("svhn", str(tmp_path)))
    with pytest.raises(TomoTutorError, match=r"no extra_32x32\.mat in it"):
        open_pool(Source("svhn", str(tmp_path), split="extra"))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_caltech101(tmp_path):
    top = tmp_path / "101_ObjectCategories"
    for name, count in (("BACKGROUND_Google", 5), ("Faces_easy", 20), ("ant", 11)):
        for i in range(count):
            size = (30 + i, 50, 3) if i % 2 else (60, 40)  # of many sizes, some grey
            save(top / name / f"image_{i:04d}.jpg", RNG.integers(0, 256, size, np.uint8))
    train, test = (open_pool(Source("caltech101", str(tmp_path), split=split)) for split in ("", "test"))
    assert train.class_names == ("Faces_easy", "ant")  # no background
    assert [list(p.truth_N).count("Faces_easy") for p in (train, test)] == [18, 2]
    assert [list(p.truth_N).count("ant") for p in (train, test)] == [9, 2]
    assert not set(train.ids) & set(test.ids)
    assert set(train.tomogram_N) == {"Faces_easy", "ant"}
    assert train.shape == (3, 224, 224)
    assert train.read(np.arange(3)).shape == (3, 3, 224, 224)
    assert open_pool(Source("caltech101", str(tmp_path))).ids == train.ids


def test_images_are_resized_and_cut_from_the_centre(tmp_path):
    y, x = np.mgrid[:256, :512]
    save(tmp_path / "a" / "1.png", np.stack([x // 2, y, 0 * y], -1).astype(np.uint8))
    save(tmp_path / "b" / "2.png", np.zeros((100, 300, 3), np.uint8))
    pool = open_pool(Source("images", str(tmp_path), size=(224,)))
    red, green, _ = pool.cut(0).values_C
    assert (red[0, 0], red[0, -1]) == ((256 - 112) // 2, (256 + 111) // 2)  # 512×256 stays; columns 144 to 367 of it
    assert (green[0, 0], green[-1, 0]) == (16, 239)
    assert pool.read(np.arange(2)).shape == (2, 3, 224, 224)
    assert pool.truth_N.tolist() == ["a", "b"]
    assert open_pool(Source("images", str(tmp_path), size=(20, 30))).shape == (3, 20, 30)
    with pytest.raises(TomoTutorError, match="expected one size for all: give one with --size"):
        open_pool(Source("images", str(tmp_path))).read(np.arange(2))


def test_imagenet(tmp_path):
    for split, count in (("train", 3), ("val", 1)):
        for wnid in ("n01440764", "n01443537"):
            for i in range(count):
                save(tmp_path / split / wnid / f"{wnid}_{i}.jpeg", RNG.integers(0, 256, (40, 60, 3), np.uint8))
    pool = open_pool(Source("imagenet", str(tmp_path)))
    assert (len(pool), pool.shape, pool.class_names) == (6, (3, 224, 224), ("n01440764", "n01443537"))
    assert pool.truth_N.tolist() == ["n01440764"] * 3 + ["n01443537"] * 3
    assert len(open_pool(Source("imagenet", str(tmp_path), split="val"))) == 2
    with pytest.raises(TomoTutorError, match="found 0 class folders"):
        open_pool(Source("imagenet", str(tmp_path / "train")))


def test_cityscapes(tmp_path):
    masks = {}
    for city in ("aachen", "bochum"):
        for i in range(2):
            name = f"{city}_{i:06d}_000019"
            save(
                tmp_path / "leftImg8bit" / "train" / city / f"{name}_leftImg8bit.png",
                RNG.integers(0, 256, (16, 32, 3), np.uint8),
            )
            masks[name] = RNG.integers(0, 34, (16, 32)).astype(np.uint8)
            save(tmp_path / "gtFine" / "train" / city / f"{name}_gtFine_labelIds.png", masks[name])
    pool = open_pool(Source("cityscapes", str(tmp_path)))
    assert len(pool.class_names) == 19
    assert pool.ids[0] == "aachen/aachen_000000_000019_leftImg8bit.png"
    # label ids and train ids as the data set's own table has them
    ids = {
        7: "road",
        8: "sidewalk",
        11: "building",
        12: "wall",
        13: "fence",
        17: "pole",
        19: "traffic light",
        20: "traffic sign",
    }
    ids |= {
        21: "vegetation",
        22: "terrain",
        23: "sky",
        24: "person",
        25: "rider",
        26: "car",
        27: "truck",
        28: "bus",
        31: "train",
    }
    ids |= {32: "motorcycle", 33: "bicycle"}
    found = pool.truth_mask(2)
    for (y, x), value in np.ndenumerate(masks["bochum_000000_000019"]):
        assert found[y, x] == (pool.class_names.index(ids[value]) if value in ids else 255)
    half = open_pool(Source("cityscapes", str(tmp_path), size=(8, 16)))
    assert half.read(np.arange(1)).shape == (1, 3, 8, 16)
    assert set(np.unique(half.truth_mask(0))) <= {*range(19), 255}  # classes are not mixed
    next((tmp_path / "gtFine").rglob("bochum_000001*")).unlink()
    with pytest.raises(
        TomoTutorError, match=r"bochum_000001_000019_gtFine_labelIds\.png: no such file; expected a mask for each image"
    ):
        open_pool(Source("cityscapes", str(tmp_path)))
    with pytest.raises(TomoTutorError, match="expected the folders leftImg8bit and gtFine"):
        open_pool(Source("cityscapes", str(tmp_path), split="val"))


def test_camvid_folders(tmp_path):
    mask = RNG.integers(0, 12, (9, 12)).astype(np.uint8)
    for i in range(3):
        save(tmp_path / "test" / f"0001TP_{i}.png", RNG.integers(0, 256, (9, 12, 3), np.uint8))
        save(tmp_path / "testannot" / f"0001TP_{i}.png", mask)
    pool = open_pool(Source("camvid", str(tmp_path), split="test"))
    assert pool.class_names[0] == "Sky"
    assert len(pool.class_names) == 11
    np.testing.assert_array_equal(pool.truth_mask(1), np.where(mask == 11, 255, mask))  # "Unlabelled" is void
    (tmp_path / "testannot" / "0001TP_1.png").write_bytes(b"no mask")
    with pytest.raises(TomoTutorError, match="not a mask that can be read"):
        pool.truth_mask(1)


def test_packed_camvid(data):
    source = Source("camvid", str(data / "camvid" / "camvid_240x180.npz"), size=(90, 120))
    pools = {split: open_pool(source.replace(split=split)) for split in ("train", "val", "test")}
    assert {split: len(pool) for split, pool in pools.items()} == {"train": 367, "val": 101, "test": 233}
    pool = pools["train"]
    assert pool.shape == (3, 90, 120)
    masks = np.stack([pool.truth_mask(row) for row in range(0, 367, 40)])
    share = {name: (masks == number).mean() for number, name in enumerate(pool.class_names)}
    assert share["Road"] > 0.2
    assert share["Building"] > 0.15
    assert (masks[:, :30] == 0).mean() > (masks[:, 60:] == 0).mean()  # the sky is above


def test_masks_in_an_array_file(tmp_path):
    x, y = RNG.integers(0, 256, (4, 8, 9, 3), np.uint8), RNG.integers(0, 2, (4, 8, 9)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=y, classes=np.array(["water", "land"]))
    pool = open_pool(Source("array", str(tmp_path / "a.npz")))
    assert pool.class_names == ("water", "land")
    np.testing.assert_array_equal(pool.truth_mask(2), y[2])


def test_the_truth_of_a_data_set_is_an_oracle(tmp_path, images):
    folder = tmp_path / "cifar"
    folder.mkdir()
    for name, (x, y) in images.items():
        (folder / name).write_bytes(batch(x, y))
    (folder / "batches.meta").write_bytes(python_2({b"label_names": names_list(TEN)}))
    create_session(tmp_path / "s", Source("cifar10", str(folder)))
    session = Session(tmp_path / "s", write=False)
    assert session.classes == tuple(TEN)  # no junk
    expected = [label for name in sorted(images)[:5] for label in images[name][1]]
    assert read_truth(session, "y").tolist() == expected
    create_session(tmp_path / "paper", Source("cifar10", str(folder)), recipe="paper")
    assert Session(tmp_path / "paper", write=False).recipe.training.epochs == 200


def test_every_data_set_is_offered():
    assert tuple(DATASETS) == DATA_SETS
    assert tuple(SOURCES) == KINDS
    for name in DATASETS:
        with pytest.raises(TomoTutorError):
            open_pool(Source(name, "/nowhere"))
