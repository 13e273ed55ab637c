"""Locality-constrained linear coding (LLC), in its approximated form.

J. Wang et al., "Locality-constrained linear coding for image classification", CVPR 2010. A descriptor x is coded by its
nearest words b_1 ... b_n alone. Their weights minimise the error of reconstruction and sum to 1. With the matrix Z of
the rows b_i - x and the vector 1 of ones, they follow from linear equations:

    (1)  C = Z Z^T     (2)  (C + ridge trace(C) I) v = 1     (3)  u = v / sum(v).

The ridge of 1e-4 is that of the authors' code. With it, words that are equal get equal weights. If all n words equal x,
C is 0, and each weight is 1 / n. A descriptor of zeros is coded like any other.

The value of a word in a cell is its highest weight among the descriptors in the cell. The paper calls this maximum
pooling, and then divides the image's vector by its length. The weight of a word that a descriptor does not use is 0,
and so is the least value of a word in a cell.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Int64

from imclass.core.bounds import Above, AtLeast
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import WordEncoder, group_by_atoms, nearest_words

BLOCK = 2048  # descriptors whose differences from their words are in memory together


@dataclass
class LocalityCoding(WordEncoder):
    """The highest weight of each visual word in each cell, where weights are those of LLC."""

    kind: ClassVar[str] = "llc"
    words: Annotated[int, AtLeast(1)] = 1024  # of the codebook, found by k-means
    nearest: Annotated[int, AtLeast(1)] = 5  # words that code a descriptor
    ridge: Annotated[float, Above(0)] = 1e-4  # added to the diagonal of the equations, in multiples of their trace

    def code(self, values: Float32[np.ndarray, "D d"]) -> tuple[Int64[np.ndarray, "D n"], Float32[np.ndarray, "D n"]]:
        """Return the words of each descriptor, and their weights, which sum to 1."""
        words = nearest_words(values, self.centres_, min(self.nearest, len(self.centres_)))[0]
        weights = np.empty(words.shape, np.float32)
        for low in range(0, len(values), BLOCK):
            some = slice(low, low + BLOCK)
            weights[some] = local_weights(values[some], self.centres_[words[some]], self.ridge)
        return words, weights

    def encode(self, x: Descriptors) -> Float32[np.ndarray, "C length"]:
        """Return the highest weights in each cell of one image."""
        atoms = group_by_atoms(x)
        return atoms.highest(*self.code(x.values[atoms.order]), len(self.centres_))


def local_weights(
    values: Float32[np.ndarray, "D d"], words: Float32[np.ndarray, "D n d"], ridge: float
) -> Float32[np.ndarray, "D n"]:
    """Return the weights with which each descriptor's words reconstruct it."""
    differences = torch.from_numpy(words).double() - torch.from_numpy(values)[:, None]
    products = torch.bmm(differences, differences.transpose(1, 2))  # (1)
    diagonal = products.diagonal(dim1=1, dim2=2)
    traces = diagonal.sum(1, keepdim=True)
    diagonal += torch.where(traces > 0, ridge * traces, 1)
    weights = torch.linalg.solve(products, torch.ones(products.shape[:2], dtype=torch.float64))  # (2)
    return (weights / weights.sum(1, keepdim=True)).float().numpy()  # (3)


PARTS = {"llc": LocalityCoding}
