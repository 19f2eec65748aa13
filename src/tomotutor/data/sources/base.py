"""What an input is described by."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.pool import Pool
from tomotutor.formats.volumes.volume import is_volume, open_volume
from tomotutor.formats.volumes.voxels import Volume

_MOST_ITEMS = 5_000_000


@dataclass(frozen=True)
class Source:
    """A kind of input and its options, as kept in session.toml.

    Attributes
    ----------
    kind : str
        A key of `tomotutor.data.sources.SOURCES`.
    path : str
        The list, file or folder.
    tomograms : str
        Tomogram set of a particle list ("" if none).
    root : str
        Folder where the search for tomograms begins: that of the original list.
    tomogram_dir : str
        Further folder to look for tomograms in.
    box : int
        Edge of the boxes cut from tomograms, voxels.
    voxel_size : float
        Overrides the headers, Å; 0 believes them.
    protein : {"dark", "bright", "none", ""}
        Contrast of the input; "" takes the default of the kind.
    ndim : int
        2 or 3 where an array or stack could be either; 0 decides by its shape.
    key : str
        Name of the items' array in an .npz, HDF5 or Zarr file.
    mean, std : tuple of float
        Per-channel statistics of 2D images, measured once.
    rescale : float
        Voxel size that 3D items are brought to, Å; 0 leaves them as they are.
    low_pass : float
        Resolution to filter 3D items to, Å; 0 does not.
    normalise : {"box", "tomogram"}
        Whether a box gets mean 0 and deviation 1 by its own voxels or by those of its tomogram.
    tilt_range : tuple of float
        Smallest and largest tilt, degrees, of all tomograms; () where not given.
    tilt_dir : str
        Folder with the tilts of each tomogram, <tomogram>.tlt or .rawtlt.
    denoised_dir : str
        Folder with denoised tomograms, called as the raw ones: to look at, never trained on.
    byte_sign : {"", "signed", "unsigned"}
        What 8-bit voxels of MRC and EM files are; "" believes the header.
    coordinate_pixel_size : float
        What the pixels or voxels of a particle list measure, Å; 0 believes the list, or takes them for voxels of the
        tomogram.
    centre : {"", "relion-napari"}
        What RELION's centred coordinates count from: size/2, or one pixel of the tilt series less.
    split : str
        Part of a data set that has several; "" takes its training part.
    size : tuple of int
        (n,): images are resized to 8/7 · n along their shorter edge and n × n pixels are cut from their centre (256 and
        224 of the paper); (y, x): they are resized to that; (): they stay as they are.
    """

    kind: str
    path: str
    tomograms: str = ""
    root: str = ""
    tomogram_dir: str = ""
    box: int = 32
    voxel_size: float = 0.0
    protein: str = ""
    ndim: int = 0
    key: str = "x"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    rescale: float = 0.0
    low_pass: float = 0.0
    normalise: str = "box"
    tilt_range: tuple[float, ...] = ()
    tilt_dir: str = ""
    denoised_dir: str = ""
    byte_sign: str = ""
    coordinate_pixel_size: float = 0.0
    centre: str = ""
    split: str = ""
    size: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.protein not in ("dark", "bright", "none", ""):
            raise TomoTutorError(f"protein is {self.protein!r}; expected dark or bright")
        if self.ndim not in (0, 2, 3):
            raise TomoTutorError(f"ndim is {self.ndim}; expected 2 or 3")
        if self.kind == "particles" and not 8 <= self.box <= 256:
            raise TomoTutorError(f"box is {self.box}; expected 8 to 256 voxels")
        if len(self.size) > 2 or any(not 8 <= n <= 8192 for n in self.size):
            raise TomoTutorError(
                f"size is {'x'.join(map(str, self.size[::-1]))}; expected one edge or WIDTHxHEIGHT of 8 to 8192 pixels"
            )
        if self.voxel_size < 0 or not np.isfinite(self.voxel_size):
            raise TomoTutorError(f"voxel size is {self.voxel_size}; expected Å above 0")
        for name, value in (("rescale", self.rescale), ("low-pass", self.low_pass)):
            if value < 0 or not np.isfinite(value):
                raise TomoTutorError(f"{name} is {value}; expected Å above 0")
        if self.normalise not in ("box", "tomogram"):
            raise TomoTutorError(f"normalise is {self.normalise!r}; expected box or tomogram")
        if self.normalise == "tomogram" and self.kind != "particles":
            raise TomoTutorError(
                "normalise is 'tomogram', but only boxes cut from tomograms have one; expected box, or a particle list"
            )
        if self.tilt_range and not (len(self.tilt_range) == 2 and -90 <= self.tilt_range[0] < self.tilt_range[1] <= 90):
            raise TomoTutorError(
                f"tilt range is {self.tilt_range}; expected the smallest and the largest tilt in degrees, such as -60 "
                "60"
            )
        if self.byte_sign not in ("", "signed", "unsigned"):
            raise TomoTutorError(f"bytes are {self.byte_sign!r}; expected signed or unsigned")
        if self.coordinate_pixel_size < 0 or not np.isfinite(self.coordinate_pixel_size):
            raise TomoTutorError(f"coordinate pixel size is {self.coordinate_pixel_size}; expected Å above 0")
        if self.centre not in ("", "relion-napari"):
            raise TomoTutorError(f"centre is {self.centre!r}; expected relion-napari, or nothing for size/2")

    def replace(self, **changes: Any) -> Source:
        """Return a copy with some options changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for TOML."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Source:
        """Read plain values back."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**plain)

    @property
    def file(self) -> Path:
        """`path` as a Path."""
        return Path(self.path)

    def paths(self) -> dict[str, str]:
        """Return the options that are paths, where they are set."""
        return {
            name: getattr(self, name)
            for name in ("path", "tomograms", "root", "tomogram_dir", "tilt_dir", "denoised_dir")
            if getattr(self, name)
        }

    def relocated(self, old: str, new: str) -> Source:
        """Return a copy in which every path under the folder `old` lies under `new`.

        `old` may come from another kind of machine: a drive or a backslash makes it a Windows path.
        """
        kind = PureWindowsPath if PureWindowsPath(old).drive or "\\" in old else PurePosixPath
        return self.replace(
            **{
                name: str(Path(new, *kind(path).relative_to(kind(old)).parts))
                for name, path in self.paths().items()
                if kind(path).is_relative_to(kind(old))
            }
        )

    def step(self, voxel_size_angst: float) -> float:
        """Return how many voxels of a volume one of `rescale` spans; 1 where they are the same to 0.1 %."""
        ratio = self.rescale / voxel_size_angst if self.rescale else 1.0
        if not 1 / 16 <= ratio <= 16:
            raise TomoTutorError(
                f"{self.path}: rescale is {self.rescale:g} Å, but its voxels {voxel_size_angst:g} Å; expected at most "
                "16 times more or less"
            )
        return ratio if abs(ratio - 1) > 1e-3 else 1.0


def numbered(count: int, source: Source) -> tuple[str, ...]:
    """Return the ids of items that have none but their number, from 0; a file may declare any number of them."""
    if count > _MOST_ITEMS:
        raise TomoTutorError(f"{source.path}: it has {count} items; expected up to {_MOST_ITEMS}: split it")
    return tuple(map(str, range(count)))


def open_source_volume(path: Path, source: Source) -> Volume:
    """Open a file of volumes as a source describes it."""
    near = source.voxel_size or source.rescale
    return open_volume(path, key=source.key, byte_sign=source.byte_sign, near_angst=near)


def find_file(names: Sequence[str], source: Source, fits: Callable[[Path], bool] = is_volume) -> Path | None:
    """Find the first of some relative names that fits, under the list's folder, then its ancestors, then
    `tomogram_dir`.
    """
    root = Path(source.root).resolve()
    folders = [root, *root.parents]
    if source.tomogram_dir:
        folders.append(Path(source.tomogram_dir).resolve())
    for folder in folders:
        for name in names:
            with contextlib.suppress(OSError):  # a name that is too long for a file
                if fits(folder / name):
                    return folder / name
    return None


def with_statistics(source: Source, pool: Pool, sample: int = 1000) -> Source:
    """Measure per-channel mean and deviation of a 2D pool over up to `sample` evenly spaced items; 3D input is returned
    as it is.
    """
    if pool.ndim == 3 or source.mean:
        return source
    rows = np.unique(np.linspace(0, len(pool) - 1, min(sample, len(pool))).astype(int))
    values = np.stack([np.asarray(pool.cut(int(row)).values_C, np.float64) for row in rows])
    axes = (0, *range(2, values.ndim))
    return source.replace(
        mean=tuple(values.mean(axes).tolist()), std=tuple(np.maximum(values.std(axes), 1e-6).tolist())
    )
