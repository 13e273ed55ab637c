"""The map of a class: its probability at each position of the image (Fleuret, lecture EE-559 7.2).

The network is applied to the enlarged image as a convolution, which computes the scores of all crops of its input size
in one pass (Sermanet et al., OverFeat, ICLR 2014, section 3.5). Crops lie one final stride apart. A network with
padded convolutions sees the neighbours of an inner crop where it would see zeros if the crop were an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imclass.core.contracts import Image, NetworkBacked
from imclass.core.errors import UserError
from imclass.core.preprocess import Box, Preprocess
from imclass.evaluation.explanation import ClassMap
from imclass.models.analysis.flow import flow
from imclass.models.analysis.geometry import last_field
from imclass.models.scores import check_finite, posterior
from imclass.models.views.batches import to_batch
from imclass.models.views.posteriors import ClassMaps, check_maps, mean_of_scores, rescale_images
from imclass.models.views.scales import check_scales


@dataclass(frozen=True)
class ScoreMap:
    """The probability of the class in each crop of the network's input size, drawn at the centre of the crop.

    By default, the shorter side of the image is twice as long as the network's input.
    """

    name: str = "map"

    def scales_for(self, preprocess: Preprocess, scales: Sequence[int]) -> Sequence[int]:
        """Return the shorter sides to which the image is resized."""
        return scales or (2 * preprocess.size,)

    def check(self, classifier: NetworkBacked, scales: Sequence[int]) -> None:
        """Raise `UserError` for a scale below the input size, or for a network that accepts only its input size."""
        sides = self.scales_for(classifier.preprocess, scales)
        check_scales(f"method {self.name}", sides, classifier.preprocess)
        check_maps(classifier, min(sides), (ClassMaps(mean_of_scores),))
        try:
            last_field(flow(classifier.network))
        except ValueError:
            raise UserError(f"method {self.name}: {classifier.name} has no maps before its head") from None

    def __call__(
        self, classifier: NetworkBacked, image: Image, label: int, scales: Sequence[int]
    ) -> tuple[ClassMap, ...]:
        """Return a map for each scale."""
        strides = tuple(axis.jump for axis in last_field(flow(classifier.network)))
        return tuple(
            map_at_scale(classifier, image, label, q, strides) for q in self.scales_for(classifier.preprocess, scales)
        )


def map_at_scale(classifier: NetworkBacked, image: Image, label: int, scale: int, strides: Sequence[int]) -> ClassMap:
    """Return the map of a class for an image whose shorter side is resized to `scale` pixels.

    `strides` are the distances between neighbouring positions along height and width, in pixels of the resized image.
    """
    [(_, view)] = rescale_images([image], classifier.preprocess, scale)
    scores = classifier.dense(to_batch(view[None]))
    check_finite(scores)
    values = posterior(scores, classifier.link)[0, label].numpy()
    size = classifier.preprocess.size
    row, column = np.unravel_index(values.argmax(), values.shape)
    top, left = float(row * strides[0]), float(column * strides[1])
    first = [(size - stride) / 2 for stride in strides]  # where the cell of the first position begins
    bottom, right = (start + stride * n for start, stride, n in zip(first, strides, values.shape, strict=True))
    boxes = ((first[1], first[0], right, bottom), (left, top, left + size, top + size))
    box, window = (box_in_image(each, view, image, classifier.preprocess) for each in boxes)
    return ClassMap(values, box, window, scale)


def box_in_image(box: Box, view: Image, image: Image, preprocess: Preprocess) -> Box:
    """Convert a box in the resized image to pixels of the image, which was cropped first if it is very long."""
    part = replace(preprocess, resize="shorter").limit_aspect(image).shape
    top, left = ((whole - kept) // 2 for whole, kept in zip(image.shape[:2], part, strict=False))
    down, across = part[0] / view.shape[0], part[1] / view.shape[1]
    x0, y0, x1, y1 = box
    return left + x0 * across, top + y0 * down, left + x1 * across, top + y1 * down


EXPLANATIONS = {"map": ScoreMap()}
