"""Labels of images, which can be indexed and joined to other classes."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

Link: TypeAlias = Literal["softmax", "sigmoid"]  # from scores to probabilities: of one class, or of each by itself


@dataclass(frozen=True, eq=False)
class OneOf:
    """One class for each image. `labels` are positions in the classes: a numpy array or, for a loss, a tensor."""

    labels: Int64[np.ndarray, "N"] | Int64[Tensor, "N"]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> "OneOf":
        """Return the targets of the images at these positions."""
        return OneOf(self.labels[chosen])

    def join(self, ranks: Int64[np.ndarray, "K"]) -> "OneOf":
        """Return the targets over other classes, in which class k is class `ranks[k]`."""
        return OneOf(ranks[self.labels])

    def numpy(self) -> Int64[np.ndarray, "N"]:
        """Return the labels as an array, as a data set holds them."""
        return np.asarray(self.labels)

    def on(self, device: str | torch.device) -> "OneOf":
        """Return the labels as a tensor on a device, as a loss takes them."""
        return OneOf(torch.as_tensor(self.labels).to(device))

    def correct(self, scores: Float[Tensor, "N K"]) -> int:
        """Return how many images have their highest score at their label; the labels are on the scores' device."""
        return int(scores.argmax(1).eq(torch.as_tensor(self.labels)).sum())
