"""Source: a kind of input and its options, each declared once; the command line and the screen read them here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar, Literal, Self, get_args

from typing_extensions import override

from tomotutor.base.errors import TomoTutorError
from tomotutor.base.settings import Setting, Settings, declared, setting

Kind = Literal["particles", "stack", "mrc_dir", "array", "images"]
DataSet = Literal["cifar10", "cifar100", "svhn", "caltech101", "imagenet", "cityscapes", "camvid"]
KINDS: tuple[str, ...] = get_args(Kind)
DATA_SETS: tuple[str, ...] = get_args(DataSet)


def read_size(text: str) -> tuple[int, ...]:
    """Read N or WIDTHxHEIGHT; returns (n,) or (y, x)."""
    try:
        return tuple(int(part) for part in reversed(text.lower().replace("×", "x").split("x"))) if text else ()
    except ValueError:
        raise TomoTutorError(f"--size {text}: expected one edge, as in 224, or WIDTHxHEIGHT, as in 120x90") from None


@dataclass(frozen=True)
class Where:
    """What belongs to the input, and where it lies.

    Attributes
    ----------
    tomograms : str
        Tomogram set of a particle list ("" if none).
    root : str
        Folder where the search for tomograms begins: that of the original list.
    tomogram_dir : str
        Further folder to look for tomograms in.
    tilt_dir : str
        Folder with the tilts of each tomogram, <tomogram>.tlt or .rawtlt.
    denoised_dir : str
        Folder with denoised tomograms, called as the raw ones: to look at, never trained on.
    key : str
        Name of the items' array in an .npz, HDF5 or Zarr file.
    split : str
        Part of a data set that has several; "" takes its training part.
    """

    tomograms: str = setting(
        "", path=True, of_list=True, flag="--tomograms", metavar="STAR", help="RELION tomogram set (tomograms.star)"
    )
    root: str = setting("", path=True)
    tomogram_dir: str = setting(
        "",
        path=True,
        of_list=True,
        flag="--tomogram-dir",
        metavar="DIR",
        help="further folder to look for tomograms in",
    )
    tilt_dir: str = setting(
        "",
        path=True,
        flag="--tilt-dir",
        metavar="DIR",
        help="folder with the tilts of each tomogram, <tomogram>.tlt or .rawtlt",
    )
    denoised_dir: str = setting(
        "",
        path=True,
        flag="--denoised-dir",
        metavar="DIR",
        help="folder with denoised tomograms, called as the raw ones: to look at, not to train on",
    )
    key: str = setting(
        "x", flag="--key", metavar="NAME", help="name of the items' array in an .npz, HDF5 or Zarr file (default x)"
    )
    split: str = setting("", flag="--split", metavar="NAME", help="part of a data set: train (default), test, val, …")


@dataclass(frozen=True)
class Reading:
    """How it is to be understood.

    Attributes
    ----------
    voxel_size : float
        Overrides the headers, Å; 0 believes them.
    protein : {"dark", "bright", "none", ""}
        Contrast of the input; "" takes the default of the kind.
    ndim : {0, 2, 3}
        Dimensions of an item where an array or stack could be either; 0 decides by its shape.
    byte_sign : {"", "signed", "unsigned"}
        What 8-bit voxels of MRC and EM files are; "" believes the header.
    coordinate_pixel_size : float
        What the pixels or voxels of a particle list measure, Å; 0 believes the list, or takes them for voxels of the
        tomogram.
    centre : {"", "relion-napari"}
        What RELION's centred coordinates count from: size/2, or one pixel of the tilt series less.
    tilt_range : tuple of float
        Smallest and largest tilt, degrees, of all tomograms; () where not given.
    """

    voxel_size: float = setting(
        0.0,
        low=0,
        of_list=True,
        flag="--voxel-size",
        metavar="A",
        help="voxel size in Å, over what the headers say",
    )
    protein: Literal["", "dark", "bright", "none"] = setting(
        "", flag="--protein", help="contrast of the input (default: dark in tomograms, bright in other 3D input)"
    )
    ndim: Literal[0, 2, 3] = setting(
        0, flag="--ndim", help="dimensions of an item, where a stack or array could be either"
    )
    byte_sign: Literal["", "signed", "unsigned"] = setting(
        "", flag="--bytes", help="what 8-bit voxels are (default: as the header says)"
    )
    coordinate_pixel_size: float = setting(
        0.0,
        low=0,
        of_list=True,
        flag="--coordinate-pixel-size",
        metavar="A",
        help="what one pixel of the list's coordinates measures, in Å, where the list does not tell or tells it "
        "wrongly",
    )
    centre: Literal["", "relion-napari"] = setting(
        "",
        of_list=True,
        flag="--centre",
        help="for centred coordinates of RELION's napari picker or pytom-match-pick, whose 0 lies one "
        "tilt-series pixel below size/2",
    )
    tilt_range: tuple[float, ...] = setting(
        (),
        low=-90,
        high=90,
        flag="--tilt-range",
        metavar=("MIN", "MAX"),
        help="smallest and largest tilt in degrees, of all tomograms",
    )


@dataclass(frozen=True)
class Preparation:
    """What is done to items before networks see them; what is added to a session later takes the first input's.

    Attributes
    ----------
    box : int
        Edge of the boxes cut from tomograms, voxels.
    rescale : float
        Voxel size that 3D items are brought to, Å; 0 leaves them as they are.
    low_pass : float
        Resolution to filter 3D items to, Å; 0 does not.
    normalise : {"box", "tomogram"}
        Whether a box gets mean 0 and deviation 1 by its own voxels or by those of its tomogram.
    mean, std : tuple of float
        Per-channel statistics of 2D images, measured once.
    size : tuple of int
        (n,): images are resized to 8/7 · n along their shorter edge and n × n pixels are cut from their centre (256 and
        224 of the paper); (y, x): they are resized to that; (): they stay as they are.
    """

    box: int = setting(
        32,
        low=8,
        high=256,
        flag="--box",
        metavar="VOXELS",
        help="edge of the boxes cut from tomograms (default 32)",
    )
    rescale: float = setting(
        0.0,
        low=0,
        flag="--rescale",
        metavar="A",
        help="bring items to this voxel size in Å, in Fourier space",
    )
    low_pass: float = setting(
        0.0,
        low=0,
        flag="--low-pass",
        metavar="A",
        help="filter items to this resolution in Å, with a soft edge",
    )
    normalise: Literal["box", "tomogram"] = setting(
        "box",
        flag="--normalise",
        help="mean 0 and deviation 1 by an item's own voxels (default) or by those of its tomogram",
    )
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = setting((), low=0)
    size: tuple[int, ...] = setting(
        (),
        low=8,
        high=8192,
        flag="--size",
        metavar="N|WxH",
        read=read_size,
        help="resize images: to N×N from the centre (shorter edge to 8/7 of N first), or to width x height",
    )


@dataclass(frozen=True, init=False)
class Source(Settings):
    """A kind of input and its options, as kept in session.toml; made and changed by flat names, as in
    ``Source("array", "x.npz", ndim=3)``.

    Attributes
    ----------
    kind : str
        A key of `tomotutor.data.sources.SOURCES`, or of `DATASETS`.
    path : str
        The list, file or folder.
    where, reading, preparation
        What belongs to the input, how it is to be understood, and what is done to its items.
    """

    what: ClassVar[str] = "input"

    kind: Literal[Kind, DataSet]
    path: str = setting(path=True)
    where: Where = Where()
    reading: Reading = Reading()
    preparation: Preparation = Preparation()

    @override
    def check(self) -> None:
        tilts, size, normalise = self.reading.tilt_range, self.preparation.size, self.preparation.normalise
        if len(size) > 2:
            raise TomoTutorError(f"input: size has {len(size)} edges; expected one, or WIDTHxHEIGHT")
        if normalise == "tomogram" and self.kind != "particles":
            raise TomoTutorError(
                "input: normalise is 'tomogram', but only boxes cut from tomograms have one; expected box, or a "
                "particle list"
            )
        if tilts and not (len(tilts) == 2 and tilts[0] < tilts[1]):
            raise TomoTutorError(
                f"input: tilt_range is {tilts}; expected the smallest and the largest tilt in degrees, such as -60 60"
            )

    @property
    def file(self) -> Path:
        """`path` as a Path."""
        return Path(self.path)

    def paths(self) -> dict[str, str]:
        """Return the options that are paths, where they are set."""
        known = declared(Source)
        return {name: value for name, value in self.flat().items() if value and known[name].more.get("path")}

    def relocated(self, old: str, new: str) -> Self:
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
        rescale = self.preparation.rescale
        ratio = rescale / voxel_size_angst if rescale else 1.0
        if not 1 / 16 <= ratio <= 16:
            raise TomoTutorError(
                f"{self.path}: rescale is {rescale:g} Å, but its voxels {voxel_size_angst:g} Å; expected at most "
                "16 times more or less"
            )
        return ratio if abs(ratio - 1) > 1e-3 else 1.0


OPTIONS: dict[str, Setting] = {name: it for name, it in declared(Source).items() if "flag" in it.more}


def offered(name: str) -> tuple[str | int, ...]:
    """Return the choices of an option that a person is offered: "" and 0 stand for the default, and protein "none" is
    of images.
    """
    return tuple(choice for choice in OPTIONS[name].choices if choice not in ("", 0, "none"))
