"""Feature vectors of images: the input of a network's last layer, averaged over mirror images and scales.

This is the image descriptor of Simonyan and Zisserman (ICLR 2015), appendix B. The shorter side of an image is rescaled
to Q, the network is applied at every position, and the vectors are averaged over positions, over the image and its
mirror image, and over all values of Q. Instead of being averaged, the vectors for the values of Q may be joined. The
descriptor is then divided by its Euclidean length. Each of these steps is optional.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from imclass.core.contracts import NetworkBacked
from imclass.core.errors import UserError
from imclass.models.layers.heads import without_last_layer
from imclass.models.views.batches import (
    BATCH_BYTES,
    ImageSequence,
    ViewBatch,
    batch_by_shape,
    split_by_bytes,
    to_batch,
    views_per_batch,
)
from imclass.models.views.posteriors import WINDOW_BYTES, mirror_mean, rescale_images
from imclass.models.views.scales import check_scales

GPU_VIEWS = 256  # views of the native size that a GPU processes at a time
DENSE_IMAGES = 28  # images per batch if there are scales; a larger batch might take minutes

Combine: TypeAlias = Literal["average", "stack"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """A function from images of any size to their feature vectors.

    Without `scales`, the vectors are those of the view that the classifier's preprocessing produces. Otherwise, they
    are averages over all positions in whole images, whose shorter sides are rescaled to each of the scales. The vectors
    for the scales are averaged or, with `combine` "stack", joined in the order of the scales.
    """

    classifier: NetworkBacked
    scales: tuple[int, ...] = ()  # Q in pixels
    mirror: bool = False  # whether to average over an image and its mirror image
    normalise: bool = False  # whether to divide each vector by its Euclidean length; zeros stay zeros
    combine: Combine = "average"

    @cached_property
    def headless(self) -> NetworkBacked:
        """Return the classifier without its last layer."""
        return without_last_layer(self.classifier, dense=bool(self.scales))

    @property
    def width(self) -> int:
        """Return the length of a vector. Raise a `UserError` if the network cannot be applied at these scales."""
        stacked = len(self.scales) if self.combine == "stack" else 0
        return self.width_once * max(1, stacked)

    @cached_property
    def width_once(self) -> int:
        """Return the length of the vector for one scale."""
        preprocess = self.classifier.preprocess
        if self.scales and next(self.headless.network.parameters(), None) is None:
            raise UserError(f"{self.classifier.name} has no layer before its last one; leave out --scales")
        check_scales("--scales", self.scales, preprocess)
        side = min(self.scales, default=preprocess.size)
        return self.vectors(to_batch(np.zeros((1, side, side, preprocess.w_in), np.uint8))).shape[1]

    @property
    def batch(self) -> int:
        """Return the number of images to process at a time."""
        if self.scales:
            return DENSE_IMAGES
        on_gpu = self.classifier.network.mean.device.type != "cpu"
        return GPU_VIEWS if on_gpu else min(GPU_VIEWS, views_per_batch(self.classifier.preprocess))

    def __call__(self, images: ImageSequence) -> Float32[np.ndarray, "N D"]:
        """Return the feature vectors of uint8 H W C images of any size."""
        rows = (self.over_scales(images) if self.scales else self.of_views(images)).numpy()
        if self.normalise:
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.where(lengths > 0, lengths, 1)
        return rows.astype(np.float32)

    def of_views(self, images: ImageSequence) -> Float64[Tensor, "N D"]:
        """Return the vectors of the views that the preprocessing produces."""
        preprocess = self.classifier.preprocess
        most = max(BATCH_BYTES, self.batch * preprocess.size**2 * preprocess.w_in)
        views = ((i, preprocess(image)) for i, image in enumerate(images))
        rows = [self.vectors(to_batch(np.stack(several))) for _, several in split_by_bytes(views, most)]
        return torch.cat(rows)

    def over_scales(self, images: ImageSequence) -> Float64[Tensor, "N D"]:
        """Return the combined vectors of all scales. Images of the same shape share batches."""
        found = torch.zeros(len(self.scales), len(images), self.width_once, dtype=torch.float64)
        for s, q in enumerate(self.scales):
            for owners, window in split_by_bytes(rescale_images(images, self.classifier.preprocess, q), WINDOW_BYTES):
                for positions, batch in batch_by_shape(window):
                    found[s, [owners[i] for i in positions]] = self.vectors(batch)
        return torch.cat([*found], 1) if self.combine == "stack" else found.mean(0)

    def vectors(self, batch: ViewBatch) -> Float64[Tensor, "N D"]:
        """Return the vectors of a batch of images of the same size, averaged over positions and mirror images."""
        return mirror_mean(self.vectors_once, batch) if self.mirror else self.vectors_once(batch)

    def vectors_once(self, batch: ViewBatch) -> Float64[Tensor, "N D"]:
        """Return the vectors of a batch without its mirror images, averaged over positions."""
        if self.scales:
            return self.headless.dense(batch).double().mean((2, 3))
        return self.headless.scores(batch).double()
