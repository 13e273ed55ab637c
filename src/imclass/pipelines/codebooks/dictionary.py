"""Dictionary learning from batches of rows.

J. Mairal, F. Bach, J. Ponce, G. Sapiro, "Online dictionary learning for sparse coding", ICML 2009. With the codes U of
a batch of rows X, minimisers of 1/2 |x - u D|^2 + penalty |u|_1, iteration t updates the statistics

    (1)  A = f A + U^T U     (2)  B = f B + U^T X,   f = (1 - 1/t)^forget,

and then each word of the dictionary D in turn, which minimises the same objective for the codes so far:

    (3)  d_k = v / |v|,   v = d_k + (B_k - A_k D) / A_kk     (the paper's algorithm 2).

The paper limits words to a length of at most 1. Words of the best dictionary have that length, because longer words
need smaller codes, so that here all words have it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from imclass.core.bounds import Above, AtLeast
from imclass.core.runtime import one_thread_each
from imclass.data.threads import map_in_order
from imclass.pipelines.codebooks.estimator import Estimator2d
from imclass.pipelines.solvers.lasso import encode_block

FORGET = 5.0  # the exponent in (1) and (2): codes of early dictionaries count less
PART = 1024  # rows that a thread encodes together
PERIOD = 5  # iterations after which words that no row used are replaced


@dataclass(eq=False)
class Dictionary(Estimator2d):
    """Words of unit length, of which sparse combinations approximate rows.

    The words minimise the sum of 1/2 |x - u D|^2 + penalty |u|_1 over the rows x, with the best code u of each. They
    start as rows, drawn at random; if fewer rows than words differ from 0, the others start as random directions.
    Every 5 iterations, words that no row has used since become the rows of the batch that are approximated worst.

    Learned: `dictionary_` [words d], float32.
    """

    words: Annotated[int, AtLeast(1)] = 1024  # the number K of words, also called atoms
    penalty: Annotated[float, Above(0)] = 0.15  # scikit-learn's `alpha`
    iterations: Annotated[int, AtLeast(1)] = 60
    batch: Annotated[int, AtLeast(1)] = 2048  # rows in an iteration
    seed: int = 0  # of the start and the batches

    @property
    def fewest_rows(self) -> int:
        """Return the number of words."""
        return self.words

    def fit_steps(self, x: Float32[np.ndarray, "D d"]) -> Iterator[tuple[int, int]]:
        """Learn the words from rows, and yield after each iteration.

        Raise `UserError` if the rows are not finite, or fewer than the words.
        """
        self.begin(x, f"the {self.words:,} words of the dictionary")
        generator = np.random.default_rng(self.seed)
        words = draw_words(x, self.words, generator)
        squares, products = torch.zeros(self.words, self.words), torch.zeros_like(words)
        used = torch.zeros(self.words, dtype=torch.bool)
        order, position = generator.permutation(len(x)), 0
        for iteration in range(1, self.iterations + 1):
            if position + self.batch > len(x) and position:
                order, position = generator.permutation(len(x)), 0
            rows = torch.from_numpy(x[np.sort(order[position : position + self.batch])])
            position += self.batch
            with one_thread_each() as workers:  # most operations are too small for several threads
                codes = code_rows(rows, words, self.penalty, workers)
                kept = (1 - 1 / iteration) ** FORGET
                squares.mul_(kept).addmm_(codes.T, codes)  # (1)
                products.mul_(kept).addmm_(codes.T, rows)  # (2)
                used |= (codes != 0).any(0)
                update_words(words, squares, products)
                if iteration % PERIOD == 0 and iteration < self.iterations:
                    replace_unused_words(words, squares, products, used, rows, rows - codes @ words)
                    used.zero_()
            if iteration < self.iterations:
                yield iteration, self.iterations
        self.dictionary_ = words.numpy()
        yield self.iterations, self.iterations

    def transform(self, X: Any) -> Float32[np.ndarray, "D words"]:
        """Return the sparse codes of rows."""
        words = torch.from_numpy(self.require_fit("dictionary_"))
        rows = torch.from_numpy(self.validate_rows(X, reset=False))
        with one_thread_each() as workers:
            return code_rows(rows, words, self.penalty, workers).numpy()


def code_rows(
    rows: Float32[Tensor, "D d"], words: Float32[Tensor, "K d"], penalty: float, workers: int
) -> Float32[Tensor, "D K"]:
    """Return the sparse codes of rows, computed by several threads. They do not depend on the number of threads."""
    gram = words @ words.T
    codes = map_in_order(lambda some: encode_block(some, words, gram, penalty), rows.split(PART), workers, workers)
    return torch.cat(list(codes))


def draw_words(x: Float32[np.ndarray, "D d"], count: int, generator: np.random.Generator) -> Float32[Tensor, "count d"]:
    """Return different rows of unit length, drawn at random, and random directions if there are too few."""
    some = x[np.sort(generator.choice(len(x), min(len(x), 8 * count), replace=False))]
    some = some[np.abs(some).max(1) > 0]
    chosen = generator.permutation(len(some))[:count]
    missing = generator.standard_normal((count - len(chosen), x.shape[1])).astype(np.float32)
    found = torch.from_numpy(np.concatenate([some[chosen], missing]))
    return torch.nn.functional.normalize(found, eps=0)


def update_words(
    words: Float32[Tensor, "K d"], squares: Float32[Tensor, "K K"], products: Float32[Tensor, "K d"]
) -> None:
    """Update each word in place by (3). A word without codes remains as it is."""
    weights = squares.diagonal().tolist()
    for k in np.flatnonzero(weights).tolist():
        target = words[k] + (products[k] - squares[k] @ words) / weights[k]
        length = float(torch.linalg.vector_norm(target))
        if length > 0:
            words[k] = target / length


def replace_unused_words(
    words: Float32[Tensor, "K d"],
    squares: Float32[Tensor, "K K"],
    products: Float32[Tensor, "K d"],
    used: Tensor,
    rows: Float32[Tensor, "D d"],
    errors: Float32[Tensor, "D d"],
) -> None:
    """Replace the words that no row used by the rows with the largest errors, except rows of zeros."""
    unused = (~used).nonzero()[:, 0]
    sizes = errors.square().sum(1)
    worst = sizes.sort(descending=True, stable=True).indices[: len(unused)]
    worst = worst[sizes[worst] > 0]
    unused = unused[: len(worst)]
    words[unused] = torch.nn.functional.normalize(rows[worst], eps=0)
    squares[unused], squares[:, unused], products[unused] = 0, 0, 0
