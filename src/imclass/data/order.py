"""The order of an epoch cut into batches, and each batch into parts, by position and before decoding."""

import numpy as np
from jaxtyping import Int64


def batch_count(images: int, batch: int, pairs: bool) -> int:
    """Return how many batches an epoch of `images` images has.

    The last may be smaller. Under `pairs` (batch norm, which learns nothing from one image) a last batch of one image
    joins the batch before it.
    """
    batches = -(-images // batch)
    lonely = pairs and batches > 1 and images - (batches - 1) * batch == 1
    return batches - lonely


def cut_batches(order: Int64[np.ndarray, "N"], batch: int, pairs: bool) -> list[Int64[np.ndarray, "_"]]:
    """Return the positions of each batch."""
    batches = batch_count(len(order), batch, pairs)
    ends = [*range(batch, batches * batch, batch), len(order)]
    return [order[at * batch : end] for at, end in zip(range(batches), ends, strict=False)]


def divide_batch(positions: Int64[np.ndarray, "N"], parts: int, pairs: bool) -> list[Int64[np.ndarray, "_"]]:
    """Return the positions of each logical part of a batch, as many parts as it has images for, at least one.

    Under `pairs` each part has two images or more. Their sizes are those of numpy's `array_split`.
    """
    most = len(positions) // 2 if pairs else len(positions)
    number = max(1, min(parts, most))
    return np.array_split(positions, number) if number > 1 else [positions]
