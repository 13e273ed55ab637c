"""Minimisation of penalised losses by L-BFGS in float64 (Liu and Nocedal, Mathematical Programming 1989).

The features are in principal-axis coordinates, where the matrix of second derivatives is nearly diagonal. Its
approximate diagonal scales each estimate of its inverse, so a few dozen iterations are enough. Scores are linear in the
weights, so the line search needs no further products with the features. Several fits to the same features, each with
different weights for the images, run together, because reading the features takes most of the time.
"""
# Tested in tests/pipelines/parts/test_logistic.py

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from imclass.core.targets import Link

MEMORY = 10  # the number of past steps from which the inverse is estimated
MAX_ITERATIONS = 1_000
MAX_HALVINGS = 40  # of one step
SUFFICIENT = 1e-4  # the fraction of the decrease predicted by the gradient that a step must achieve (Armijo)
MIN_CURVATURE = 1e-3  # a lower bound for the mean second derivative of the losses with respect to the scores


class RowProducts(ABC):
    """A matrix [N E] of features that is known by its products. Everything is in float64."""

    shape: tuple[int, int]
    smallest_gap: float  # of `minimise` that the precision of the products allows

    @abstractmethod
    def scores(self, weights: Float[Tensor, "M E"]) -> Float[Tensor, "M N"]:
        """Return the product of weights with each image's features."""

    @abstractmethod
    def slope(self, errors: Float[Tensor, "M N"]) -> Float[Tensor, "M E"]:
        """Return the sum of all images' features, multiplied by the images' errors."""

    @abstractmethod
    def squares(self, shares: Float[Tensor, "F N"]) -> Float[Tensor, "F E"]:
        """Return approximate sums of the squared features, multiplied by the images' shares."""

    @abstractmethod
    def inverse(self, curvature: Float[Tensor, "F 1 E"], ridge: Float[Tensor, "E"]) -> "Inverse":
        """Return an approximate inverse of the second-derivative matrix, given its diagonal without the ridge."""


class Inverse(ABC):
    """An approximate inverse of the matrix of second derivatives."""

    @abstractmethod
    def times(self, slope: Float[Tensor, "F K E"]) -> Float[Tensor, "F K E"]:
        """Return the product of the inverse with a gradient."""

    def norm(self, slope: Float[Tensor, "F K E"]) -> Float[Tensor, "F"]:
        """Return twice the decrease that a step to the minimum of the approximating parabola predicts."""
        return inner(slope, self.times(slope))


@dataclass(frozen=True, eq=False)
class DiagonalInverse(Inverse):
    """The inverse of a diagonal matrix."""

    scale: Float[Tensor, "F 1 E"]

    def times(self, slope: Float[Tensor, "F K E"]) -> Float[Tensor, "F K E"]:
        """Return the product of the inverse with a gradient."""
        return self.scale * slope

    def norm(self, slope: Float[Tensor, "F K E"]) -> Float[Tensor, "F"]:
        """Return twice the decrease that a step to the minimum of the approximating parabola predicts."""
        return (self.scale * slope.square()).sum((1, 2))


Rows: TypeAlias = Float[Tensor, "N E"] | RowProducts


