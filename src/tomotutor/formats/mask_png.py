"""Masks as PNG: each pixel's value is its class number from 0, 255 is void; the palette is only for the eye."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.image import open_image

VOID = 255


def palette() -> np.ndarray:
    """Return (256, 3) uint8: neighbouring numbers get colours far apart, void is black."""
    golden = 0.618034
    colours = [
        colorsys.hsv_to_rgb((0.6 + i * golden) % 1, 0.65 + 0.3 * (i // 3 % 2), 0.95 - 0.3 * (i % 2))
        for i in range(VOID)
    ]
    return (255 * np.array([*colours, (0, 0, 0)])).round().astype(np.uint8)


def write_mask(path: Path, mask_YX: np.ndarray) -> None:
    """Write a mask."""
    image = Image.fromarray(np.ascontiguousarray(mask_YX, np.uint8), "L")
    image.putpalette(palette().tobytes())
    image.save(path, format="PNG")


def read_mask(path: Path, shape: tuple[int, ...] | None, classes: int) -> np.ndarray:
    """Read a mask.

    Parameters
    ----------
    path : Path
        A PNG of one channel: grey, or with a palette.
    shape : tuple of int or None
        (y, x) it must have; None takes any.
    classes : int
        Number of classes: a pixel is 0 to classes − 1, or 255.

    Returns
    -------
    ndarray
        (y, x) uint8.

    Raises
    ------
    TomoTutorError
        Not a mask that can be read, of another size, or with other values.
    """
    with open_image(path, "a PNG", ("PNG",), palette=1) as image:
        mode, pixels = image.mode, np.array(image)
    if mode not in ("L", "P", "1", "I", "I;16"):
        raise TomoTutorError(
            f"{path}: found colours ({mode}); expected a PNG of one channel whose values are class numbers"
        )
    return check_mask(pixels, pixels.shape if shape is None else shape, classes, str(path))


def check_mask(pixels: np.ndarray, shape: tuple[int, ...], classes: int, source: str) -> np.ndarray:
    """Return a mask as uint8, or say what is wrong with it."""
    if pixels.shape != shape:
        found = "×".join(map(str, pixels.shape[::-1]))
        raise TomoTutorError(f"{source}: the mask has {found} pixels; expected {shape[1]}×{shape[0]}, as the image has")
    if pixels.dtype.kind not in "biu":
        raise TomoTutorError(f"{source}: the mask holds {pixels.dtype}; expected class numbers")
    wrong = (pixels != VOID) & ((pixels < 0) | (pixels >= classes))
    if wrong.any():
        raise TomoTutorError(
            f"{source}: the mask holds the value {int(pixels[wrong][0])}; "
            f"expected 0 to {classes - 1} for the {classes} classes, or {VOID} for void"
        )
    return pixels.astype(np.uint8)
