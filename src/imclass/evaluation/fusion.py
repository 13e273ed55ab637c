"""Fusion of several models' scores: the weighted mean of their probabilities, with given or fitted weights."""

# Tested in tests/evaluation/test_ensemble.py

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from imclass.core.classes import join_classes
from imclass.core.contracts import Evaluation
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf, Link
from imclass.core.text import list_names
from imclass.evaluation.measures.by_targets import with_scores
from imclass.evaluation.measures.single_label import IMAGES_PER_CHUNK, posterior_chunks
from imclass.models.scores import posterior, scores_of
from imclass.models.thresholds import probabilities

MAX_ROUNDS = 10_000  # the limit for `fit_weights`


def mean_posterior(
    scores: Sequence[Float[Tensor, "N K"]], weights: Sequence[float], temperature: float = 1.0, link: Link = "softmax"
) -> Float[Tensor, "N K"]:
    """Return the weighted mean of the probabilities as scores, divided by the temperature.

    The mean is computed in float64. The weights need not add up to 1. A class to which every member assigns probability
    0 keeps a finite score. With the "sigmoid" link, the mean probability of "no" is computed separately, not as 1 minus
    that of "yes". Otherwise, rounding would make probabilities near 1 equal, and their images could not be ranked.
    """
    check_weights(weights)
    shares = [weight / math.fsum(weights) for weight in weights]
    yes = weighted_sum([posterior(some, link) for some in scores], shares)
    if link == "softmax":
        return (scores_of(yes) / temperature).float()
    no = weighted_sum([posterior(-some, link) for some in scores], shares)
    return ((scores_of(yes) - scores_of(no)) / temperature).float()


def weighted_sum(chances: Sequence[Float64[Tensor, "N K"]], shares: Sequence[float]) -> Float64[Tensor, "N K"]:
    """Return the sum of the arrays of probabilities, weighted by `shares`."""
    total = torch.zeros_like(chances[0])
    for some, share in zip(chances, shares, strict=True):
        total += some * share
    return total


def check_weights(weights: Sequence[float]) -> None:
    """Raise `UserError` if a weight is negative or not finite, or if all weights are 0."""
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        shown = ", ".join(f"{weight:g}" for weight in weights)
        raise UserError(f"the ensemble's weights are {shown}; none may be below 0, and at least one must be above 0")


def check_links(links: Sequence[Link]) -> None:
    """Raise `UserError` if some members predict one label per image and others predict any number."""
    if len(set(links)) > 1:
        raise UserError(
            f"members 1 and {links.index('softmax' if links[0] == 'sigmoid' else 'sigmoid') + 1} of an ensemble "
            "have different links: one predicts a single class for each image, the other any number of classes; "
            "fuse models with the same link"
        )


def join_members(classes: Sequence[tuple[str, ...]]) -> list[Int64[Tensor, "K"]]:
    """Return the positions of the first member's classes in each member's list of classes.

    Raise `UserError` unless all members have the same class names.
    """
    orders = []
    for i, names in enumerate(classes, 1):
        try:
            orders.append(torch.from_numpy(join_classes(classes[0], names)))
        except UserError:
            first, other = [c for c in classes[0] if c not in names], [c for c in names if c not in classes[0]]
            raise UserError(
                f"members 1 and {i} of an ensemble have different classes (only in member 1: "
                f"{list_names(first) or 'none'}; only in member {i}: {list_names(other) or 'none'}); "
                "fuse models with the same classes"
            ) from None
    return orders


def fuse(evaluations: Sequence[Evaluation], weights: Sequence[float], temperature: float = 1.0) -> Evaluation:
    """Return the evaluation of an `Ensemble`, computed from its members' scores without running a model.

    Raise `UserError` unless the evaluations have the same images, labels and class names.
    """
    first, orders = evaluations[0], join_evaluations(evaluations)
    link = first.targets.link
    scores = np.empty_like(first.scores)
    for start in range(0, len(scores), IMAGES_PER_CHUNK):
        rows = slice(start, start + IMAGES_PER_CHUNK)
        some = [torch.from_numpy(e.scores[rows])[:, order] for e, order in zip(evaluations, orders, strict=True)]
        scores[rows] = mean_posterior(some, weights, temperature, link).numpy()
    return with_scores(first, scores)


def join_evaluations(evaluations: Sequence[Evaluation]) -> list[Int64[Tensor, "K"]]:
    """Return the positions of the first evaluation's classes in each evaluation's list of classes.

    Raise `UserError` unless all evaluations have the same class names, and the same images with the same labels.
    """
    first = evaluations[0]
    orders = join_members([evaluation.classes for evaluation in evaluations])
    check_links([evaluation.targets.link for evaluation in evaluations])
    for i, (other, order) in enumerate(zip(evaluations, orders, strict=True), 1):
        if not np.array_equal(first.ids, other.ids):
            raise UserError(
                f"results 1 and {i} are for different images ({len(first.ids):,} and {len(other.ids):,}, "
                f"{len(np.intersect1d(first.ids, other.ids)):,} in both); evaluate both on the same --data and --split"
            )
        joined = first.targets.renumber(order.numpy(), len(other.classes))
        if not np.array_equal(joined.numpy(), other.targets.numpy()):
            raise UserError(f"results 1 and {i} have different labels for the same images; evaluate both again")
    return orders


def fit_weights(evaluations: Sequence[Evaluation]) -> tuple[float, ...]:
    """Return the weights that maximise the likelihood of the labels under the weighted mean of the probabilities.

    The weights are at least 0 and sum to 1, and the negative log likelihood is convex in them. Each round of
    expectation-maximisation sets a member's weight to its share of the probability of the true class, averaged over
    images (Dempster, Laird and Rubin, J. Roy. Stat. Soc. B 39, 1977, section 4.3).
    """
    orders = join_evaluations(evaluations)
    right = np.stack([target_probabilities(e, o.numpy()) for e, o in zip(evaluations, orders, strict=True)], axis=1)
    weights = np.full(len(evaluations), 1 / len(evaluations))
    for _ in range(MAX_ROUNDS):
        shares = right * weights
        last, weights = weights, (shares / shares.sum(1, keepdims=True)).mean(0)
        if np.abs(weights - last).max() < 1e-9:
            break
    return tuple(weights.tolist())


def target_probabilities(evaluation: Evaluation, order: Int64[np.ndarray, "K"]) -> Float64[np.ndarray, "_"]:
    """Return the probability of each image's true class, but at least 1e-30.

    If images may have several labels, return the probability of each known label (yes or no) instead. `order` is this
    evaluation's entry in the result of `join_evaluations`.
    """
    if isinstance(evaluation.targets, AnyOf):
        marks, chances = evaluation.targets.numpy()[:, order], probabilities(evaluation.scores)[:, order]
        return np.where(marks == 1, chances, 1 - chances)[marks >= 0].clip(1e-30)
    labels = evaluation.targets.numpy()[:, None]
    each = [np.take_along_axis(chances, labels[part], axis=1) for part, chances in posterior_chunks(evaluation.scores)]
    return np.concatenate(each)[:, 0].clip(1e-30)
