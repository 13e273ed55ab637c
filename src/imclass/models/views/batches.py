"""From ragged images to batches of uint8 views, at bounded memory whatever the number of images and views."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from imclass.core.contracts import Image, NetworkBacked
from imclass.core.preprocess import Preprocess

# Bytes of uint8 pixels that a network sees at once: 14 views of 224 x 224. With more of them maps no longer fit a
# processor's cache, and VGG and GoogLeNet become slower a view; with fewer, weights are read too often.
BATCH_BYTES = 2 * 2**20

ImageSequence: TypeAlias = Sequence[Image]
ViewBatch: TypeAlias = UInt8[Tensor, "N C H W"]
IndexedImage: TypeAlias = tuple[int, Image]  # the position of an image and pixels of it


def to_batch(views: UInt8[np.ndarray, "N H W C"]) -> ViewBatch:
    """Channels first, in memory of its own (the array may be read-only)."""
    return torch.from_numpy(views.transpose(0, 3, 1, 2).copy(order="C"))


def views_per_batch(preprocess: Preprocess) -> int:
    """Return how many views of this size and colour a processor scores fastest; at least one."""
    return max(1, BATCH_BYTES // (preprocess.size**2 * preprocess.w_in))


def split_by_bytes(views: Iterable[IndexedImage], most: int = BATCH_BYTES) -> Iterator[tuple[list[int], list[Image]]]:
    """Consecutive views, `most` bytes of them or one view more at a time: the positions of their images, and them."""
    owners: list[int] = []
    held: list[Image] = []
    size = 0
    for owner, view in views:
        owners.append(owner)
        held.append(view)
        size += view.nbytes
        if size >= most:
            yield owners, held
            owners, held, size = [], [], 0
    if held:
        yield owners, held


def batch_by_shape(images: ImageSequence) -> Iterator[tuple[list[int], ViewBatch]]:
    """All images in batches of one shape each, with their positions: nothing has to be padded."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        shapes.setdefault(image.shape, []).append(i)
    for alike in shapes.values():
        for owners, views in split_by_bytes((i, images[i]) for i in alike):
            yield owners, to_batch(np.stack(views))


def score_one_view(
    classifier: NetworkBacked,
    images: ImageSequence,
    preprocess: Preprocess,
    score: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "N K"]:
    """Scores of the one view of each image that `preprocess` gives; no images give no rows.

    `score` (by default the classifier's own scores) makes N K scores of a batch of views, N C H W.
    """
    rows = [torch.zeros(0, len(classifier.classes))]
    for _, views in split_by_bytes((i, preprocess(image)) for i, image in enumerate(images)):
        rows.append((score or classifier.scores)(to_batch(np.stack(views))))
    return torch.cat(rows)
