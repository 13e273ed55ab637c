"""Minima of penalised logistic objectives, by L-BFGS in float64 (Liu and Nocedal, Mathematical Programming 1989).

Rows are in the coordinates of principal axes, where the curvature is nearly diagonal and known: it begins each estimate
of the inverse, so that tens of iterations are enough. Scores are linear in the weights, so a step is measured along a
line without a product with the rows. Several fits of the same rows, each with shares of the images of its own, go
together: reading the rows takes most of the time.
"""
# Tested in tests/pipelines/parts/test_logistic.py

from collections import deque
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from imclass.core.targets import Link

MEMORY = 10  # pairs of steps and changes of the gradient
MAX_ITERATIONS = 1_000
MAX_HALVINGS = 40  # of a step
SUFFICIENT = 1e-4  # share of the decrease that the slope promises (Armijo)
LEAST_CURVATURE = 1e-3  # of the losses, which is at most a quarter


@dataclass(frozen=True, eq=False)
class LogisticLoss:
    """Losses of images in nats, by their scores in each of F fits. `rows` end in a column of ones, the biases'."""

    rows: Float[Tensor, "N E"]
    wanted: Float[Tensor, "K N"]  # 1 for each class that an image has
    judged: Float[Tensor, "K N"]  # 0 where it is not known whether an image has a class
    link: Link

    def scores(self, weights: Float[Tensor, "F K E"]) -> Float[Tensor, "F K N"]:
        """Return the scores of each image."""
        return (weights.flatten(0, 1) @ self.rows.T).unflatten(0, weights.shape[:2])

    def losses(self, scores: Float[Tensor, "F K N"]) -> Float[Tensor, "F N"]:
        """Return the loss of each image."""
        if self.link == "softmax":
            return scores.logsumexp(1) - (self.wanted * scores).sum(1)
        return (self.judged * (functional.softplus(scores) - self.wanted * scores)).sum(1)

    def posterior(self, scores: Float[Tensor, "F K N"]) -> Float[Tensor, "F K N"]:
        """Return the probability of each class."""
        return scores.softmax(1) if self.link == "softmax" else scores.sigmoid()

    def slope(self, scores: Float[Tensor, "F K N"], shares: Float[Tensor, "F N"]) -> Float[Tensor, "F K E"]:
        """Return the gradient of the sum of the losses, times `shares`, with respect to the weights."""
        errors = shares[:, None] * self.judged * (self.posterior(scores) - self.wanted)
        return (errors.flatten(0, 1) @ self.rows).unflatten(0, errors.shape[:2])

    def curvature(self, scores: Float[Tensor, "F K N"], shares: Float[Tensor, "F N"]) -> Float[Tensor, "F 1 E"]:
        """Return about the diagonal of the second derivative: the mean over images and classes, for each column."""
        likely, weight = self.posterior(scores), shares[:, None] * self.judged
        mean = (weight * likely * (1 - likely)).sum((1, 2)) / weight.sum((1, 2))
        return (mean.clamp(LEAST_CURVATURE, 0.25)[:, None] * (shares @ self.rows.square()))[:, None]


def minimise(
    loss: LogisticLoss,
    shares: Float[Tensor, "F N"],
    strength: float,
    start: Float[Tensor, "F K E"] | None,
    gap: float,
) -> Float[Tensor, "F K E"]:
    """Return the weights of each fit at the minimum of its losses times its `shares` and the squares over 2 `strength`.

    A fit ends where a step to the minimum, by the known curvature, would save less than `gap` of the value.
    """
    ridge = torch.full_like(loss.rows[0], 1 / strength)
    ridge[-1] = 0  # the biases have no penalty
    shape = (len(shares), len(loss.wanted), loss.rows.shape[1])
    weights = loss.rows.new_zeros(shape) if start is None else start.clone()

    def value_of(scores: Tensor, weights: Tensor) -> Tensor:
        return (shares * loss.losses(scores)).sum(1) + (ridge * weights.square()).sum((1, 2)) / 2

    scores = loss.scores(weights)
    scale = 1 / (loss.curvature(scores, shares) + ridge)
    history: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)
    value, slope = value_of(scores, weights), loss.slope(scores, shares) + ridge * weights
    active = torch.ones_like(value, dtype=torch.bool)
    for _ in range(MAX_ITERATIONS):
        active &= (scale * slope.square()).sum((1, 2)) > 2 * gap * value
        if not active.any():
            break
        step = -inverse_product(history, slope, scale)
        along, descent, length = loss.scores(step), inner(slope, step), active.to(value)
        for _ in range(MAX_HALVINGS):
            moved = value_of(scores + length[:, None, None] * along, weights + length[:, None, None] * step)
            high = active & ~(moved <= value + SUFFICIENT * length * descent)
            if not high.any():
                break
            length = torch.where(high, length / 2, length)
        active &= ~high  # of one that is still high the value is flat to the last digit
        length = torch.where(active, length, 0)
        step = length[:, None, None] * step
        weights, scores, before = weights + step, scores + length[:, None, None] * along, slope
        value, slope = value_of(scores, weights), loss.slope(scores, shares) + ridge * weights
        history.append((step, slope - before))
    return weights


def inverse_product(history: deque[tuple[Tensor, Tensor]], slope: Tensor, scale: Tensor) -> Tensor:
    """Return the product of the estimated inverse of the curvature with a slope, by two loops over past steps."""
    result, factors = slope, []
    for step, change in reversed(history):
        factor = quotient(inner(step, result), inner(step, change))
        factors.append(factor)
        result = result - factor[:, None, None] * change
    result = scale * result
    if history:
        step, change = history[-1]
        moved = inner(step, change)
        size = torch.where(moved > 0, quotient(moved, inner(change, scale * change)), 1)
        result = size[:, None, None] * result
    for (step, change), factor in zip(history, reversed(factors), strict=True):
        factor = factor - quotient(inner(change, result), inner(step, change))
        result = result + factor[:, None, None] * step
    return result


def inner(a: Float[Tensor, "F K E"], b: Float[Tensor, "F K E"]) -> Float[Tensor, "F"]:
    """Return the inner product of the weights of each fit."""
    return (a * b).sum((1, 2))


def quotient(above: Float[Tensor, "F"], below: Float[Tensor, "F"]) -> Float[Tensor, "F"]:
    """Return a quotient, 0 for a fit that has ended and does not move."""
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), 0)
