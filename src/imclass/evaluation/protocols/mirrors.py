"""Views of CIFAR size: the image, its mirror, and both shifted by a pixel.

These are levels 1 and 2 of the test-time augmentation of airbench (Keller Jordan, arXiv:2404.00498), which averages
scores, not posteriors. The view is the network's own; a shift fills the border by reflection (the edge pixel itself is
not repeated).
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
    """The mean of the scores of the network's own view and of its mirror."""

    name: str = "flip"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return no Q: the view is the network's own."""
        return ()

    def check(self, classifier: NetworkBacked) -> None:
        """Accept every network."""

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image."""
        return score_one_view(classifier, images, classifier.preprocess, lambda views: mirror_scores(classifier, views))


@dataclass(frozen=True)
class Shift6:
    """Six views: as it is, shifted up and left, shifted down and right, by a pixel each, and the mirrors of the three.

    The pair that is not shifted weighs 1/2, each of the others 1/4. The image is shifted first and then mirrored.
    """

    name: str = "shift6"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return no Q: the view is the network's own."""
        return ()

    def check(self, classifier: NetworkBacked) -> None:
        """Accept every network."""

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Scores of each uint8 H W C image."""

        def score(views: Tensor) -> Tensor:
            moved = mirror_scores(classifier, shift_views(views, 1)) + mirror_scores(classifier, shift_views(views, -1))
            return mirror_scores(classifier, views) / 2 + moved / 4

        return score_one_view(classifier, images, classifier.preprocess, score)


def mirror_scores(classifier: NetworkBacked, views: ViewBatch) -> Float[Tensor, "N K"]:
    """The mean of the scores of views and of their mirrors."""
    return (classifier.scores(views) + classifier.scores(views.flip(3))) / 2


def shift_views(views: ViewBatch, by: int) -> ViewBatch:
    """Views moved `by` pixels up and left (negative: down and right), their borders filled by reflection."""
    rows, columns = (reflect_positions(torch.arange(by, side + by), side) for side in views.shape[2:])
    return views[:, :, rows][:, :, :, columns]


def reflect_positions(at: Tensor, side: int) -> Tensor:
    """Positions within reach of 0 ... side - 1, those outside mirrored at the first and the last."""
    return side - 1 - (side - 1 - at.abs()).abs()


PROTOCOLS = {"flip": MirrorMean(), "shift6": Shift6()}
