"""The division of an epoch into batches, and of a batch into parts, before any image is decoded."""

import numpy as np
from jaxtyping import Int64


def batch_count(images: int, batch: int, pairs: bool) -> int:
    """Return the number of batches in an epoch of `images` images.

    The last batch may be smaller. If `pairs` is set (for batch norm, whose variance needs two images), a last batch of
    one image is merged into the batch before it.
    """
    batches = -(-images // batch)  # rounded up
    if pairs and batches > 1 and images - (batches - 1) * batch == 1:
        return batches - 1
    return batches


def cut_batches(order: Int64[np.ndarray, "N"], batch: int, pairs: bool) -> list[Int64[np.ndarray, "_"]]:
    """Return the positions of the images in each batch."""
    batches = batch_count(len(order), batch, pairs)
    ends = [*range(batch, batches * batch, batch), len(order)]
    return [order[at * batch : end] for at, end in zip(range(batches), ends, strict=False)]


def divide_batch(positions: Int64[np.ndarray, "N"], parts: int, pairs: bool) -> list[Int64[np.ndarray, "_"]]:
    """Divide the positions in a batch into logical parts, with sizes as in NumPy's `array_split`.

    There are `parts` parts, or fewer if a part would otherwise have no image, or only one image when `pairs` is set.
    There is always at least one part.
    """
    limit = len(positions) // 2 if pairs else len(positions)
    number = max(1, min(parts, limit))
    return np.array_split(positions, number) if number > 1 else [positions]
