"""The only function that decodes images. It turns an image file, given as bytes or as a path, into pixels (H W 3).

Training, evaluation, prediction and serving all use it, and any number of threads may call it at the same time. It
raises `BadImage` if an image cannot be used.
"""

import contextlib
import hashlib
import importlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import AvifImagePlugin, ImageFile
from PIL import Image as Pillow
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from imclass.core.contracts import Image
from imclass.core.errors import BadImage
from imclass.data.images.container import Container
from imclass.data.images.containers import parse_container
from imclass.data.images.netpbm import decode_netpbm
from imclass.data.images.tiff import ORIENTATION, exif_orientation

# --max-megapixels raises these three limits together, in proportion.
MAX_FILE_BYTES = 100_000_000
MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384  # pixels
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF 6.0
WHITE_IS_ZERO = 0  # a value of the tag PHOTOMETRIC


class TiffFile(TiffImageFile):
    """A TIFF image without Pillow's decompression-bomb check. The size of the image has already been checked."""

    def load_prepare(self) -> None:
        ImageFile.ImageFile.load_prepare(self)


def avif_file(file: io.BytesIO) -> ImageFile.ImageFile:
    """Open an AVIF file as a Pillow image. Raise `ImportError` if Pillow was built without AVIF support."""
    if not AvifImagePlugin.SUPPORTED:
        raise ImportError(
            "the installed Pillow was built without AVIF support; install one that has it: pip install --upgrade pillow"
        )
    return AvifImagePlugin.AvifImageFile(file)


def heic_file(file: io.BytesIO) -> ImageFile.ImageFile:
    """Open an HEIC file as a Pillow image. Raise `ImportError` if pillow-heif is not installed."""
    try:
        plugin = importlib.import_module("pillow_heif")
    except ImportError:
        raise ImportError("reading HEIC needs another library; install it with: pip install 'imclass[heic]'") from None
    opened: ImageFile.ImageFile = plugin.HeifImageFile(file)
    return opened


