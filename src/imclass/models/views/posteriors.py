"""Posteriors averaged over views, maps, mirrors and scales.

A `Look` is one way of looking at rescaled images. A protocol is some scales and some looks; each image is rescaled once
a scale, whatever the looks and their crops.
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

WINDOW_BYTES = 64 * 2**20  # bytes of rescaled images held at a time

ViewScorer: TypeAlias = Callable[
    [NetworkBacked, ImageSequence], Float64[Tensor, "N K"]
]  # posteriors of rescaled images
CropRule: TypeAlias = Callable[[int, int, int], Sequence[CropSquare]]  # of height, width and native size


def mirror_mean(posteriors: Callable[[Tensor], Tensor], batch: ViewBatch) -> Float64[Tensor, "N K"]:
    """The mean of the posteriors of views and of their mirrors."""
    return (posteriors(batch) + posteriors(batch.flip(3))) / 2


def score_over_scales(
    classifier: NetworkBacked, images: ImageSequence, scales: Sequence[int], looks: Sequence[ViewScorer]
) -> Float[Tensor, "N K"]:
    """Return the log of the posteriors' mean over scales and looks; no images give no rows."""
    total = torch.zeros(len(images), len(classifier.classes), dtype=torch.float64)
    for q in scales:
        for owners, window in split_by_bytes(rescale_images(images, classifier.preprocess, q), WINDOW_BYTES):
            for look in looks:
                total[owners] += look(classifier, window)
    return scores_of(total / (len(scales) * len(looks)), classifier.link).float()


def check_maps(classifier: NetworkBacked, side: int, looks: Sequence[ViewScorer]) -> None:
    """Raise the `UserError` of a network that cannot be applied to whole images, by trying one black image."""
    black = np.zeros((side, side, classifier.preprocess.w_in), np.uint8)
    for look in looks:
        if isinstance(look, ClassMaps):  # crops have the native size, which every network takes
            look(classifier, [black])


def rescale_images(images: ImageSequence, preprocess: Preprocess, q: int) -> Iterator[IndexedImage]:
    """Each image with its shorter side at `q` pixels, in the network's colours, resized as the preprocess does it."""
    rule = replace(preprocess, resize="shorter", scale=q)
    for i, image in enumerate(images):
        yield i, rule.apply_resize(rule.convert_colour(rule.limit_aspect(image)))


@dataclass(frozen=True)
class Crops:
    """The look at squares of an image and their mirrors: the mean of the posteriors."""

    boxes: CropRule

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float64[Tensor, "N K"]:
        """Crops are batched across images."""
        total = torch.zeros(len(images), len(classifier.classes), dtype=torch.float64)
        size, link = classifier.preprocess.size, classifier.link
        for owners, views in split_by_bytes(self.views(images, classifier.preprocess)):
            found = mirror_mean(lambda batch: posterior(classifier.scores(batch), link), to_batch(np.stack(views)))
            total.index_add_(0, torch.tensor(owners), found)
        return total / len(self.boxes(size, size, size))

    def views(self, images: ImageSequence, preprocess: Preprocess) -> Iterator[IndexedImage]:
        """The crops at the native size, not mirrored, image by image."""
        for i, image in enumerate(images):
            height, width = image.shape[:2]
            for box in self.boxes(height, width, preprocess.size):
                yield i, crop_view(image, box, preprocess)


def crop_view(image: Image, box: CropSquare, preprocess: Preprocess) -> Image:
    """A square of an image at the native size."""
    crop = image[box.top : box.top + box.side, box.left : box.left + box.side]
    return preprocess.to(crop, preprocess.size, preprocess.size)


@dataclass(frozen=True)
class ClassMaps:
    """The look at the class map of a whole image and of its mirror; `reduce` makes probabilities, N K, of N K h w."""

    reduce: Callable[[Tensor, Link], Tensor]

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float64[Tensor, "N K"]:
        """Images of one shape go together; none is padded."""
        total = torch.zeros(len(images), len(classifier.classes), dtype=torch.float64)
        for owners, batch in batch_by_shape(images):
            total[owners] = mirror_mean(lambda views: self.reduce(classifier.dense(views), classifier.link), batch)
        return total


def mean_of_scores(maps: Float[Tensor, "N K h w"], link: Link = "softmax") -> Float64[Tensor, "N K"]:
    """The posterior of the spatial mean of the class scores (Simonyan and Zisserman 2015, section 3.2)."""
    return posterior(maps.double().mean((2, 3)), link)


def highest_posterior(maps: Float[Tensor, "N K h w"], link: Link = "softmax") -> Float64[Tensor, "N K"]:
    """Each class's highest posterior over all positions (Sermanet et al. 2014, section 3.3); they sum to 1 or more."""
    return posterior(maps, link).amax((2, 3))


@dataclass(frozen=True)
class MeanPosterior:
    """A protocol: the mean of the posteriors over scales, looks and mirrors."""

    name: str
    scorers: tuple[ViewScorer, ...]
    scales: tuple[int, ...] = ()  # Q, pixels; none: those of the paper, or the one that the model was trained with
    paper: tuple[int, ...] = ()  # Q of the paper, for networks of `native` pixels; for others in proportion
    native: int = 224
    about: str = ""  # a line for people, with the paper

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the sides in pixels to which the shorter side of an image is rescaled."""
        return (
            self.scales
            or proportional_scales(self.paper, self.native, preprocess.size)
            or (training_scale(preprocess),)
        )

    def check(self, classifier: NetworkBacked) -> None:
        """Raise `UserError` for a Q below the native size, or a network that takes its native size alone."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(self.name, sides, classifier.preprocess)
        check_maps(classifier, min(sides), self.scorers)

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return log-scores of uint8 H W C images of any sizes; raise `UserError` for a Q below the native size."""
        sides = self.scales_for(classifier.preprocess)
        check_scales(self.name, sides, classifier.preprocess)
        return score_over_scales(classifier, images, sides, self.scorers)
