"""Batches of uint8 views of images of any size, limited in bytes so that memory use stays bounded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from imclass.core.contracts import Image, NetworkBacked
from imclass.core.preprocess import Preprocess

# Bytes of uint8 pixels in a batch of views, enough for 14 views of 224 x 224. In larger batches the maps no longer fit
# the processor's cache, and VGG and GoogLeNet take longer per view. In smaller batches the weights are read too often.
BATCH_BYTES = 2 * 2**20

ImageSequence: TypeAlias = Sequence[Image]
ViewBatch: TypeAlias = UInt8[Tensor, "N C H W"]
IndexedImage: TypeAlias = tuple[int, Image]  # an image's position in the sequence, and a view of the image


def to_batch(views: UInt8[np.ndarray, "N H W C"]) -> ViewBatch:
    """Copy views into a tensor with channels first. The copy is needed because the array may be read-only."""
    return torch.from_numpy(views.transpose(0, 3, 1, 2).copy(order="C"))


def views_per_batch(preprocess: Preprocess) -> int:
    """Return the number of views that fill a batch of `BATCH_BYTES`, but at least 1."""
    return max(1, BATCH_BYTES // (preprocess.size**2 * preprocess.w_in))


def split_by_bytes(
    views: Iterable[IndexedImage], max_bytes: int = BATCH_BYTES
) -> Iterator[tuple[list[int], list[Image]]]:
    """Yield batches of consecutive views, with the position of each view's image.

    A batch ends with the view that brings it to `max_bytes` or more.
    """
    owners: list[int] = []
    held: list[Image] = []
    size = 0
    for owner, view in views:
        owners.append(owner)
        held.append(view)
        size += view.nbytes
        if size >= max_bytes:
            yield owners, held
            owners, held, size = [], [], 0
    if held:
        yield owners, held


def batch_by_shape(images: ImageSequence) -> Iterator[tuple[list[int], ViewBatch]]:
    """Yield batches of images of equal shape, which need no padding, with the positions of the images."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        shapes.setdefault(image.shape, []).append(i)
    for positions in shapes.values():
        for owners, views in split_by_bytes((i, images[i]) for i in positions):
            yield owners, to_batch(np.stack(views))


def score_one_view(
    classifier: NetworkBacked,
    images: ImageSequence,
    preprocess: Preprocess,
    score: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, "N K"]:
    """Return one row of scores per image, from a single view made by `preprocess`.

    If there are no images, return an empty tensor.

    `score` maps a batch of views, N C H W, to scores, N K. By default it is `classifier.scores`.
    """
    rows = [torch.zeros(0, len(classifier.classes))]
    for _, views in split_by_bytes((i, preprocess(image)) for i, image in enumerate(images)):
        rows.append((score or classifier.scores)(to_batch(np.stack(views))))
    return torch.cat(rows)
