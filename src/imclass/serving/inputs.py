"""The images a user names: files, folders and globs, in the order given; bytes, arrays and Pillow images in Python."""

import glob
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image as Pillow

from imclass.core.contracts import Image
from imclass.core.errors import BadImage, UserError
from imclass.data.images.decode import decode, pixels_of
from imclass.data.names import is_address
from imclass.data.threads import map_in_order
from imclass.data.walk import Walk

MAX_BATCH_BYTES = 256 * 2**20  # bytes of decoded images held at a time, however many a batch has
IMAGE_KINDS = "a path, the bytes of an image file, a uint8 array of height x width x channels, or a Pillow image"


@dataclass(frozen=True)
class Files:
    """Image files, as pairs of the path that the user gave and the file."""

    paths: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)  # what was passed over in folders, a sentence each

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        return ((path, Path(path)) for path in self.paths)


def gather_files(named: Sequence[str]) -> Files:
    """Return every file that `named` stands for; a folder gives its images, sorted. Raise `UserError` where none is.

    Links to folders are followed. A folder that cannot be read is listed, so that it is refused by name.
    """
    if not named:
        raise UserError("name at least one image file or folder")
    paths: list[str] = []
    notes: list[str] = []
    for place in (place for name in named for place in expand_path(name)):
        if not os.path.isdir(place):
            paths.append(place)
            continue
        walk = Walk(Path(place))
        paths += [str(walk.root / file) for file in walk.images()]
        notes += [f"{place}: {note}" for note in walk.notes()]
    if not paths:
        raise UserError("\n".join([f"there are no image files in {', '.join(named)}", *notes]))
    return Files(tuple(paths), tuple(notes))


def expand_path(name: str) -> list[str]:
    """Return the files and folders that a path or a pattern stands for; the part of it that is there is no pattern."""
    if not name:
        raise UserError("a name is empty; name image files or folders")
    if is_address(name):
        raise UserError(f"{name} is an address; save what is there as a file, and give its path")
    path = Path(name)
    if os.path.isdir(name) or os.path.lexists(path):
        return [name]
    there = next((parent for parent in path.parents if os.path.isdir(parent)), Path())
    pattern = str(path.relative_to(there)) + (os.sep if name.endswith(os.sep) else "")
    found = sorted(glob.glob(pattern, root_dir=there, recursive=True))
    if not found:
        raise UserError(f"there is no file or folder {name}")
    return [str(there / match) for match in found]


def name_images(images: Any) -> Iterable[tuple[str, Any]]:
    """Return images of any kind as pairs of a name and an image; those without a name are "image 0", "image 1" ...

    One path, folder or pattern stands for its files, an array of four axes for the images in it. Anything else is one
    image, or yields images, pairs of a name and an image, or paths, of which a folder stands for the images in it.
    Raise `UserError` for what can be none of these, and for a single path that is not there.
    """
    if isinstance(images, Files):
        return images
    if isinstance(images, str | Path):
        return gather_files([os.path.expanduser(images)])
    if isinstance(images, bytes | Pillow.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [("image 0", images)]
    if not isinstance(images, Iterable) or isinstance(images, dict):
        raise UserError(f"the images are {describe_type(images)}; give {IMAGE_KINDS}, or a list of these")
    return name_items(images)


def name_items(images: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield a name and an image for each item; a folder stands for the images in it."""
    for i, item in enumerate(images):
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            name, image = item
            yield name, Path(image) if isinstance(image, str) else image
        elif isinstance(item, str | Path):
            path = os.path.expanduser(item)
            if not os.path.isdir(path):
                yield str(item), Path(path)
                continue
            walk = Walk(Path(path))
            yield from ((str(walk.root / file), walk.root / file) for file in walk.images())
        else:
            yield f"image {i}", item


def load_pillow_images(images: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the items with Pillow images decoded: one of them may come several times, and threads would share it."""
    for name, source in images:
        if not isinstance(source, Pillow.Image):
            yield name, source
            continue
        try:
            source.load()
            yield name, source
        except Exception as error:  # decoders raise errors of any kind
            yield name, BadImage("damaged", name, f"the image cannot be decoded: {error}")


def image_of(source: Any, name: str, most_pixels: int | None = None) -> Image:
    """Return the pixels of an image of any kind, which messages call `name`; `BadImage` for what cannot be used."""
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(bytes(source), name, most_pixels)
    if isinstance(source, str | Path):
        return decode(Path(source), name, most_pixels)
    if isinstance(source, Pillow.Image):
        return pixels_of(source, name, most_pixels)
    if not isinstance(source, np.ndarray):
        raise BadImage("no-image", name, f"this is {describe_type(source)}; give {IMAGE_KINDS}")
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] not in (1, 3) or source.size == 0:
        shape = " x ".join(map(str, source.shape)) or "a single value"
        wanted = "it must be uint8, height x width x 1 or 3 channels"
        raise BadImage("no-image", name, f"the array is {shape} of {source.dtype}; {wanted}")
    return source


def describe_type(value: Any) -> str:
    """Return what a value is, such as "of the type list"."""
    return "nothing" if value is None else f"of the type {type(value).__name__}"


NamedImage: TypeAlias = tuple[str, Image | BadImage]  # an image's name, and its pixels or why it is refused


def decode_images(
    images: Iterable[tuple[str, Any]], workers: int, most_pixels: int | None = None
) -> Generator[NamedImage, None, None]:
    """Yield names and decoded images in order; a refused one is its `BadImage`."""

    def look(item: tuple[str, Any]) -> NamedImage:
        name, source = item
        try:
            return name, source if isinstance(source, BadImage) else image_of(source, name, most_pixels)
        except BadImage as refused:
            # A new one: the traceback of this one would keep the file's bytes in memory.
            return name, BadImage(refused.code, refused.path, refused.detail)

    return map_in_order(look, load_pillow_images(images), workers, ahead=4 * workers)


def batch_items(items: Iterable[NamedImage], batch: int) -> Iterator[list[NamedImage]]:
    """Yield the items at most `batch` at a time, and fewer where the images are large."""
    several: list[NamedImage] = []
    held = 0
    for item in items:
        several.append(item)
        held += 0 if isinstance(item[1], BadImage) else item[1].nbytes
        if len(several) == batch or held >= MAX_BATCH_BYTES:
            yield several
            several, held = [], 0
    if several:
        yield several
