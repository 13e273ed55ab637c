"""Posteriors (the probabilities of an image's classes) averaged over views, maps, flips and scales.

A `ViewScorer` scores rescaled images in one way, by crops or by class maps. A protocol combines scales and scorers.
Each image is rescaled once per scale, for all scorers and their crops.
"""
# Tested in tests/evaluation/protocols/test_dense.py
# Tested in tests/evaluation/protocols/test_multicrop.py

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from imclass.core.contracts import Image, NetworkBacked
from imclass.core.preprocess import Preprocess
from imclass.core.targets import Link
from imclass.models.scores import posterior, scores_of
from imclass.models.views.batches import (
    ImageSequence,
    IndexedImage,
    ViewBatch,
    batch_by_shape,
    split_by_bytes,
    to_batch,
)
from imclass.models.views.crops import CropSquare
from imclass.models.views.scales import check_scales, proportional_scales, training_scale

WINDOW_BYTES = 64 * 2**20  # bytes of rescaled images in memory at a time

# Maps a classifier and rescaled images to posteriors.
ViewScorer: TypeAlias = Callable[[NetworkBacked, ImageSequence], Float64[Tensor, "N K"]]
# Maps height, width and native size to the squares of an image.
CropRule: TypeAlias = Callable[[int, int, int], Sequence[CropSquare]]


def mirror_mean(posteriors: Callable[[Tensor], Tensor], batch: ViewBatch) -> Float64[Tensor, "N K"]:
    """Return, for each view, the mean of its posterior and that of its horizontal flip."""
    return (posteriors(batch) + posteriors(batch.flip(3))) / 2


def score_over_scales(
    classifier: NetworkBacked, images: ImageSequence, scales: Sequence[int], scorers: Sequence[ViewScorer]
) -> Float[Tensor, "N K"]:
    """Return each image's mean posterior over scales and scorers, as scores.

    If there are no images, return an empty tensor.
    """
    total = torch.zeros(len(images), len(classifier.classes), dtype=torch.float64)
    for q in scales:
        for owners, window in split_by_bytes(rescale_images(images, classifier.preprocess, q), WINDOW_BYTES):
            for scorer in scorers:
                total[owners] += scorer(classifier, window)
    return scores_of(total / (len(scales) * len(scorers)), classifier.link).float()


def check_maps(classifier: NetworkBacked, side: int, scorers: Sequence[ViewScorer]) -> None:
    """Score one black image, and raise a `UserError` if the network cannot be applied to whole images."""
    black = np.zeros((side, side, classifier.preprocess.w_in), np.uint8)
    for scorer in scorers:
        if isinstance(scorer, ClassMaps):  # crops have the native size, which every network accepts
            scorer(classifier, [black])


def rescale_images(images: ImageSequence, preprocess: Preprocess, q: int) -> Iterator[IndexedImage]:
    """Yield each image, rescaled so that its shorter side is `q` pixels. `preprocess` converts the colours."""
    rule = replace(preprocess, resize="shorter", scale=q)
    for i, image in enumerate(images):
        yield i, rule.apply_resize(rule.convert_colour(rule.limit_aspect(image)))


@dataclass(frozen=True)
class Crops:
    """A `ViewScorer` that averages the posteriors of squares of an image and of their horizontal flips."""

    boxes: CropRule

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float64[Tensor, "N K"]:
        """Return the mean posteriors. Crops of different images share batches."""
        total = torch.zeros(len(images), len(classifier.classes), dtype=torch.float64)
        size, link = classifier.preprocess.size, classifier.link
        for owners, views in split_by_bytes(self.views(images, classifier.preprocess)):
            found = mirror_mean(lambda batch: posterior(classifier.scores(batch), link), to_batch(np.stack(views)))
            total.index_add_(0, torch.tensor(owners), found)
        return total / len(self.boxes(size, size, size))

    def views(self, images: ImageSequence, preprocess: Preprocess) -> Iterator[IndexedImage]:
        """Yield the crops of each image in turn, resized to the native size but not flipped."""
        for i, image in enumerate(images):
            height, width = image.shape[:2]
            for box in self.boxes(height, width, preprocess.size):
                yield i, crop_view(image, box, preprocess)


def crop_view(image: Image, box: CropSquare, preprocess: Preprocess) -> Image:
    """Return a square of an image, resized to the native size."""
    crop = image[box.top : box.top + box.side, box.left : box.left + box.side]
    return preprocess.resize_to(crop, preprocess.size, preprocess.size)


@dataclass(frozen=True)
class ClassMaps:
    """A `ViewScorer` that averages the class maps of whole images and of their horizontal flips.

    `reduce` receives class maps (N K h w) and the link, and returns probabilities (N K).
    """

    reduce: Callable[[Tensor, Link], Tensor]

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float64[Tensor, "N K"]:
        """Return the mean posteriors. Images of the same shape share batches, so none is padded."""
        total = torch.zeros(len(images), len(classifier.classes), dtype=torch.float64)
        for owners, batch in batch_by_shape(images):
            total[owners] = mirror_mean(lambda views: self.reduce(classifier.dense(views), classifier.link), batch)
        return total


def mean_of_scores(maps: Float[Tensor, "N K h w"], link: Link = "softmax") -> Float64[Tensor, "N K"]:
    """Return the posterior of the spatial mean of the class scores (Simonyan and Zisserman 2015, section 3.2)."""
    return posterior(maps.double().mean((2, 3)), link)


def highest_posterior(maps: Float[Tensor, "N K h w"], link: Link = "softmax") -> Float64[Tensor, "N K"]:
    """Return each class's highest posterior over all positions (Sermanet et al. 2014, section 3.3).

    If `link` is "softmax", these posteriors sum to 1 or more.
    """
    return posterior(maps, link).amax((2, 3))


@dataclass(frozen=True)
class MeanPosterior:
    """A protocol that averages posteriors over scales, scorers and horizontal flips."""

    name: str
    scorers: tuple[ViewScorer, ...]
    scales: tuple[int, ...] = ()  # Q in pixels; if empty, `paper`; if that is also empty, the Q of training
    paper: tuple[int, ...] = ()  # the paper's Q for networks of `native` pixels; scaled in proportion for other sizes
    native: int = 224
    about: str = ""  # a one-line description that cites the paper

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the scales Q: the lengths in pixels to which the shorter side of an image is rescaled."""
        return (
            self.scales
            or proportional_scales(self.paper, self.native, preprocess.size)
            or (training_scale(preprocess),)
        )

    def check(self, classifier: NetworkBacked) -> None:
        """Raise a `UserError` for a Q below the native size, or for a network that accepts only its native size."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(f"protocol {self.name}", sides, classifier.preprocess)
        check_maps(classifier, min(sides), self.scorers)

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return the scores of uint8 H W C images of any size. Raise a `UserError` for a Q below the native size."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(f"protocol {self.name}", sides, classifier.preprocess)
        return score_over_scales(classifier, images, sides, self.scorers)
