"""Protocols for CIFAR-sized images: an image, its horizontal flip, and both shifted by one pixel.

These are levels 1 and 2 of airbench's test-time augmentation (Keller Jordan, arXiv:2404.00498), which averages scores,
not probabilities. The flip and the shifts are applied to the view that the network's `preprocess` returns. A shift
fills the border by reflection, without repeating the edge pixel.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import NetworkBacked
from imclass.core.preprocess import Preprocess
from imclass.models.views.batches import ImageSequence, ViewBatch, score_one_view


@dataclass(frozen=True)
class MirrorMean:
    """The mean of the scores for an image's view and for the horizontal flip of that view."""

    name: str = "flip"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return no scales, because the view is produced by the network's `preprocess`."""
        return ()

    def check(self, classifier: NetworkBacked) -> None:
        """Accept every network."""

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return the scores of uint8 H W C images."""
        return score_one_view(classifier, images, classifier.preprocess, lambda views: mirror_scores(classifier, views))


@dataclass(frozen=True)
class Shift6:
    """Six views: unshifted, shifted one pixel up and left, and shifted one pixel down and right, each also flipped.

    The unshifted pair has weight 1/2, the other pairs 1/4 each. The view is shifted first and then flipped.
    """

    name: str = "shift6"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return no scales, because the view is produced by the network's `preprocess`."""
        return ()

    def check(self, classifier: NetworkBacked) -> None:
        """Accept every network."""

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return the scores of uint8 H W C images."""

        def score(views: Tensor) -> Tensor:
            moved = mirror_scores(classifier, shift_views(views, 1)) + mirror_scores(classifier, shift_views(views, -1))
            return mirror_scores(classifier, views) / 2 + moved / 4

        return score_one_view(classifier, images, classifier.preprocess, score)


def mirror_scores(classifier: NetworkBacked, views: ViewBatch) -> Float[Tensor, "N K"]:
    """Return the scores of the views, averaged with the scores of their horizontal flips."""
    return (classifier.scores(views) + classifier.scores(views.flip(3))) / 2


def shift_views(views: ViewBatch, by: int) -> ViewBatch:
    """Shift views up and left by `by` pixels, or down and right if `by` is negative. Reflection fills the borders."""
    rows, columns = (reflect_positions(torch.arange(by, side + by), side) for side in views.shape[2:])
    return views[:, :, rows][:, :, :, columns]


def reflect_positions(at: Tensor, side: int) -> Tensor:
    """Reflect positions outside the range 0 ... side - 1 back into it, about the first or last position."""
    return side - 1 - (side - 1 - at.abs()).abs()


PROTOCOLS = {"flip": MirrorMean(), "shift6": Shift6()}
