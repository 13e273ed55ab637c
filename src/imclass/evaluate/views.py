"""From ragged images to one batch of views at the native size, and its scores: what every protocol ends in."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from imclass.core.contracts import ViewClassifier
from imclass.core.preprocess import Preprocess

# images H W C of any sizes: the axes have no names here, for a name would bind all images of a list to one size
Images: TypeAlias = Sequence[UInt8[np.ndarray, "_ _ _"]]


def to_batch(views: UInt8[np.ndarray, "N H W C"]) -> UInt8[Tensor, "N C H W"]:
    """Channels first, in memory of its own (the array may be read-only)."""
    return torch.from_numpy(views.transpose(0, 3, 1, 2).copy(order="C"))


def one_view(classifier: ViewClassifier, images: Images, preprocess: Preprocess) -> Float[Tensor, "N K"]:
    """Scores of the one view of each image that `preprocess` gives; no images give no rows."""
    if not images:
        return torch.zeros(0, len(classifier.classes))
    return classifier.scores(to_batch(np.stack([preprocess(image) for image in images])))
