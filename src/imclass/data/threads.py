"""Work done by threads, with results in order. Threads run in parallel because Pillow releases the GIL."""

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
    """Yield the results of `map(function, items)`, computed by `workers` threads at most `ahead` items in advance.

    If `workers` is 0, the caller's thread computes the results. If the function fails for an item, the exception is
    raised when that item's result is due. If the consumer stops early, waiting items are dropped. When the
    generator is closed, it waits until all threads have ended.
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


def attempt(images: ImageSource, function: Callable[[Image], R], i: int) -> R | BadImage:
    """Return `function(images[i])`, or the `BadImage` that it raises.

    Other errors are raised again, with the image's name in the message.
    """
    try:
        return function(images[i])
    except BadImage as refused:
        # The caught error's traceback would keep the file's bytes in memory, so a new error is returned.
        return BadImage(refused.code, refused.path, refused.detail)
    except UserError as error:
        raise UserError(f"{images.name(i)}: {error}") from None
    except Exception as error:
        raise RuntimeError(f"{images.name(i)}: {type(error).__name__}: {error}") from error


def decode_in_order(
    dataset: ImageSource, indices: Int64[np.ndarray, "N"], workers: int
) -> Generator[Image | BadImage, None, None]:
    """Yield the decoded images at `indices`, in that order, with a `BadImage` in place of each refused image."""
    return map_in_order(partial(attempt, dataset, lambda image: image), indices.tolist(), workers, ahead=4 * workers)
