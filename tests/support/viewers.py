"""Helpers for tests of protocols: images of many sizes, and classifiers that record their views."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional

from imclass.core.preprocess import Preprocess
from imclass.core.targets import Link
from imclass.models.views.batches import score_one_view
from tests.support.stubs import StubNetwork


def ragged_images(*shapes: tuple[int, int, int]) -> list[np.ndarray]:
    """Return images of these shapes, made of 5 x 5 coloured fields and noise.

    The fields make rescaled images differ, and the noise makes all views distinct.
    """
    random, images = np.random.default_rng(0), []
    for height, width, channels in shapes:
        fields = random.integers(0, 192, (5, 5, channels), np.uint8)
        image = fields[np.arange(height) * 5 // height][:, np.arange(width) * 5 // width]
        images.append(image + random.integers(0, 64, image.shape, np.uint8))
    return images


@dataclass(frozen=True)
class Linear(StubNetwork):
    """A classifier whose scores are a fixed random linear function of the view, computed in float64.

    `dense` returns them at every second pixel of a larger image.
    """

    preprocess: Preprocess
    classes: tuple[str, ...] = ("a", "b", "c")
    gain: float = 1.0
    seen: list[torch.Tensor] = field(default_factory=list)
    link: Link = "softmax"

    @cached_property
    def weights(self) -> torch.Tensor:
        random = np.random.default_rng(1)
        shape = (len(self.classes), self.preprocess.w_in, self.preprocess.size, self.preprocess.size)
        return torch.from_numpy(random.normal(size=shape)) * self.gain / 255 / self.preprocess.size

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == self.weights.shape[1:], images.shape
        self.seen.append(images)
        return (images.double().flatten(1) @ self.weights.flatten(1).T).float()

    def dense(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return functional.conv2d(images.double(), self.weights, stride=2).float()

    def classify(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        return score_one_view(self, images, self.preprocess)


@dataclass(frozen=True)
class Constant(StubNetwork):
    """A classifier with the same scores for all images."""

    preprocess: Preprocess
    value: tuple[float, ...] = (1.0, -2.0, 0.5)
    classes: tuple[str, ...] = ("a", "b", "c")
    link: Link = "softmax"

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.value).expand(len(images), -1)

    def dense(self, images: torch.Tensor) -> torch.Tensor:
        height, width = (side - self.preprocess.size + 1 for side in images.shape[2:])
        return self.scores(images)[:, :, None, None].expand(-1, -1, height, width)

    def classify(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        return score_one_view(self, images, self.preprocess)


def views(classifier: Linear) -> list[bytes]:
    """Return all views that a classifier has scored, in an order that depends on their pixels only."""
    return sorted(view.numpy().tobytes() for batch in classifier.seen for view in batch)
