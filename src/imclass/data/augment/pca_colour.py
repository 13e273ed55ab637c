"""Random shifts of an image's colours along the principal axes of all training colours."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from imclass.core.bounds import AtLeast, AtMost
from imclass.core.config import Augment
from imclass.core.errors import UserError
from imclass.core.randomness import Draws
from imclass.data.augment.colour import picture_of, view_of
from imclass.data.augment.window import PixelArray

BLOCK = 1 << 16  # pixels at a time; sums of their products are exact in float64


@dataclass(frozen=True)
class PcaColour(Augment):
    """A random shift that is added to all pixels of an image (Krizhevsky et al., NIPS 2012, section 4.1).

    The shift is the sum of the eigenvectors p_i of the covariance of all training pixels, each multiplied by its
    eigenvalue and by a random factor alpha_i. The factors are normally distributed around 0, and are drawn once each
    time an image is used. An eigenvalue is a variance, so it depends on the unit of the pixels. Here, as in later
    implementations of the paper, pixels are in [0, 1].
    """

    kind: ClassVar[str] = "pca-colour"
    deviation: Annotated[float, AtLeast(0), AtMost(10)] = 0.1  # standard deviation of the factors alpha; 0: no shift

    def measure(self, views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> Float32[np.ndarray, "C C"]:
        """Return the eigenvectors of the covariance of all pixels, one in each row, multiplied by their eigenvalues."""
        return scaled_eigenvectors(pixel_covariance(views))

    def with_measured(self, measured: Float32[np.ndarray, "C C"]) -> "MeasuredPcaColour":
        """Return a copy that uses the result of `measure`."""
        return MeasuredPcaColour(self.deviation, measured=measured)

    def colour(self, view: PixelArray, draws: Draws, id: int) -> PixelArray:
        """Raise `TypeError`, because only the result of `with_measured` has the eigenvectors."""
        raise TypeError("pca-colour has no eigenvectors; call `with_measured` first")


@dataclass(frozen=True, eq=False)
class MeasuredPcaColour(PcaColour):
    """The same augmentation with the scaled eigenvectors of the training pixels."""

    measured: Float32[np.ndarray, "C C"] = field(kw_only=True)

    def colour(self, view: PixelArray, draws: Draws, id: int) -> PixelArray:
        """Return the view with the same shift added to all pixels, clipped to the range from 0 to 255."""
        ids, normal = np.array([id]), NormalDist()
        # The lowest draw is 0, where the inverse of the distribution function is infinite.
        draw = [max(draws.uniform(ids, f"alpha.{i}").item(), 2.0**-54) for i in range(len(self.measured))]
        alpha = np.array([self.deviation * normal.inv_cdf(share) for share in draw])
        # Pixels are whole numbers, so adding the rounded shift equals rounding the sum.
        shift = np.rint(255 * (alpha @ self.measured.astype(np.float64)))
        table = np.clip(np.arange(256) + shift[:, None], 0, 255).astype(np.uint8)  # new pixels by channel and old pixel
        return view_of(picture_of(view).point(table.ravel().tolist()))


def pixel_covariance(views: Iterable[UInt8[np.ndarray, "_ H W C"]]) -> Float64[np.ndarray, "C C"]:
    """Return the covariance of the channels over all pixels, scaled to [0, 1]. Raise `UserError` without pixels.

    All sums are whole numbers and exact, so the result does not depend on the order or the sizes of the arrays.
    """
    count = 0
    total, products = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    for array in views:
        pixels = array.reshape(-1, array.shape[-1])
        for at in range(0, len(pixels), BLOCK):
            block = pixels[at : at + BLOCK].T.astype(np.float64, order="C")
            total = total + block.sum(axis=1).astype(np.int64)
            products = products + (block @ block.T).astype(np.int64)
        count += len(pixels)
    if not count:
        raise UserError(
            "the colours of the training images cannot be computed, because none of them can be read; replace the "
            "images, or leave pca-colour out of --augment"
        )
    sums = total.astype(object)  # Python's integers, because the products below exceed 64 bits
    return np.array((products.astype(object) * count - np.outer(sums, sums)) / (255 * count) ** 2, np.float64)


def scaled_eigenvectors(covariance: Float64[np.ndarray, "C C"]) -> Float32[np.ndarray, "C C"]:
    """Return the eigenvectors, one in each row and multiplied by their eigenvalues, beginning with the largest.

    The sign of an eigenvector is arbitrary. Here its largest component is positive.
    """
    values, vectors = np.linalg.eigh(covariance)
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(len(values))])
    return np.ascontiguousarray((vectors * signs * values).T[::-1], np.float32)


AUGMENTS = {"pca-colour": PcaColour}
