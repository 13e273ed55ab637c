"""Scores and the probabilities that they represent.

Under the link "softmax", scores are unnormalised log-probabilities, and the probabilities of the classes add up to 1.
Under "sigmoid", scores are logits, and each class has an independent probability.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from imclass.core.errors import UserError
from imclass.core.targets import Link

ClassProbabilities = list[tuple[str, float]]  # pairs of a class and its probability


def posterior(scores: Float[Tensor, "N K *positions"], link: Link = "softmax") -> Float64[Tensor, "N K *positions"]:
    """Return the probabilities of the K classes for each image or, if the scores are maps, for each position."""
    return scores.double().sigmoid() if link == "sigmoid" else scores.double().softmax(1)


def scores_of(posteriors: Float64[Tensor, "N K"], link: Link = "softmax") -> Float64[Tensor, "N K"]:
    """Return the scores that represent the given probabilities.

    A probability of 0 is replaced by the smallest normal float64, about exp(-708), so that every score is finite.
    """
    lowest = torch.finfo(torch.float64).tiny
    if link == "softmax":
        return posteriors.clamp_min(lowest).log()
    highest = 1 - torch.finfo(torch.float64).eps / 2  # the largest number below 1, whose logit is finite
    return posteriors.clamp(lowest, highest).logit()


def check_finite(scores: Float[Tensor, "N K *positions"]) -> None:
    """Raise a `UserError` if a score is not finite."""
    if not torch.isfinite(scores).all():
        raise UserError(
            "the model's scores are not finite: training diverged or the weights are damaged. Train again with a "
            "lower learning rate, or use another model"
        )


def top_classes(
    scores: Float[Tensor, "N K"], classes: Sequence[str], top: Any, link: Link = "softmax"
) -> list[ClassProbabilities]:
    """Return the `top` most probable classes for each row of scores, with their probabilities in descending order.

    If there are fewer classes than `top`, return all of them.
    """
    if not isinstance(top, int | np.integer) or top < 1:
        raise UserError(f"top is {top!r}; it must be a whole number of classes, at least 1")
    found = posterior(scores, link).float().topk(min(int(top), len(classes)), dim=1)
    return [
        [(classes[k], p) for p, k in zip(values, indices, strict=True)]
        for values, indices in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]