# Readers are called directly rather than through `PIL.Image.open`, so that no other format is tried and no
# warning appears. A reader that is not installed raises `ImportError` with the command that installs it.
PICTURE_READERS: Mapping[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = MappingProxyType(
    {
        "JPEG": JpegImageFile,
        "PNG": PngImageFile,
        "GIF": GifImageFile,
        "BMP": BmpImageFile,
        "WebP": WebPImageFile,
        "TIFF": TiffFile,
        "AVIF": avif_file,
        "HEIC": heic_file,
    }
)


def decode(source: Path | bytes, name: str | None = None, max_pixels: int | None = None) -> Image:
    """Return the first frame of an image file as a uint8 array (H W 3): upright, RGB, with transparent parts on white.

    CMYK is converted, palettes are expanded, and 16-bit samples are reduced to their upper 8 bits. `name`, by default
    the path, identifies the image in error messages. An image with more than `max_pixels` pixels (by default
    50 million) is refused.

    Raise `BadImage` with the code "missing", "unreadable", "not-a-file", "too-large", "empty", "unsupported",
    "too-many-pixels", "too-complex", "truncated" or "damaged".
    """
    limit = max_pixels or MAX_PIXELS
    if isinstance(source, bytes):
        path, content = name or "<bytes>", source
    else:
        path, content = name or str(source), read_image_file(source, name, limit)
    if not content:
        raise BadImage("empty", path, "the file has 0 bytes")
    check_bytes(len(content), path, limit)
    container = parse_container(content, path)
    check_size(container.width, container.height, path, limit)
    return decode_container(container, path, limit)


@contextlib.contextmanager
def open_regular(source: Path, name: str | None = None) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading. Raise `BadImage` for anything else, such as a pipe, without waiting for data."""
    path = name or str(source)
    try:
        handle = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadImage("not-a-file", path, "this is a folder, pipe or device, not a file")
            with open(handle, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise BadImage("missing", path, "the file does not exist, or it is a broken link") from None
    except (OSError, ValueError) as error:  # a path that contains a NUL raises ValueError
        raise BadImage("unreadable", path, getattr(error, "strerror", None) or str(error)) from None


def read_image_file(source: Path, name: str | None = None, max_pixels: int | None = None) -> bytes:
    """Return the bytes of a file. Raise `BadImage` if it cannot be read, is not a regular file or is too large."""
    with open_regular(source, name) as file:
        size = os.fstat(file.fileno()).st_size
        check_bytes(size, name or str(source), max_pixels or MAX_PIXELS)
        return file.read(size)


def hash_of(source: Path) -> bytes:
    """Return the SHA-256 of a file of any size. Raise `BadImage` if it cannot be read or is not a regular file."""
    with open_regular(source) as file:
        return hashlib.file_digest(file, "sha256").digest()


def check_bytes(size: int, path: str, max_pixels: int) -> None:
    """Raise `BadImage` if a file is too large. The limit in bytes depends on `max_pixels`."""
    largest = max(MAX_FILE_BYTES, MAX_FILE_BYTES * max_pixels // MAX_PIXELS)
    if size > largest:
        raise BadImage(
            "too-large",
            path,
            f"the file has {size:,} bytes, but at most {largest:,} are read; {limit_advice(max_pixels)}",
        )


def limit_advice(max_pixels: int) -> str:
    """Return the end of an error message, which describes how to raise the limits."""
    return f"set --max-megapixels above {max_pixels / 1e6:g} to allow more"


def check_size(width: int, height: int, path: str, max_pixels: int) -> None:
    """Raise `BadImage` if a side has no pixels or too many, or if the image has more than `max_pixels` pixels."""
    if width < 1 or height < 1:
        raise BadImage("damaged", path, f"the header declares {width} x {height} pixels")
    longest = max(MAX_SIDE, MAX_SIDE * max_pixels // MAX_PIXELS)
    if width * height > max_pixels or max(width, height) > longest:
        limits = f"at most {max_pixels:,} in all and {longest:,} per side are decoded; {limit_advice(max_pixels)}"
        raise BadImage("too-many-pixels", path, f"the image has {width:,} x {height:,} pixels, but {limits}")


def decode_container(container: Container, path: str, max_pixels: int) -> Image:
    """Decode the frame and return its pixels, upright and in RGB."""
    if container.format == "PPM":
        return decode_netpbm(container, path)
    # This flag is global. If another library had set it, missing parts of an image would be grey, without an error.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with PICTURE_READERS[container.format](io.BytesIO(container.content)) as picture:
            check_size(*picture.size, path, max_pixels)
            check_mode(picture, path)
            picture.load()
            check_size(*picture.size, path, max_pixels)  # loading an HEIC may change its size
            return turn_upright(rgb(picture), exif_orientation(container.exif or picture.info.get("exif") or b""))
    except BadImage:
        raise
    except ImportError as missing:
        raise BadImage("unsupported", path, str(missing)) from None
    except Exception as error:  # decoders raise errors of any type, even MemoryError and SyntaxError
        why = str(error) or type(error).__name__
        code = "truncated" if "truncated" in why.lower() else "damaged"
        raise BadImage(code, path, f"the {container.format} cannot be decoded: {why}") from None


def pixels_of(picture: Pillow.Image, name: str, max_pixels: int | None = None) -> Image:
    """Return the pixels of a Pillow image as `decode` would: upright, RGB, with transparent parts on white."""
    check_size(*picture.size, name, max_pixels or MAX_PIXELS)
    try:
        check_mode(picture, name)
        picture.load()  # loading turns a TIFF upright, so the orientation is read afterwards
        turn = picture.getexif().get(ORIENTATION, 1)
        return turn_upright(rgb(picture), turn if isinstance(turn, int) else 1)
    except BadImage:
        raise
    except Exception as error:  # Pillow decodes only now, and may raise errors of any type
        raise BadImage("damaged", name, f"the image cannot be decoded: {str(error) or type(error).__name__}") from None


def check_mode(picture: Pillow.Image, path: str) -> None:
    """Raise `BadImage` if pixels have no standard conversion to 8 bits: floats, 32-bit integers or CIE L*a*b*."""
    if picture.mode in ("F", "I", "LAB"):
        kind = {"F": "floating-point numbers", "I": "32-bit or signed integers"}.get(picture.mode, "CIE L*a*b*")
        raise BadImage("unsupported", path, f"its pixels are {kind}; convert the image to 8 or 16 bits per channel")


def rgb(picture: Pillow.Image) -> Image:
    """Convert a picture of any mode to RGB pixels, with transparent parts on white."""
    transparent = picture.info.get("transparency")  # the transparent grey value or colour, if there is one
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture)
        grey = to_eight_bits(deep, getattr(picture, "tag_v2", {}))
        if isinstance(transparent, int):
            grey[deep == transparent] = 255
        return np.repeat(grey[:, :, None], 3, axis=2)
    if isinstance(transparent, tuple) and max(transparent) > 255:  # Pillow reads 16-bit RGB as 8-bit
        picture = picture.copy()
        picture.info["transparency"] = tuple(level >> 8 for level in transparent)
    if picture.has_transparency_data:
        sheet = Pillow.new("RGBA", picture.size, "white")
        sheet.alpha_composite(picture.convert("RGBA"))
        picture = sheet
    return np.array(picture.convert("RGB"))


def to_eight_bits(deep: UInt16[np.ndarray, "H W"], tags: Mapping[int, Any]) -> UInt8[np.ndarray, "H W"]:
    """Reduce samples to their upper 8 bits. In a TIFF, `tags` give the number of bits and whether 0 means white."""
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    levels = (deep >> (bits - 8)).astype(np.uint8)
    return 255 - levels if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else levels


def turn_upright(image: UInt8[np.ndarray, "H W C"], orientation: int) -> UInt8[np.ndarray, "h w C"]:
    """Return the image rotated and flipped according to its EXIF orientation (TIFF 6.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