@dataclass(frozen=True, eq=False)
class LinearLoss(ABC):
    """The losses of N images in each of F fits. Each fit has K weight vectors, and K scores for every image."""

    rows: Rows  # the last column consists of ones, for the biases

    def scores(self, weights: Float[Tensor, "F K E"]) -> Float[Tensor, "F K N"]:
        """Return the scores of each image."""
        rows, flat = self.rows, weights.flatten(0, 1)
        return (flat @ rows.T if isinstance(rows, Tensor) else rows.scores(flat)).unflatten(0, weights.shape[:2])

    def slope(self, scores: Float[Tensor, "F K N"], shares: Float[Tensor, "F N"]) -> Float[Tensor, "F K E"]:
        """Return the gradient, with respect to the weights, of the sum of the losses weighted by `shares`."""
        errors = shares[:, None] * self.errors(scores)
        rows, flat = self.rows, errors.flatten(0, 1)
        return (flat @ rows if isinstance(rows, Tensor) else rows.slope(flat)).unflatten(0, errors.shape[:2])

    def squares(self, shares: Float[Tensor, "F N"]) -> Float[Tensor, "F E"]:
        """Return the sum of the squared features of all images, weighted by `shares`."""
        return shares @ self.rows.square() if isinstance(self.rows, Tensor) else self.rows.squares(shares)

    def inverse(
        self, scores: Float[Tensor, "F K N"], shares: Float[Tensor, "F N"], ridge: Float[Tensor, "E"]
    ) -> Inverse:
        """Return an approximate inverse of the matrix of second derivatives."""
        curvature = self.curvature(scores, shares)
        if isinstance(self.rows, Tensor):
            return DiagonalInverse(1 / (curvature + ridge))
        return self.rows.inverse(curvature, ridge)

    @property
    @abstractmethod
    def vectors(self) -> int:
        """Return the number K of weight vectors in a fit."""

    @abstractmethod
    def losses(self, scores: Float[Tensor, "F K N"]) -> Float[Tensor, "F N"]:
        """Return the loss of each image."""

    @abstractmethod
    def errors(self, scores: Float[Tensor, "F K N"]) -> Float[Tensor, "F K N"]:
        """Return the derivative of each image's loss with respect to its scores."""

    @abstractmethod
    def curvature(self, scores: Float[Tensor, "F K N"], shares: Float[Tensor, "F N"]) -> Float[Tensor, "F 1 E"]:
        """Return an approximate diagonal of the matrix of second derivatives.

        The second derivatives of the losses with respect to the scores are replaced by their mean in each fit.
        """


@dataclass(frozen=True, eq=False)
class LogisticLoss(LinearLoss):
    """The losses of logistic regression, in nats."""

    wanted: Float[Tensor, "K N"]  # 1 for each class that an image has
    judged: Float[Tensor, "K N"]  # 0 if it is not known whether an image has the class
    link: Link

    @property
    def vectors(self) -> int:
        """Return the number of classes."""
        return len(self.wanted)

    def losses(self, scores: Float[Tensor, "F K N"]) -> Float[Tensor, "F N"]:
        """Return the loss of each image."""
        if self.link == "softmax":
            return scores.logsumexp(1) - (self.wanted * scores).sum(1)
        return (self.judged * (functional.softplus(scores) - self.wanted * scores)).sum(1)

    def posterior(self, scores: Float[Tensor, "F K N"]) -> Float[Tensor, "F K N"]:
        """Return the probability of each class."""
        return scores.softmax(1) if self.link == "softmax" else scores.sigmoid()

    def errors(self, scores: Float[Tensor, "F K N"]) -> Float[Tensor, "F K N"]:
        """Return the differences between the probabilities and the labels."""
        return self.judged * (self.posterior(scores) - self.wanted)

    def curvature(self, scores: Float[Tensor, "F K N"], shares: Float[Tensor, "F N"]) -> Float[Tensor, "F 1 E"]:
        """Return an approximate diagonal of the matrix of second derivatives."""
        likely, weight = self.posterior(scores), shares[:, None] * self.judged
        mean = (weight * likely * (1 - likely)).sum((1, 2)) / weight.sum((1, 2))
        return (mean.clamp(MIN_CURVATURE, 0.25)[:, None] * self.squares(shares))[:, None]


@dataclass(frozen=True, eq=False)
class SquaredHingeLoss(LinearLoss):
    """The losses of F support vector machines, each of which separates two sets of images.

    The loss of an image is the square of the amount by which the product of its score and its sign falls short of 1.
    """

    signs: Float[Tensor, "F N"]  # 1 for the images of one set, and -1 for those of the other

    @property
    def vectors(self) -> int:
        """Return the number of weight vectors of each machine."""
        return 1

    def shortfalls(self, scores: Float[Tensor, "F 1 N"]) -> Float[Tensor, "F N"]:
        """Return the amounts whose squares are the losses."""
        return (1 - self.signs * scores[:, 0]).clamp_min(0)

    def losses(self, scores: Float[Tensor, "F 1 N"]) -> Float[Tensor, "F N"]:
        """Return the loss of each image."""
        return self.shortfalls(scores).square()

    def errors(self, scores: Float[Tensor, "F 1 N"]) -> Float[Tensor, "F 1 N"]:
        """Return the derivative of each image's loss with respect to its score."""
        return (-2 * self.signs * self.shortfalls(scores))[:, None]

    def curvature(self, scores: Float[Tensor, "F 1 N"], shares: Float[Tensor, "F N"]) -> Float[Tensor, "F 1 E"]:
        """Return an approximate diagonal of the matrix of second derivatives."""
        tiny = torch.finfo(scores.dtype).tiny  # avoids division by 0 in a fit without images
        mean = 2 * (shares * (self.shortfalls(scores) > 0)).sum(1) / shares.sum(1).clamp_min(tiny)
        return (mean.clamp_min(MIN_CURVATURE)[:, None] * self.squares(shares)).clamp_min(tiny)[:, None]


