"""What an input is described by."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomotutor.errors import TomoTutorError
from tomotutor.pool import Pool


@dataclass(frozen=True)
class Source:
    """A kind of input and its options, as kept in session.toml.

    Attributes
    ----------
    kind : str
        A key of `tomotutor.sources.SOURCES`.
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
        Name of the items' array in an .npz file.
    mean, std : tuple of float
        Per-channel statistics of 2D images, measured once.
    split : str
        Part of a data set that has several; "" takes its training part.
    size : tuple of int
        (n,): images are resized to 8/7 · n along their shorter edge and n × n pixels are cut from their centre (256 and 224 of the
        paper); (y, x): they are resized to that; (): they stay as they are.
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
            raise TomoTutorError(f"size is {'x'.join(map(str, self.size[::-1]))}; expected one edge or WIDTHxHEIGHT of 8 to 8192 pixels")
        if self.voxel_size < 0 or not np.isfinite(self.voxel_size):
            raise TomoTutorError(f"voxel size is {self.voxel_size}; expected Å above 0")

    def replace(self, **changes: Any) -> Source:
        """Return a copy with some options changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for TOML."""
        values = dataclasses.asdict(self)
        return {**values, "mean": list(self.mean), "std": list(self.std), "size": list(self.size)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Source:
        """Read plain values back."""
        return cls(**{**values, **{name: tuple(values.get(name, ())) for name in ("mean", "std", "size")}})

    @property
    def file(self) -> Path:
        """`path` as a Path."""
        return Path(self.path)


def with_statistics(source: Source, pool: Pool, sample: int = 1000) -> Source:
    """Measure per-channel mean and deviation of a 2D pool over up to `sample` evenly spaced items; 3D input is returned as it is."""
    if pool.ndim == 3 or source.mean:
        return source
    rows = np.unique(np.linspace(0, len(pool) - 1, min(sample, len(pool))).astype(int))
    values = np.stack([np.asarray(pool.cut(int(row)).values_C, np.float64) for row in rows])
    axes = (0, *range(2, values.ndim))
    return source.replace(mean=tuple(values.mean(axes).tolist()), std=tuple(np.maximum(values.std(axes), 1e-6).tolist()))
