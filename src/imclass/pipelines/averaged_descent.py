"""Averaged stochastic gradient descent for linear support vector machines (Xu, arXiv:1107.2490; Bottou, 2010).

There is a machine for each class, which separates its images from all others. The objective of a machine with weights w
and bias b is penalty / 2 |w|^2, plus the mean over all images of the hinge loss max(0, 1 - sign (w x + b)). A step uses
one image. Its length after t steps is rate / (1 + penalty rate t)^0.75, and the result is the mean of the weights after
each step of all passes but the first.

Steps are computed for a block of images together. The weights before a step are those before the block times a number,
plus a weighted sum of the earlier images of the block. Products of these images with each other, and with the weights
before the block, therefore determine all steps of the block exactly, and the weights are read once a block.
"""
# Tested in tests/pipelines/parts/test_averaged_sgd.py

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from imclass.core.errors import UserError
from imclass.pipelines.part import FitProgress

POWER = 0.75  # of the decrease of the step length
BLOCK = 64  # images whose steps are computed together
BUFFER_BYTES = 1 << 26  # of the images that are shuffled together
BUFFER_RUNS = 256  # runs of neighbouring images in a buffer, at least; classes are often neighbours
MOST_BUFFERED = 1 << 15  # images in a buffer, so that progress is shown often enough


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Rows of features, each minus its mean, and divided by one number that makes the mean squared length 1.

    `x` is an array or a file of rows. Only a buffer of rows is in memory at a time.
    """

    x: Any
    mean: Float[np.ndarray, "D"]
    scale: float

    @property
    def buffered(self) -> int:
        """Return the number of rows in a buffer."""
        return min(max(BUFFER_BYTES // (4 * max(len(self.mean), 1)), BUFFER_RUNS), MOST_BUFFERED, len(self.x))

    @property
    def buffers(self) -> int:
        """Return the number of buffers in a pass over all rows."""
        return -(-len(self.x) // self.buffered)

    def read(self, low: int, high: int) -> Float32[np.ndarray, "n D"]:
        """Return the rows from `low` up to, but without, `high`."""
        scaled: Float32[np.ndarray, "n D"] = (self.x[low:high].astype(np.float64) - self.mean) / self.scale
        return scaled.astype(np.float32)

    def shuffle(
        self, chosen: Bool[np.ndarray, "N"], seed: Sequence[int]
    ) -> Iterator[tuple[Float32[Tensor, "n D"], Int64[np.ndarray, "n"]]]:
        """Yield buffers of the chosen rows, and the positions of these, in an order that the seed decides.

        A buffer consists of runs of neighbouring rows, from random places. Its rows are shuffled.
        """
        draws = np.random.default_rng(seed)
        run = max(1, self.buffered // BUFFER_RUNS)
        starts = run * draws.permutation(-(-len(self.x) // run))
        runs = self.buffered // run
        for first in range(0, len(starts), runs):
            kept = [low + np.flatnonzero(chosen[low : low + run]) for low in starts[first : first + runs].tolist()]
            found = np.concatenate(kept)
            order = draws.permutation(len(found))
            rows, places = torch.empty(len(found), len(self.mean)), np.argsort(order)
            for positions in kept:
                if len(positions):
                    low = int(positions[0])
                    read = self.read(low, int(positions[-1]) + 1)[positions - low]
                    rows[places[: len(positions)]] = torch.from_numpy(read)
                places = places[len(positions) :]
            yield rows, found[order]


def scaled_rows(x: Any) -> Generator[FitProgress, None, ScaledRows]:
    """Return the scaled rows. Yield after each block of rows from which the mean and the scale are computed.

    Raise `UserError` if any features are not finite.
    """
    count, width = x.shape
    total, squares = np.zeros(width), 0.0
    step = max(1, BUFFER_BYTES // (16 * max(width, 1)))
    for low in range(0, count, step):
        block = x[low : low + step].astype(np.float64)
        total += block.sum(0)
        squares += np.square(block).sum()
        if not np.isfinite(squares):
            raise UserError("some features are not finite, so nothing can be learned from them; use other parts")
        yield 0, 1
    mean = total / count
    variance = squares / count - np.square(mean).sum()
    constant = variance <= 1e-12 * np.square(mean).sum()  # this much may come from rounding
    return ScaledRows(x, mean, 1.0 if constant else float(np.sqrt(variance)))


class Descent:
    """The weights of K machines for each of F settings, in the course of a descent. A setting is a penalty and a rate.

    The machines do not depend on each other. They are fitted together, because reading the images takes much time.
    """

    def __init__(self, penalties: Sequence[float], rates: Sequence[float], classes: int, width: int) -> None:
        self.penalties, self.rates = np.array(penalties), np.array(rates)
        self.weights, self.average = (torch.zeros(len(penalties), classes, width) for _ in range(2))
        self.biases, self.bias_average = (np.zeros((len(penalties), classes)) for _ in range(2))
        self.steps = self.averaged = 0

    def learn(
        self,
        rows: Float32[Tensor, "n D"],
        signs: Float[np.ndarray, "n K"],
        factors: Float[np.ndarray, "n"],
        averaging: bool,
    ) -> None:
        """Make a step for each image, in order. A sign is 0 if it is not known whether the image has the class."""
        for low in range(0, len(rows), BLOCK):
            chosen = slice(low, low + BLOCK)
            self.learn_block(rows[chosen], signs[chosen], factors[chosen], averaging)

    def learn_block(
        self,
        rows: Float32[Tensor, "n D"],
        signs: Float[np.ndarray, "n K"],
        factors: Float[np.ndarray, "n"],
        averaging: bool,
    ) -> None:
        """Make the steps of a block. After i steps, the weights are shrunk[i] * (weights + added[:i].T @ rows[:i])."""
        count, shape = len(rows), self.biases.shape
        products = (rows @ rows.T).double().numpy()
        scores = (rows @ self.weights.flatten(0, 1).T).double().numpy().reshape(count, *shape)
        times = self.steps + np.arange(count)[:, None]
        lengths = self.rates / (1 + self.penalties * self.rates * times) ** POWER
        # Dividing by 1 + penalty * length is nearly the same as multiplying by 1 - penalty * length, but this factor
        # would be negative for a long step.
        shrunk = np.cumprod(np.concatenate([np.ones((1, shape[0])), 1 / (1 + self.penalties * lengths)]), 0)
        added, biases = np.zeros((count, *shape)), np.empty((count, *shape))
        flat = added.reshape(count, -1)
        for i in range(count):
            inner = (products[i, :i] @ flat[:i]).reshape(shape)
            short = signs[i] * (shrunk[i, :, None] * (scores[i] + inner) + self.biases) < 1
            step = factors[i] * lengths[i, :, None] * signs[i] * short
            added[i] = step / shrunk[i + 1, :, None]
            self.biases = biases[i] = self.biases + step
        if averaging:
            share = count / (self.averaged + count)
            later = np.cumsum(shrunk[:0:-1], 0)[::-1] / count  # the sums over the steps that are not before each
            self.bias_average += share * (biases.mean(0) - self.bias_average)
            self.average.mul_(1 - share)
            for average, weights, factor in zip(self.average, self.weights, later[0], strict=True):
                average.add_(weights, alpha=share * factor)
            self.add(self.average, share * later[:, :, None] * added, rows)
            self.averaged += count
        self.weights.mul_(torch.from_numpy(shrunk[-1]).float()[:, None, None])
        self.add(self.weights, shrunk[-1, :, None] * added, rows)
        self.steps += count

    def add(
        self, weights: Float32[Tensor, "F K D"], factors: Float[np.ndarray, "n F K"], rows: Float32[Tensor, "n D"]
    ) -> None:
        """Add multiples of rows to weights."""
        flat = torch.from_numpy(factors.reshape(len(rows), -1).T.astype(np.float32))
        weights.flatten(0, 1).addmm_(flat, rows)

    def margins(self, rows: Float32[Tensor, "n D"]) -> Float[np.ndarray, "F K n"]:
        """Return the margins of images, computed with the averaged weights."""
        found = (self.average.flatten(0, 1) @ rows.T).double().numpy().reshape(*self.biases.shape, len(rows))
        return np.asarray(found + self.bias_average[:, :, None])

    def objectives(
        self, rows: Float32[Tensor, "n D"], signs: Float[np.ndarray, "n K"], factors: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "F"]:
        """Return the sum of all machines' objectives for each setting, if `rows` are all images."""
        losses = np.abs(signs.T) * factors * np.maximum(0, 1 - signs.T * self.margins(rows))
        squares = self.average.square().sum((1, 2)).double().numpy()
        return np.asarray(self.penalties / 2 * squares + losses.sum((1, 2)) / len(rows))