def minimise(
    loss: LinearLoss,
    shares: Float[Tensor, "F N"],
    strength: float,
    start: Float[Tensor, "F K E"] | None,
    gap: float,
) -> Float[Tensor, "F K E"]:
    """Return the weights of each fit at the minimum of its objective.

    The objective is the sum of the losses weighted by `shares`, plus the sum of the squared weights divided by twice
    the `strength`. A fit ends when a step to the minimum of the approximating parabola would reduce the objective by
    less than `gap` times its value.
    """
    ridge = shares.new_full((loss.rows.shape[1],), 1 / strength)
    ridge[-1] = 0  # biases are not penalised
    shape = (len(shares), loss.vectors, loss.rows.shape[1])
    weights = shares.new_zeros(shape) if start is None else start.clone()

    def value_of(scores: Tensor, weights: Tensor) -> Tensor:
        return (shares * loss.losses(scores)).sum(1) + (ridge * weights.square()).sum((1, 2)) / 2

    scores = loss.scores(weights)
    inverse = loss.inverse(scores, shares, ridge)
    history: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)
    value, slope = value_of(scores, weights), loss.slope(scores, shares) + ridge * weights
    active = torch.ones_like(value, dtype=torch.bool)
    for _ in range(MAX_ITERATIONS):
        active &= inverse.norm(slope) > 2 * gap * value
        if not active.any():
            break
        step = -inverse_product(history, slope, inverse)
        along, descent, length = loss.scores(step), inner(slope, step), active.to(value)
        for _ in range(MAX_HALVINGS):
            moved = value_of(scores + length[:, None, None] * along, weights + length[:, None, None] * step)
            high = active & ~(moved <= value + SUFFICIENT * length * descent)
            if not high.any():
                break
            length = torch.where(high, length / 2, length)
        active &= ~high  # a fit that no step improves is at its minimum, up to rounding
        length = torch.where(active, length, 0)
        step = length[:, None, None] * step
        weights, scores, before = weights + step, scores + length[:, None, None] * along, slope
        value, slope = torch.where(active, moved, value), loss.slope(scores, shares) + ridge * weights
        history.append((step, slope - before))
    return weights


def inverse_product(history: deque[tuple[Tensor, Tensor]], slope: Tensor, inverse: Inverse) -> Tensor:
    """Return the estimated inverse of the second-derivative matrix times a gradient (the two-loop recursion)."""
    result, factors = slope, []
    for step, change in reversed(history):
        factor = quotient(inner(step, result), inner(step, change))
        factors.append(factor)
        result = result - factor[:, None, None] * change
    result = inverse.times(result)
    if history:
        step, change = history[-1]
        moved = inner(step, change)
        size = torch.where(moved > 0, quotient(moved, inner(change, inverse.times(change))), 1)
        result = size[:, None, None] * result
    for (step, change), factor in zip(history, reversed(factors), strict=True):
        factor = factor - quotient(inner(change, result), inner(step, change))
        result = result + factor[:, None, None] * step
    return result


def inner(a: Float[Tensor, "F K E"], b: Float[Tensor, "F K E"]) -> Float[Tensor, "F"]:
    """Return the inner product of `a` and `b` in each fit."""
    return (a * b).sum((1, 2))


def quotient(above: Float[Tensor, "F"], below: Float[Tensor, "F"]) -> Float[Tensor, "F"]:
    """Return `above / below`, or 0 for a fit that has ended and no longer moves."""
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), 0)
