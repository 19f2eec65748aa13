"""CIFAR-10, CIFAR-100 and SVHN: their published files of small images."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.data.pool import Cut, Pool
from tomotutor.data.sources.base import Source

_SPLITS = ("train", "test")


def split_of(source: Source, splits: Sequence[str]) -> str:
    """Return the part of a data set to take, its first by default."""
    if source.where.split not in ("", *splits):
        raise TomoTutorError(f"{source.path}: the split {source.where.split!r} is not one of {', '.join(splits)}")
    return source.where.split or splits[0]


# ---- python batches: pickles, of which only what these files need is understood
# ---------------------------------------


class _Dtype:
    """Stands in for numpy.dtype; only unsigned bytes are known."""

    def __init__(self, name: object, *_: object) -> None:
        if name not in ("u1", b"u1", "|u1"):
            raise pickle.UnpicklingError(f"an array of {name!r}; expected bytes")

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands in for numpy.ndarray: keeps shape and bytes, and hands nothing of the file to NumPy's own unpickling."""

    value: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("an array of another kind; expected bytes")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}; expected latin1")
    return text.encode("latin1")


def _reconstruct(*_: object) -> _Array:
    return _Array()


_KNOWN: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle._Unpickler):  # the one in Python: a forged file cannot make it write outside its memory
    """Reads dicts, lists, numbers, text and byte arrays.

    Any other name in the file ends it; no code of ours or others is looked up.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN[module, name]


def read_batch(path: Path) -> dict[str, Any]:
    """Read a python batch of CIFAR; nothing in it is executed.

    Raises
    ------
    TomoTutorError
        Not such a file.
    """
    try:
        found = _Reader(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        batch = {
            k.decode() if isinstance(k, bytes) else k: v.value if isinstance(v, _Array) else v for k, v in found.items()
        }
    except OSError as problem:
        raise unreadable(path, problem, "a batch of CIFAR") from None
    except Exception as problem:  # whatever a forged pickle does to the reader
        raise TomoTutorError(
            f"{path}: not a batch of CIFAR ({type(problem).__name__}: {problem}); take the binary version of the data "
            "set"
        ) from None
    return batch


# ---- the data sets ---------------------------------------------------------------------------------------------------


def _folder(source: Source, names: Sequence[str]) -> Path:
    """Return the folder that has the files: the one given, or one of these in it."""
    folders = [source.file, *(source.file / name for name in names)]
    if not source.file.is_dir():
        raise TomoTutorError(f"{source.path}: no such folder")
    return next((f for f in folders[1:] if f.is_dir()), folders[0])


def _numbers(values: object, path: Path, count: int, classes: int) -> np.ndarray:
    try:
        numbers = np.asarray(values).astype(np.int64).ravel()
    except (ValueError, TypeError, OverflowError):
        numbers = np.zeros(0, np.int64)
    if len(numbers) != count or (count and not 0 <= numbers.min() <= numbers.max() < classes):
        raise TomoTutorError(
            f"{path}: found {len(numbers)} usable class numbers; expected {count} from 0 to {classes - 1}"
        )
    return numbers


def _pool(source: Source, parts: list[tuple[str, np.ndarray, np.ndarray]], names: Sequence[str]) -> Pool:
    """Return files of images, each (name, (N, 3, 32, 32), class numbers), as a pool."""
    ids = [f"{name}:{i}" for name, x, _ in parts for i in range(len(x))]
    if not ids:
        raise TomoTutorError(f"{source.path}: no images in it")
    start = np.cumsum([0, *(len(x) for _, x, _ in parts)])

    def cut(row: int) -> Cut:
        part = int(np.searchsorted(start, row, "right")) - 1
        return Cut(parts[part][1][row - start[part]])

    truth_N = np.array([names[k] for _, _, y in parts for k in y.tolist()], object)
    return Pool(
        tuple(ids),
        (3, 32, 32),
        cut,
        "none",
        source.preparation.mean,
        source.preparation.std,
        class_names=tuple(names),
        truth_N=truth_N,
    )


def _binary(path: Path, labels: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    size = labels + 3072
    if path.stat().st_size % size or not path.stat().st_size:
        raise TomoTutorError(
            f"{path}: {path.stat().st_size} bytes; expected a multiple of {size}, the size of an image with its labels"
        )
    records = np.memmap(path, np.uint8, "r").reshape(-1, size)
    return records[:, labels:].reshape(-1, 3, 32, 32), _numbers(records[:, labels - 1], path, len(records), classes)


def _names_file(path: Path, count: int) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        names = []
    if len(names) != count:
        raise TomoTutorError(f"{path}: found {len(names)} class names; expected {count}")
    return names


def _open_cifar(
    source: Source, classes: int, files: dict[str, list[str]], meta: tuple[str, str, str], inner: Sequence[str]
) -> Pool:
    """Open either version; `meta` is the binary version's file of names, and the python version's with its key."""
    folder = _folder(source, inner)
    wanted = files[split_of(source, _SPLITS)]
    labels, key = (1, "labels") if classes == 10 else (2, "fine_labels")
    parts = []
    if all((folder / f"{name}.bin").is_file() for name in wanted):
        parts = [(name, *_binary(folder / f"{name}.bin", labels, classes)) for name in wanted]
        return _pool(source, parts, _names_file(folder / meta[0], classes))
    for name in wanted:
        path = folder / name
        if not path.is_file():
            raise TomoTutorError(
                f"{folder}: neither {name} nor {name}.bin in it; expected the files of CIFAR-{classes} as published"
            )
        batch = read_batch(path)
        x = batch.get("data")
        if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] != 3072:
            raise TomoTutorError(
                f"{path}: no array of images (N, 3072) under 'data'; take the binary version of the data set"
            )
        parts.append((name, x.reshape(-1, 3, 32, 32), _numbers(batch.get(key), path, len(x), classes)))
    names = read_batch(folder / meta[1]).get(meta[2])
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(n, bytes | str) for n in names):
        raise TomoTutorError(f"{folder / meta[1]}: no {classes} class names under {meta[2]!r}")
    return _pool(source, parts, [n.decode("latin1") if isinstance(n, bytes) else n for n in names])


def open_cifar10(source: Source) -> Pool:
    """Open CIFAR-10, python or binary version; items are called `data_batch_1:0` on."""
    files = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    meta = ("batches.meta.txt", "batches.meta", "label_names")
    return _open_cifar(source, 10, files, meta, ("cifar-10-batches-bin", "cifar-10-batches-py"))


def open_cifar100(source: Source) -> Pool:
    """Open CIFAR-100 with its fine classes, python or binary version; items are called `train:0` on."""
    meta = ("fine_label_names.txt", "meta", "fine_label_names")
    return _open_cifar(
        source, 100, {"train": ["train"], "test": ["test"]}, meta, ("cifar-100-binary", "cifar-100-python")
    )


def open_svhn(source: Source) -> Pool:
    """Open SVHN's cropped digits, train_32x32.mat or test_32x32.mat; label 10 is the digit 0."""
    name = f"{split_of(source, (*_SPLITS, 'extra'))}_32x32"
    path = _folder(source, ()) / f"{name}.mat"
    if not path.is_file():
        raise TomoTutorError(f"{source.path}: no {path.name} in it; expected the cropped digits of SVHN")
    x, y = _read_mat(path)
    if x.ndim != 4 or x.shape[1:] != (3, 32, 32) or x.dtype != np.uint8:
        raise TomoTutorError(f"{path}: X holds {x.dtype} of shape {x.shape}; expected N colour images of 32×32 bytes")
    y_N = _numbers(y, path, len(x), 11) % 10
    return _pool(source, [(name, x, y_N)], [str(digit) for digit in range(10)])


def _read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return X as (N, 3, 32, 32) and y, from a MATLAB file of either layout."""
    from scipy.io import loadmat

    try:
        with path.open("rb") as handle:
            head = handle.read(128)
        if b"MATLAB 7.3" in head:
            import h5py

            with h5py.File(path) as file:  # MATLAB's axes come in the reverse order: image, channel, column, row
                return file["X"][()].transpose(0, 1, 3, 2), file["y"][()]
        found = loadmat(path, variable_names=["X", "y"])
        return np.moveaxis(found["X"], (3, 2), (0, 1)), found["y"]
    except ImportError:
        raise TomoTutorError(f"{path}: a MATLAB 7.3 file needs h5py; install it with: pip install h5py") from None
    except Exception as problem:  # scipy raises many kinds on a broken file
        raise TomoTutorError(f"{path}: not a MATLAB file with X and y ({type(problem).__name__}: {problem})") from None
