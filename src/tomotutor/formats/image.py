"""Opening image files: of a fixed list of formats, known by their content whatever the name says.

Pillow by itself takes what it knows; a PNG that holds PostScript, say, would start Ghostscript.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image

from tomotutor.base.errors import TomoTutorError, unreadable
from tomotutor.formats.volumes.voxels import check_unpacked

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


@contextmanager
def open_image(
    file: Path | BytesIO,
    what: str = "an image",
    formats: tuple[str, ...] = FORMATS,
    name: str = "",
    *,
    palette: int = 3,
) -> Iterator[Image.Image]:
    """Give an open image; what is wrong with it, also while its pixels are read, is our error.

    Parameters
    ----------
    file : Path or BytesIO
        Where it is.
    what : str
        What it should be, for messages.
    formats : tuple of str
        Pillow's names of the formats it may have.
    name : str
        What it is called in messages; "" its path.
    palette : int
        Channels that its caller makes of a pixel that is a number in a palette.

    Raises
    ------
    TomoTutorError
        It is missing, of another format, damaged, or has more than Pillow's limit of pixels, or a small file says that
        it unpacks to a huge image.
    """
    try:
        with Image.open(file, formats=formats) as image:
            packed = file.getbuffer().nbytes if isinstance(file, BytesIO) else file.stat().st_size
            channels = palette if image.mode == "P" else len(image.getbands())
            mend = "make it smaller, or save it without compression"
            check_unpacked(name or file, packed, 8 * channels * math.prod(image.size), mend)  # to be normalised
            yield image
    except TomoTutorError:
        raise
    except Exception as problem:  # besides OSError, SyntaxError and ValueError what a decoder does about damage
        raise unreadable(name or str(file), problem, what) from None
