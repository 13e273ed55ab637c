"""Comparison of floating-point numbers relative to the scale of the expected ones.

The order in which kernels sum products depends on the processor's instructions, the number of threads and the shape of
the batch. A float32 sum in another order differs by about the square root of its length times 6e-8 of its terms' scale,
and that accumulates over layers. The largest difference in these tests is 6e-6, with AVX2 as with AVX-512. The limit is
three times that, to allow for processors on which they have not run.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

WITHIN = 2e-5


def relative_difference(found: Any, expected: Any) -> float:
    """Return the largest difference of two arrays of the same shape, over the root mean square of the expected one."""
    if isinstance(found, Tensor) and isinstance(expected, Tensor) and found.dtype != expected.dtype:
        raise AssertionError(f"{found.dtype} is not {expected.dtype}")
    a, b = (
        np.asarray(values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values, float)
        for values in (found, expected)
    )
    if a.shape != b.shape:
        raise AssertionError(f"shapes {a.shape} and {b.shape} differ")
    if a.size == 0 or np.array_equal(a, b):
        return 0.0
    return float(np.abs(a - b).max() / max(np.sqrt((b**2).mean()), torch.finfo(torch.float64).tiny))


def near(found: Any, expected: Any, within: float = WITHIN) -> bool:
    """Return whether two arrays agree within a tolerance."""
    return relative_difference(found, expected) <= within


def assert_near(found: Any, expected: Any, within: float = WITHIN) -> None:
    """Raise `AssertionError` with the difference unless two arrays agree."""
    difference = relative_difference(found, expected)
    assert difference <= within, f"they differ by {difference:.2g} of the scale, and {within:.2g} is allowed"
