"""Images given by the user: files, folders and patterns, and in Python also bytes, arrays and Pillow images."""

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
from imclass.data.names import is_url
from imclass.data.threads import map_in_order
from imclass.data.walk import Walk

MAX_BATCH_BYTES = 256 * 2**20  # bytes of decoded images at which a batch ends, even if it has few images
IMAGE_KINDS = "a path, the bytes of an image file, a uint8 array of height x width x channels, or a Pillow image"


@dataclass(frozen=True)
class Files:
    """Image files. Iteration yields each path as a pair: a string and a `Path`."""

    paths: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)  # one sentence for each kind of file ignored in folders

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        return ((path, Path(path)) for path in self.paths)


def gather_files(named: Sequence[str]) -> Files:
    """Return the files found at the paths and patterns in `named`. A folder is replaced by the images in it, sorted.

    Links to folders are followed. A folder that cannot be read is included, so that it is reported as refused. Raise
    `UserError` if no files are found.
    """
    if not named:
        raise UserError("specify at least one image file or folder after the model")
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
        raise UserError("\n".join([f"found no image files in {', '.join(named)}", *notes]))
    return Files(tuple(paths), tuple(notes))


def expand_path(name: str) -> list[str]:
    """Return the files and folders that match a path or pattern.

    The longest leading part of the path that is an existing folder is taken literally, because its name may contain
    brackets. Raise `UserError` if nothing matches.
    """
    if not name:
        raise UserError("a path is empty; specify image files or folders")
    if is_url(name):
        raise UserError(f"{name} is a URL; download the image and give the path to the file")
    path = Path(name)
    if os.path.isdir(name) or os.path.lexists(path):
        return [name]
    existing = next((parent for parent in path.parents if os.path.isdir(parent)), Path())
    pattern = str(path.relative_to(existing)) + (os.sep if name.endswith(os.sep) else "")
    matches = sorted(glob.glob(pattern, root_dir=existing, recursive=True))
    if not matches:
        raise UserError(f"no file or folder matches {name}; check the path, and quote it if it contains spaces")
    return [str(existing / match) for match in matches]


def name_images(images: Any) -> Iterable[tuple[str, Any]]:
    """Return (name, image) pairs. Unnamed images are called "image 0", "image 1" and so on.

    `images` is one image, one path or pattern, an array with four axes, or an iterable of images, paths and pairs. A
    folder is replaced by the images in it. Raise `UserError` for anything else, and for a single path that does not
    exist.
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
    """Yield the name and the image for each item. A folder is replaced by the images in it."""
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
    """Yield the items with their Pillow images loaded, because two threads must not load the same image at once."""
    for name, source in images:
        if not isinstance(source, Pillow.Image):
            yield name, source
            continue
        try:
            source.load()
            yield name, source
        except Exception as error:  # decoders raise errors of any kind
            yield name, BadImage("damaged", name, f"the image cannot be decoded: {error}")


def image_of(source: Any, name: str, max_pixels: int | None = None) -> Image:
    """Return the pixels of an image in any accepted form. If it cannot be used, raise `BadImage` with its `name`."""
    if isinstance(source, bytes | bytearray | memoryview):
        return decode(bytes(source), name, max_pixels)
    if isinstance(source, str | Path):
        return decode(Path(source), name, max_pixels)
    if isinstance(source, Pillow.Image):
        return pixels_of(source, name, max_pixels)
    if not isinstance(source, np.ndarray):
        raise BadImage("no-image", name, f"this is {describe_type(source)}; give {IMAGE_KINDS}")
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] not in (1, 3) or source.size == 0:
        shape = " x ".join(map(str, source.shape)) or "a single value"
        wanted = "it must be uint8, height x width x channels, with 1 or 3 channels"
        raise BadImage("no-image", name, f"the array is {shape} of {source.dtype}; {wanted}")
    return source


def describe_type(value: Any) -> str:
    """Describe the type of a value, such as "of type list"."""
    return "None" if value is None else f"of type {type(value).__name__}"


NamedImage: TypeAlias = tuple[str, Image | BadImage]  # an image's name, and its pixels or the reason to refuse it


def decode_images(
    images: Iterable[tuple[str, Any]], workers: int, max_pixels: int | None = None
) -> Generator[NamedImage, None, None]:
    """Yield the names and decoded images in order, with a `BadImage` in place of an image that cannot be used."""

    def decode_item(item: tuple[str, Any]) -> NamedImage:
        name, source = item
        try:
            return name, source if isinstance(source, BadImage) else image_of(source, name, max_pixels)
        except BadImage as refused:
            # The traceback of this exception would keep the file's bytes in memory, so return a new exception.
            return name, BadImage(refused.code, refused.path, refused.detail)

    return map_in_order(decode_item, load_pillow_images(images), workers, ahead=4 * workers)


def batch_items(items: Iterable[NamedImage], batch: int) -> Iterator[list[NamedImage]]:
    """Yield lists of at most `batch` items. Lists of large images are shorter."""
    gathered: list[NamedImage] = []
    size = 0  # bytes
    for item in items:
        gathered.append(item)
        size += 0 if isinstance(item[1], BadImage) else item[1].nbytes
        if len(gathered) == batch or size >= MAX_BATCH_BYTES:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered
