"""Explicit maps of kernels between histograms, after which linear classifiers act as kernel machines.

A. Vedaldi, A. Zisserman, "Efficient additive kernels via explicit feature maps", PAMI 2012. The chi-squared, the
intersection and the Jensen-Shannon kernel (`pipelines/kernels.py`) are sums of terms

    k(a, b) = sqrt(a b) K(log b - log a),    K(w) = sum of kappa(l) cos(l w) over all frequencies l,

so that a term is approximated by the inner product of 2 n + 1 numbers for each of a and b:

    sqrt(a L kappa(0)),  sqrt(2 a L kappa(j L)) cos(j L log a),  sqrt(2 a L kappa(j L)) sin(j L log a),  j = 1 ... n,

where L = 2 pi / period. The error of a term is at most a fraction of the larger of a and b:

    |inner product - k(a, b)| <= error_bound() * max(a, b).

A short period makes large ratios of a and b wrong, and a long one needs high frequencies. The default periods are fits
to those with the lowest bound. The bounds for n = 1, 2, 3, 5 are 3.3%, 1.3%, 0.6%, 0.2% (chi2), 11%, 8.2%, 6.6%, 4.7%
(intersection) and 2.1%, 0.7%, 0.3%, 0.1% (jensen-shannon). Numbers that are 0 remain 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Float64

from imclass.core.bounds import AtLeast, AtMost
from imclass.pipelines.kernels import check_histograms
from imclass.pipelines.part import Feature, Flow

LOG_RATIOS = np.linspace(0, 60, 6001)  # of b and a, at which the error is computed; it is negligible beyond
Curve: TypeAlias = Callable[[Any], Any]


def inverse_cosh(x: Any) -> Any:
    """Return 1 / cosh(x), without overflow."""
    small = np.exp(-np.abs(x))
    return 2 * small / (1 + small**2)


def shannon_signature(w: Any) -> Any:
    """Return K of the Jensen-Shannon kernel for w >= 0."""
    return (np.exp(w / 2) * np.log1p(np.exp(-w)) + np.exp(-w / 2) * (w + np.log1p(np.exp(-w)))) / np.log(4)


@dataclass(frozen=True)
class Homogeneous:
    """A kernel with k(c a, c b) = c k(a, b)."""

    signature: Curve  # K, for w >= 0
    spectrum: Curve  # kappa
    period: Curve  # the default period for n


KERNELS: Mapping[str, Homogeneous] = {
    "chi2": Homogeneous(
        lambda w: inverse_cosh(w / 2), lambda x: inverse_cosh(np.pi * x), lambda n: 5.86 * n**0.5 + 3.9
    ),
    "intersection": Homogeneous(
        lambda w: np.exp(-w / 2), lambda x: 2 / np.pi / (1 + 4 * x**2), lambda n: 1.7 * np.log(n + 0.6) + 5.5
    ),
    "jensen-shannon": Homogeneous(
        shannon_signature,
        lambda x: inverse_cosh(np.pi * x) / np.log(2) / (1 + 4 * x**2),
        lambda n: 6.8 * n**0.5 + 7.1,
    ),
}


@dataclass
class KernelMap(Feature):
    """Approximate maps of kernels between histograms. For the inner product, follow with a linear classifier.

    The result contains 2 `order` + 1 blocks of D numbers for rows of D numbers. Classifiers that divide each feature
    by its standard deviation change the kernel, so `linear-svm` should have the common scaling.
    """

    kind: ClassVar[str] = "kernel-map"
    takes: ClassVar[tuple[Flow, ...]] = ("rows",)
    kernel: Literal["chi2", "intersection", "jensen-shannon"] = "chi2"
    order: Annotated[int, AtLeast(1), AtMost(32)] = 1  # n; each number becomes 2 n + 1 numbers
    period: Annotated[float, AtLeast(0)] = 0.0  # of the approximation, in log b - log a; 0: the one for the order

    @property
    def step(self) -> float:
        """Return L, the distance of two frequencies."""
        return float(2 * np.pi / (self.period or KERNELS[self.kernel].period(self.order)))

    @property
    def coefficients(self) -> Float64[np.ndarray, "_"]:
        """Return the squares of the factors of sqrt(a): that of the constant, then that of each frequency."""
        frequencies = self.step * np.arange(self.order + 1)
        found = self.step * np.asarray(KERNELS[self.kernel].spectrum(frequencies), np.float64)
        found[1:] *= 2
        return found

    def error_bound(self) -> float:
        """Return the largest error of a term, as a fraction of the larger of the two numbers."""
        waves = np.cos(self.step * np.outer(LOG_RATIOS, np.arange(self.order + 1)))
        errors = np.abs(waves @ self.coefficients - KERNELS[self.kernel].signature(LOG_RATIOS))
        return float((np.exp(-LOG_RATIOS / 2) * errors).max())

    def transform(self, x: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N E"]:
        """Return the mapped rows. Raise `UserError` for numbers that are negative or not finite."""
        rows = np.asarray(x, np.float32)
        check_histograms(rows, self.kind, "linear-svm without this part")
        images, width = rows.shape
        found = np.empty((images, 2 * self.order + 1, width), np.float32)
        constant, *factors = np.sqrt(self.coefficients).astype(np.float32)
        roots = np.sqrt(rows)
        phases = np.float32(self.step) * np.log(np.where(rows > 0, rows, np.float32(1)))
        np.multiply(roots, constant, out=found[:, 0])
        for j, factor in enumerate(factors, 1):
            np.multiply(np.cos(j * phases), factor * roots, out=found[:, 2 * j - 1])
            np.multiply(np.sin(j * phases), factor * roots, out=found[:, 2 * j])
        return found.reshape(images, (2 * self.order + 1) * width)


PARTS = {"kernel-map": KernelMap}
