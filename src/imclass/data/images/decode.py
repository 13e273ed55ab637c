"""The one decode function: bytes or a file in, H W 3 pixels out, or `BadImage` with a reason. Nothing else escapes.

Training, evaluation, prediction and serving all see images through it, from any number of threads.
"""

import io
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from imclass.core.contracts import Image
from imclass.core.errors import BadImage
from imclass.data.images.containers import Container, orientation, take_apart

MOST_BYTES = 100_000_000
MOST_PIXELS = 50_000_000
LONGEST_SIDE = 16_384  # pixels

# Readers are called by name rather than through `PIL.Image.open`: no other format is tried, and nothing warns.
READERS: Mapping[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = MappingProxyType(
    {"JPEG": JpegImageFile, "PNG": PngImageFile, "GIF": GifImageFile, "BMP": BmpImageFile, "WebP": WebPImageFile}
)


def decode(source: Path | bytes, name: str | None = None) -> Image:
    """The first frame of an image file as uint8 H W 3: upright, RGB, transparent parts on white.

    CMYK is converted, palettes expanded, 16 bits scaled to 8 (the upper byte is kept). `name` is what errors call the
    image; the path unless given. Raises `BadImage` with code "missing", "unreadable", "not-a-file", "too-large",
    "empty", "unsupported", "too-many-pixels", "too-complex", "truncated" or "damaged".
    """
    if isinstance(source, bytes):
        path, content = name or "<bytes>", source
    else:
        path, content = name or str(source), read(source, name)
    if not content:
        raise BadImage("empty", path, "the file has 0 bytes")
    if len(content) > MOST_BYTES:
        raise BadImage("too-large", path, f"{len(content):,} bytes; at most {MOST_BYTES:,} are read")
    container = take_apart(content, path)
    check_size(container.width, container.height, path)
    return upright(pixels(container, path), orientation(container.exif))


def read(source: Path, name: str | None = None) -> bytes:
    """The bytes of a regular file of at most `MOST_BYTES`; `BadImage` for anything else. Never waits on a pipe."""
    path = name or str(source)
    try:
        handle = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise BadImage("not-a-file", path, "this is a folder, pipe or device, not a file")
            if found.st_size > MOST_BYTES:
                raise BadImage("too-large", path, f"{found.st_size:,} bytes; at most {MOST_BYTES:,} are read")
            with open(handle, "rb", closefd=False) as file:
                return file.read(found.st_size)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise BadImage("missing", path, "there is no such file, or it is a broken link") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise BadImage("unreadable", path, getattr(error, "strerror", None) or str(error)) from None


def check_size(width: int, height: int, path: str) -> None:
    """`BadImage` for sizes that are no sizes or are not worth their memory."""
    if width < 1 or height < 1:
        raise BadImage("damaged", path, f"the header says {width} x {height} pixels")
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        limits = f"at most {MOST_PIXELS:,} in all and {LONGEST_SIDE:,} a side are decoded"
        raise BadImage("too-many-pixels", path, f"{width:,} x {height:,} pixels; {limits}")


def pixels(container: Container, path: str) -> Image:
    """The decoded frame as it lies in the file."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # global: where another library set it, missing parts would come out grey
    try:
        with READERS[container.format](io.BytesIO(container.content)) as picture:
            check_size(*picture.size, path)
            picture.load()
            return rgb(picture)
    except BadImage:
        raise
    except Exception as error:  # decoders raise whatever they like, MemoryError and SyntaxError among it
        why = str(error) or type(error).__name__
        code = "truncated" if "truncated" in why.lower() else "damaged"
        raise BadImage(code, path, f"the {container.format} cannot be decoded: {why}") from None


def rgb(picture: Pillow.Image) -> Image:
    """Any mode that the readers give, as RGB on white."""
    clear = picture.info.get("transparency")
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture)
        grey = (deep >> 8).astype(np.uint8)
        if isinstance(clear, int):
            grey[deep == clear] = 255
        return np.repeat(grey[:, :, None], 3, axis=2)
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16-bit RGB, which has been read as 8-bit
        picture.info["transparency"] = tuple(level >> 8 for level in clear)
    if picture.has_transparency_data:
        sheet = Pillow.new("RGBA", picture.size, "white")
        sheet.alpha_composite(picture.convert("RGBA"))
        picture = sheet
    return np.array(picture.convert("RGB"))


def upright(image: UInt8[np.ndarray, "H W C"], orientation: int) -> UInt8[np.ndarray, "h w C"]:
    """The image turned and mirrored as its EXIF orientation (TIFF 6.0, tag 274) asks."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
