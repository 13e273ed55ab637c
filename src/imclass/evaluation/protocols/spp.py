"""Windows at six scales and the whole image, for networks with a spatial pyramid (He et al., ECCV 2014, section 3.1.5).

At each scale, nine windows of the native size are scored with their horizontal flips: the corners, the centre and the
middle of each side. At the smallest scale, which is the native size, only three of them differ. With the whole image at
a shorter side of 256 pixels, these are the paper's 96 + 2 views. Here the windows are cropped from the image. The paper
cuts them from the maps, which changes its top-5 error by at most 0.1%.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from imclass.core.contracts import NetworkBacked
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.models.layers.pyramid import SpatialPyramid
from imclass.models.scores import scores_of
from imclass.models.views.batches import ImageSequence, split_by_bytes
from imclass.models.views.crops import edge_crops
from imclass.models.views.posteriors import (
    WINDOW_BYTES,
    ClassMaps,
    Crops,
    ViewScorer,
    mean_of_scores,
    rescale_images,
)
from imclass.models.views.scales import check_scales, proportional_scales

NATIVE = 224  # pixels; the scales below are for networks of this size
SCALES, WHOLE = (224, 256, 300, 360, 448, 560), 256
WINDOWS, WHOLE_IMAGE = Crops(edge_crops), ClassMaps(mean_of_scores)


@dataclass(frozen=True)
class SpatialPyramidViews:
    """Nine windows at six scales and the whole image, with flips: 96 + 2 views (He et al., ECCV 2014, section 3.1.5).

    The scales are those of networks for 224 pixels. For others they are in proportion.
    """

    scales: tuple[int, ...] = ()
    name: str = "spp"

    def scales_for(self, preprocess: Preprocess) -> tuple[int, ...]:
        """Return the lengths in pixels to which the shorter side of an image is rescaled for the windows."""
        return self.scales or proportional_scales(SCALES, NATIVE, preprocess.size)

    def check(self, classifier: NetworkBacked) -> None:
        """Raise a `UserError` for a Q below the native size, or for a network without a spatial pyramid."""
        check_scales(f"protocol {self.name}", self.scales_for(classifier.preprocess), classifier.preprocess)
        pool_whole_maps(classifier)

    def __call__(self, classifier: NetworkBacked, images: ImageSequence) -> Float[Tensor, "N K"]:
        """Return the log-scores of uint8 H W C images. Raise a `UserError` as `check` does."""
        preprocess, sides = classifier.preprocess, self.scales_for(classifier.preprocess)
        check_scales(f"protocol {self.name}", sides, preprocess)
        (whole,) = proportional_scales((WHOLE,), NATIVE, preprocess.size)
        parts: list[tuple[NetworkBacked, ViewScorer, int, int]] = [  # the last two: scale and number of views
            (classifier, WINDOWS, q, 6 if q == preprocess.size else 18) for q in sides
        ]
        parts.append((pool_whole_maps(classifier), WHOLE_IMAGE, whole, 2))
        total = torch.zeros(len(images), len(classifier.classes), dtype=torch.float64)
        for member, scorer, q, views in parts:
            for owners, window in split_by_bytes(rescale_images(images, preprocess, q), WINDOW_BYTES):
                total[owners] += views * scorer(member, window)
        return scores_of(total / sum(views for *_, views in parts), classifier.link).float()


def pool_whole_maps(classifier: NetworkBacked) -> NetworkBacked:
    """Return a copy of a classifier whose `dense` pools the whole maps by the network's spatial pyramid.

    Raise a `UserError` if the network does not have one.
    """
    network = copy.deepcopy(classifier.network)
    pyramids = [layer for layer in network.head if isinstance(layer, SpatialPyramid)]
    if not pyramids:
        raise UserError(
            f"protocol spp: {classifier.name} has no spatial pyramid, so it has no scores for a whole image. Use a "
            "network such as spp-zf-5, or another protocol, such as dense"
        )
    for layer in pyramids:
        layer.side = None
    return classifier.with_network(network)


PROTOCOLS = {"spp": SpatialPyramidViews()}
