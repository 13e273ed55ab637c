"""Triangle encoding: by how much a descriptor is nearer to each word than to the words on average.

A. Coates, A. Ng, H. Lee, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011,
section 3.2.2. With the distances z_k = |x - c_k| of a descriptor x from all words c_k, its value for a word is

    (1)  f_k = max(0, mean(z) - z_k).

About half of the values are 0. The sum over the descriptors in each cell is the row of an image.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from imclass.core.bounds import AtLeast
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import WordEncoder

BLOCK_NUMBERS = 1 << 19  # distances that are computed together, few enough for the processor's cache


@dataclass
class Triangle(WordEncoder):
    """The sums of the values of each word in each cell."""

    kind: ClassVar[str] = "triangle"
    start: ClassVar[Literal["spread", "near"]] = "near"
    words: Annotated[int, AtLeast(2)] = 1600
    pool: Literal["sum", "mean"] = "sum"  # over the descriptors in a cell; mean: for images of several sizes

    def encode(self, x: Descriptors) -> Float32[np.ndarray, "C length"]:
        """Return the pooled values of each word in each cell of one image."""
        cells = torch.from_numpy(memberships(x))
        terms, factors = distance_factors(x.values, self.centres_)
        sums = torch.zeros(len(cells), len(self.centres_))
        parts = -(-len(x) * len(self.centres_) // BLOCK_NUMBERS)
        size = -(-len(x) // max(parts, 1))
        buffer = torch.empty(size, len(self.centres_))
        for low in range(0, len(x), max(size, 1)):
            block = terms[low : low + size]
            values = torch.mm(block, factors.T, out=buffer[: len(block)]).clamp_min_(0).sqrt_()  # z / sqrt(2)
            torch.sub(values.mean(1, keepdim=True), values, out=values).clamp_min_(0)  # (1)
            sums.addmm_(cells[:, low : low + size], values)
        sums *= 2**0.5
        if self.pool == "mean":
            sums /= cells.sum(1, keepdim=True).clamp_min(1)
        return sums.numpy()


def memberships(x: Descriptors) -> Float32[np.ndarray, "C D"]:
    """Return 1 for the descriptors in each cell of each grid, and 0 for the others."""
    first = np.cumsum([0, *(rows * columns for rows, columns in x.grids)])[:-1]
    found = np.zeros((x.cells, len(x)), np.float32)
    found[first[:, None] + x.cell_numbers(), np.arange(len(x))] = 1
    return found


def distance_factors(
    values: Float32[np.ndarray, "D d"], centres: Float32[np.ndarray, "K d"]
) -> tuple[Float32[Tensor, "D e"], Float32[Tensor, "K e"]]:
    """Return two matrices A and B such that A B' contains half of the squared distances of descriptors from centres.

    The terms of |x|^2 / 2 - x c + |c|^2 / 2 are short, and so accurate, because the mean of the centres is subtracted.
    """
    width, middle = centres.shape[1], torch.from_numpy(centres.mean(0))
    terms, factors = torch.empty(len(values), width + 2), torch.empty(len(centres), width + 2)
    x = torch.sub(torch.from_numpy(values), middle, out=terms[:, :width])
    c = torch.sub(middle, torch.from_numpy(centres), out=factors[:, :width])
    terms[:, width], terms[:, width + 1] = torch.linalg.vector_norm(x, dim=1).square_().div_(2), 1
    factors[:, width], factors[:, width + 1] = 1, torch.linalg.vector_norm(c, dim=1).square_().div_(2)
    return terms, factors


PARTS = {"triangle": Triangle}
