"""Log-scores and the posteriors that they stand for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from imclass.core.errors import UserError


def posterior(scores: Float[Tensor, "N K *positions"]) -> Float64[Tensor, "N K *positions"]:
    """Return the softmax of log-scores over the K classes, of each image or each position of its map."""
    return scores.double().softmax(1)


def log_scores(posteriors: Float64[Tensor, "N K"]) -> Float[Tensor, "N K"]:
    """The log of posteriors; 0, which has none, counts as the smallest positive number, about exp(-708)."""
    return posteriors.clamp_min(torch.finfo(torch.float64).tiny).log().float()


def best(scores: Float[Tensor, "N K"], classes: Sequence[str], top: Any) -> list[list[tuple[str, float]]]:
    """The `top` classes (all, where there are fewer) of each row of log-scores with their probabilities, best first."""
    if not isinstance(top, int | np.integer) or top < 1:
        raise UserError(f"top is {top!r}; it must be a whole number of classes, at least 1")
    found = posterior(scores).float().topk(min(int(top), len(classes)), dim=1)
    return [
        [(classes[k], p) for p, k in zip(values, indices, strict=True)]
        for values, indices in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]
