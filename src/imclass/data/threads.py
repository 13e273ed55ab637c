"""Work spread over threads with its order kept. Pillow's decoding and resizing release the GIL, so threads suffice."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Int64

from imclass.core.contracts import Image, ImageSource
from imclass.core.errors import BadImage, UserError

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int) -> Generator[R, None, None]:
    """Yield `map(function, items)`, by `workers` threads (0: by the caller), at most `ahead` results before their turn.

    An exception surfaces at its item's turn. When the consumer stops early, waiting items are dropped and the threads
    have ended before `close` returns.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="imclass")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def attempt(images: ImageSource, look: Callable[[Image], R], i: int) -> R | BadImage:
    """Return `look` of image `i`, or why it is refused. Raise any other failure with the image's name."""
    try:
        return look(images[i])
    except BadImage as refused:
        # A new one: the traceback of this one would keep the file's bytes in memory.
        return BadImage(refused.code, refused.path, refused.detail)
    except UserError as error:
        raise UserError(f"{images.name(i)}: {error}") from None
    except Exception as error:
        raise RuntimeError(f"{images.name(i)}: {type(error).__name__}: {error}") from error


def decode_in_order(
    dataset: ImageSource, indices: Int64[np.ndarray, "N"], workers: int
) -> Generator[Image | BadImage, None, None]:
    """Yield the decoded images at `indices`, in that order, each as itself or as the `BadImage` it was refused with."""
    return map_in_order(partial(attempt, dataset, lambda image: image), indices.tolist(), workers, ahead=4 * workers)
