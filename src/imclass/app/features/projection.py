"""Projection of features onto a plane, by principal components or t-SNE."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Float64, Int64

from imclass.core.errors import UserError, require

MAX_POINTS = 5000  # images in a map; with more, t-SNE would take minutes, and points would hide each other
MIN_POINTS = 3
PERPLEXITY = 30.0  # the effective number of neighbours in t-SNE; reduced if there are few images
Method: TypeAlias = Literal["pca", "tsne"]


@dataclass(frozen=True, eq=False)
class Projection:
    """Points in a plane, one for each image that is shown."""

    points: Float64[np.ndarray, "n 2"]
    positions: Int64[np.ndarray, "n"]  # of the shown images among all
    total: int  # images, including those that are not shown
    method: str
    shares: tuple[float, ...] = ()  # of the variance, one for each of the two principal components; empty for t-SNE


def project(features: Float[np.ndarray, "N ..."], method: str) -> Projection:
    """Return a projection of at most `MAX_POINTS` images, which are evenly spaced among all.

    The same features always give the same result. Raise `UserError` for an unknown method, if there are too few images,
    or if all have the same features.
    """
    require(method in get_args(Method), "method", repr(method), " or ".join(get_args(Method)))
    total = len(features)
    check_points(total, features.shape[1:])
    positions = np.unique(np.linspace(0, total - 1, min(total, MAX_POINTS)).round().astype(np.int64))
    rows = np.asarray(features[positions], np.float64)
    if not np.ptp(rows, axis=0).any():
        raise UserError("all images have the same features, so they cannot be drawn as a map; choose other images")
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(rows)
        return Projection(points.astype(np.float64), positions, total, method)
    from sklearn.decomposition import PCA

    found = PCA(2, random_state=0)
    points = found.fit_transform(rows)
    return Projection(points, positions, total, method, tuple(found.explained_variance_ratio_.tolist()))


def check_points(images: int | None, shape: tuple[int, ...]) -> None:
    """Raise `UserError` if there are too few images for a map, or if their features are not rows of numbers.

    `images` is the number of images, or None if it is not known. `shape` is the shape of the features of one image.
    """
    if images is not None and images < MIN_POINTS:
        raise UserError(f"a map needs at least {MIN_POINTS} images, but there are {images}; pass more images")
    if len(shape) != 1 or shape[0] < 2:
        numbers = " x ".join(map(str, shape)) or "1"
        raise UserError(
            f"a map needs a list of numbers per image, but the layer returns {numbers}; choose the layer penultimate"
        )
