"""Mini-batch k-means (Sculley, "Web-scale k-means clustering", WWW 2010) with a k-means++ start.

The start is that of Arthur and Vassilvitskii ("k-means++: the advantages of careful seeding", SODA 2007) on a sample of
the rows, in its greedy form: of several candidates for each word, the one that leaves the smallest inertia is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from imclass.core.bounds import AtLeast
from imclass.pipelines.codebooks.estimator import Estimator2d

CHUNK = 8192  # rows whose distances to all words are in memory together
CANDIDATES = 3  # for each word of the start
START_ROWS = 4  # rows in the sample of the start, for each word
NEAR = 0.1  # deviation of a start near the mean, in deviations of the rows
PERIOD = 10  # iterations after which words that no row chose are moved


@dataclass(eq=False)
class KMeans(Estimator2d):
    """Words that minimise the sum of the squared distances of rows to the nearest word (the inertia).

    In each iteration, the rows of a random batch choose their nearest words, and each word moves to the mean of all
    rows that have chosen it in this pass and the previous one. If all rows fit in a batch, this is Lloyd's algorithm.
    Every 10 iterations, words that no row has chosen since move to the rows of the batch that are farthest from their
    words. If rows have fewer different values than there are words, several words may be equal.

    The start "spread" finds a low inertia, also by words that stand for few rows far from all others. The start "near"
    consists of short random vectors around the mean (Coates, Lee and Ng). Words that no row chooses are not moved, so
    that words are typical of many rows.

    Learned: `centres_` [words d], float32.
    """

    words: Annotated[int, AtLeast(1)] = 1024  # the number K of words
    iterations: Annotated[int, AtLeast(1)] = 100
    batch: Annotated[int, AtLeast(1)] = 16_384  # rows in an iteration
    seed: int = 0  # of the start and the batches
    start: Literal["spread", "near"] = "spread"

    @property
    def fewest_rows(self) -> int:
        """Return the number of words."""
        return self.words

    def fit_steps(self, x: Float32[np.ndarray, "D d"]) -> Iterator[tuple[int, int]]:
        """Learn the words from rows, and yield after each iteration.

        Raise `UserError` if the rows are not finite, or fewer than the words.
        """
        self.begin(x, f"the {self.words:,} words")
        generator = np.random.default_rng(self.seed)
        expected = self.iterations + 1
        sample = np.sort(generator.choice(len(x), min(len(x), START_ROWS * max(self.words, 256)), replace=False))
        middle = x[sample].mean(0, dtype=np.float64).astype(np.float32)  # short rows have accurate distances
        if self.start == "near":
            draws = generator.standard_normal((self.words, x.shape[1]))
            centres = torch.from_numpy((NEAR * x[sample].std(0, dtype=np.float64) * draws).astype(np.float32))
        else:
            centres = spread_out(torch.from_numpy(x[sample] - middle), self.words, generator)
        yield 1, expected
        counts, chosen = torch.zeros(self.words), torch.zeros(self.words, dtype=torch.bool)
        order, position = generator.permutation(len(x)), 0
        buffer = torch.empty(min(CHUNK, self.batch, len(x)), self.words)
        for iteration in range(self.iterations):
            if position + self.batch > len(x) and position:
                order, position = generator.permutation(len(x)), 0
                counts *= 0.5 if len(x) > 2 * self.batch else 0  # forget words of long ago
            some = order[position : position + self.batch]
            position += self.batch
            if len(some) == len(x):
                counts.zero_()
            rows = torch.from_numpy(x[np.sort(some)] - middle)
            nearest, distances = nearest_centres(rows, centres, buffer)
            move(centres, counts, rows, nearest)
            chosen[nearest] = True
            last = iteration == self.iterations - 1
            if self.start == "spread" and iteration % PERIOD == PERIOD - 1 and not last:
                replace_unused(centres, counts, chosen, rows, distances)
                chosen.zero_()
            if not last:
                yield iteration + 2, expected
        self.centres_ = centres.numpy() + middle
        yield expected, expected

    def assign(self, x: Float32[np.ndarray, "D d"]) -> Int64[np.ndarray, "D"]:
        """Return the number of the nearest word to each row. Raise `UserError` for rows of another width."""
        centres = self.require_fit("centres_")
        self.check_width(x, centres.shape[1])
        middle = centres.mean(0)
        words = torch.from_numpy(centres - middle)
        found, buffer = np.empty(len(x), np.int64), torch.empty(min(CHUNK, len(x)), len(words))
        for start in range(0, len(x), CHUNK):
            rows = torch.from_numpy(x[start : start + CHUNK] - middle)
            found[start : start + CHUNK] = nearest_centres(rows, words, buffer)[0].numpy()
        return found

    def predict(self, X: Any) -> Int64[np.ndarray, "D"]:
        """Return the number of the nearest word to each row."""
        self.require_fit("centres_")
        return self.assign(self.validate_rows(X, reset=False))

    def transform(self, X: Any) -> Float32[np.ndarray, "D words"]:
        """Return the Euclidean distances of rows to all words."""
        centres = torch.from_numpy(self.require_fit("centres_"))
        rows = torch.from_numpy(self.validate_rows(X, reset=False))
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cat([torch.cdist(some, centres, compute_mode=exact) for some in rows.split(CHUNK)]).numpy()


def nearest_centres(
    rows: Float32[Tensor, "D d"], centres: Float32[Tensor, "K d"], buffer: Float32[Tensor, "C K"] | None = None
) -> tuple[Int64[Tensor, "D"], Float32[Tensor, "D"]]:
    """Return the number of each row's nearest centre, and its squared distance.

    `buffer` is memory for the scores of a chunk of rows. It is overwritten.
    """
    buffer = torch.empty(min(CHUNK, len(rows)), len(centres)) if buffer is None else buffer
    halves = -centres.square().sum(1) / 2
    nearest, scores = torch.empty(len(rows), dtype=torch.int64), torch.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        found = torch.addmm(halves, some, centres.T, out=buffer[: len(some)])  # |c|^2 - 2 x c, over -2
        torch.max(found, 1, out=(scores[start : start + CHUNK], nearest[start : start + CHUNK]))
    return nearest, (rows.square().sum(1) - 2 * scores).clamp_min(0)


def move(
    centres: Float32[Tensor, "K d"],
    counts: Float32[Tensor, "K"],
    rows: Float32[Tensor, "D d"],
    nearest: Int64[Tensor, "D"],
) -> None:
    """Move each centre to the mean of the `counts` rows that it stands for and the rows that are nearest to it."""
    new = torch.bincount(nearest, minlength=len(centres)).float()
    sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
    total = counts + new
    moved = (counts[:, None] * centres + sums) / total.clamp_min(1e-6)[:, None]
    centres.copy_(torch.where(new[:, None] > 0, moved, centres))
    counts.copy_(total)


def replace_unused(
    centres: Float32[Tensor, "K d"],
    counts: Float32[Tensor, "K"],
    chosen: Tensor,
    rows: Float32[Tensor, "D d"],
    distances: Float32[Tensor, "D"],
) -> None:
    """Move the centres that no row chose to the rows with the largest distances to their centres."""
    unused = (~chosen).nonzero()[:, 0][: len(rows)]
    farthest = distances.sort(descending=True, stable=True).indices[: len(unused)]
    centres[unused] = rows[farthest]
    counts[unused] = 0


def spread_out(rows: Float32[Tensor, "D d"], words: int, generator: np.random.Generator) -> Float32[Tensor, "words d"]:
    """Return rows that are far apart: the start of k-means++, with several candidates for each word.

    A row is a candidate with a probability in proportion to its squared distance to the nearest word so far.
    """
    squares = rows.square().sum(1)
    found = torch.empty(words, rows.shape[1])
    found[0] = rows[int(generator.integers(len(rows)))]
    closest = (squares - 2 * rows @ found[0] + found[0].square().sum()).clamp_min(0)
    for k in range(1, words):
        cumulated = closest.double().cumsum(0)
        draws = torch.from_numpy(generator.random(CANDIDATES)) * cumulated[-1]
        drawn = torch.searchsorted(cumulated, draws, right=True).clamp_max(len(rows) - 1)
        candidates = rows[drawn]
        distances = torch.addmm(squares, candidates, rows.T, alpha=-2) + squares[drawn][:, None]
        left = torch.minimum(distances.clamp_min_(0), closest)
        best = left.sum(1, dtype=torch.float64).argmin()
        found[k], closest = candidates[best], left[best]
    return found
