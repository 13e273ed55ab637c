"""Exact kernels of histograms and other rows, each a sum over the features.

With a and b for the same feature of two rows, the terms of the sums are:

    chi2            2 a b / (a + b)
    intersection    min(a, b)
    jensen-shannon  (a log2((a + b) / a) + b log2((a + b) / b)) / 2
    linear          a b

The first three (Vedaldi and Zisserman, PAMI 2012, table 1) require numbers that are not negative, and are 0 if a or b
is 0. The kernel of a histogram with itself is then its sum.

Every kernel k has a distance, d(x, y)^2 = k(x, x) + k(y, y) - 2 k(x, y). The squared distance is the chi-squared
distance, the sum of (a - b)^2 / (a + b), for "chi2", the sum of |a - b| for "intersection", and the squared Euclidean
distance for "linear".
"""
# Tested in tests/pipelines/parts/test_kernel_svm.py

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Float64

from imclass.core.errors import UserError
from imclass.pipelines.principal_axes import check_finite_features

Kernel: TypeAlias = Literal["chi2", "intersection", "jensen-shannon", "linear"]
Term: TypeAlias = Callable[[Float32[np.ndarray, "f 1"], Float32[np.ndarray, "f m"]], Float32[np.ndarray, "f m"]]
CHUNK = 64  # features that are summed in float32; sums of chunks are in float64
SMALLEST_RATIO = np.float32(1e-30)


def check_histograms(x: Float[np.ndarray, "N D"], kind: str, instead: str) -> None:
    """Raise `UserError` unless all numbers are finite and not negative. `instead` is another choice for the user."""
    check_finite_features(x)
    if x.size and (lowest := x.min()) < 0:
        raise UserError(
            f"the part {kind} needs rows without negative numbers, such as histograms of words, but a row contains "
            f"{lowest:.3g}; leave out the part that causes it, or use {instead}"
        )


def harmonic_mean(a: Float32[np.ndarray, "f 1"], b: Float32[np.ndarray, "f m"]) -> Float32[np.ndarray, "f m"]:
    """Return 2 a b / (a + b), where a is above 0."""
    result = a + b
    np.divide(b, result, out=result)  # before the product, which might be too small for float32
    result *= 2 * a
    return result


def shared_information(a: Float32[np.ndarray, "f 1"], b: Float32[np.ndarray, "f m"]) -> Float32[np.ndarray, "f m"]:
    """Return the term of the Jensen-Shannon kernel, where a is above 0."""
    with np.errstate(over="ignore"):
        ratio = np.clip(b / a, SMALLEST_RATIO, 1 / SMALLEST_RATIO)
    result = np.log1p(ratio)
    result += ratio * np.log1p(1 / ratio)
    result *= a * np.float32(0.5 / np.log(2))
    return result


TERMS: dict[str, Term] = {"chi2": harmonic_mean, "intersection": np.minimum, "jensen-shannon": shared_information}


def pair_sums(
    kernel: Kernel, x: Float32[np.ndarray, "n D"], columns: Float32[np.ndarray, "D m"]
) -> Float64[np.ndarray, "n m"]:
    """Return the kernel of each row of `x` with each column of `columns`. A row's result depends on no other row.

    Features that are 0 in a row of `x` take no time, except with the linear kernel.
    """
    total = np.zeros((len(x), columns.shape[1]))
    if kernel == "linear":
        for low in range(0, x.shape[1], CHUNK):
            chunk = columns[low : low + CHUNK].astype(np.float64)
            for row, sums in zip(x[:, low : low + CHUNK].astype(np.float64), total, strict=True):
                sums += row @ chunk
        return total
    term = TERMS[kernel]
    for row, sums in zip(x, total, strict=True):
        positions = np.flatnonzero(row)
        for low in range(0, len(positions), CHUNK):
            chosen = positions[low : low + CHUNK]
            sums += term(row[chosen, None], columns[chosen]).sum(0)
    return total


def self_sums(kernel: Kernel, x: Float32[np.ndarray, "n D"]) -> Float64[np.ndarray, "n"]:
    """Return the kernel of each row with itself."""
    found = np.einsum("nd,nd->n", x, x, dtype=np.float64) if kernel == "linear" else x.sum(1, dtype=np.float64)
    return np.asarray(found)


def squared_distances(
    sums: Float64[np.ndarray, "n m"], first: Float64[np.ndarray, "n"], second: Float64[np.ndarray, "m"]
) -> Float64[np.ndarray, "n m"]:
    """Return squared distances, given the kernel of all pairs and that of each row with itself."""
    return np.maximum(first[:, None] + second - 2 * sums, 0)
