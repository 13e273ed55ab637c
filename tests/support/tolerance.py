"""Comparison of floating numbers relative to the scale of what is expected.

Kernels sum products in an order that follows from the processor's instructions, the number of threads and the shape of
the batch. A float32 sum in another order differs by about the square root of its length times 6e-8 of its terms' scale,
and that adds up over layers. The worst of the tests here differ by 6e-6, with AVX2 as with AVX-512; the limit is three
times that, for processors that none of them has run on.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

WITHIN = 2e-5


def relative_difference(found: Any, expected: Any) -> float:
    """Return the largest difference of two arrays of one shape over the root mean square of what is expected."""
    if isinstance(found, Tensor) and isinstance(expected, Tensor) and found.dtype != expected.dtype:
        raise AssertionError(f"{found.dtype} is not {expected.dtype}")
    a, b = (each.detach().cpu().double().numpy() if isinstance(each, Tensor) else each for each in (found, expected))
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape:
        raise AssertionError(f"shapes {a.shape} and {b.shape} differ")
    if a.size == 0 or np.array_equal(a, b):
        return 0.0
    return float(np.abs(a - b).max() / max(np.sqrt((b**2).mean()), torch.finfo(torch.float64).tiny))


def near(found: Any, expected: Any, within: float = WITHIN) -> bool:
    """Return whether two arrays agree."""
    return relative_difference(found, expected) <= within


def assert_near(found: Any, expected: Any, within: float = WITHIN) -> None:
    """Raise an `AssertionError` with the difference where two arrays do not agree."""
    difference = relative_difference(found, expected)
    assert difference <= within, f"they differ by {difference:.2g} of the scale, and {within:.2g} is allowed"
