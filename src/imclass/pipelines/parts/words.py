"""Bags of visual words: histograms of the words of a codebook, by hard or soft assignment.

Hard assignment: G. Csurka et al., "Visual categorization with bags of keypoints", ECCV workshop 2004. A descriptor x
counts 1 for its nearest word.

Soft assignment: J. van Gemert et al., "Kernel codebooks for scene categorization", ECCV 2008 ("codeword uncertainty").
A descriptor counts 1 in total, divided among its words c_k in proportion to a Gaussian of its distance:

    (1)  g(k) = exp(-|x - c_k|^2 / (2 s^2)) / sum_j exp(-|x - c_j|^2 / (2 s^2)).

The sum contains only the nearest words (L. Liu, L. Wang, X. Liu, "In defense of soft-assignment coding", ICCV 2011).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Int64

from imclass.core.bounds import AtLeast
from imclass.core.targets import Targets
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import Atoms, WordEncoder, group_by_atoms, nearest_words, unit_length
from imclass.pipelines.part import FitProgress


@dataclass
class VisualWords(WordEncoder):
    """The histogram of visual words in each cell."""

    kind: ClassVar[str] = "words"
    learned: ClassVar[tuple[str, ...]] = ("centres_", "spread_")
    words: Annotated[int, AtLeast(1)] = 1024
    soft: Annotated[float, AtLeast(0)] = 0.0  # s in multiples of the rms distance to the nearest word; 0: count only it
    nearest: Annotated[int, AtLeast(1)] = 5  # for soft assignment: words among which a descriptor is divided
    pool: Literal["sum", "mean", "max"] = "sum"  # over the descriptors in a cell
    norm: Literal["none", "l1", "l2", "hellinger"] = "hellinger"  # of each cell; hellinger: l1, then the square root

    def fit_steps(self, x: Descriptors, targets: Targets, classes: int, seed: int = 0) -> Iterator[FitProgress]:
        """Learn the words and their spread from descriptors, and yield after each step."""
        yield from super().fit_steps(x, targets, classes, seed)
        squares = nearest_words(x.values, self.centres_)[1]
        self.spread_ = np.sqrt([squares.mean(dtype=np.float64)]).astype(np.float32)

    def assign(self, values: Float32[np.ndarray, "D d"]) -> tuple[Int64[np.ndarray, "D n"], Float32[np.ndarray, "D n"]]:
        """Return the words of each descriptor, and the share of each word."""
        if not self.soft:
            words, squares = nearest_words(values, self.centres_)
            return words, np.ones_like(squares)
        words, squares = nearest_words(values, self.centres_, min(self.nearest, len(self.centres_)))
        width = max(self.soft * float(self.spread_[0]), 1e-100)  # 0: all training distances are 0
        shares = np.exp(-(squares - squares[:, :1]).astype(np.float64) / (2 * width**2))
        return words, (shares / shares.sum(1, keepdims=True)).astype(np.float32)  # (1)

    def encode(self, x: Descriptors) -> Float32[np.ndarray, "C length"]:
        """Return the normalised histogram of each cell of one image."""
        atoms = group_by_atoms(x)
        words, shares = self.assign(x.values[atoms.order])
        counts = self.pool_atoms(atoms, words, shares)
        if self.norm == "l2":
            return unit_length(counts)
        if self.norm == "none":
            return counts
        total = counts.sum(1, keepdims=True)
        fractions = counts / np.where(total > 0, total, 1)
        return np.sqrt(fractions) if self.norm == "hellinger" else fractions

    def pool_atoms(
        self, atoms: Atoms, words: Int64[np.ndarray, "D n"], shares: Float32[np.ndarray, "D n"]
    ) -> Float32[np.ndarray, "C K"]:
        """Return the pooled shares of each word in each cell."""
        size = len(self.centres_)
        if self.pool == "max":
            return atoms.highest(words, shares, size)
        slots = (atoms.number[:, None] * size + words).ravel()
        sums = np.bincount(slots, shares.ravel(), len(atoms.ends) * size).reshape(-1, size)
        counts = atoms.cells.astype(np.float64) @ sums
        if self.pool == "mean":
            counts /= np.maximum(atoms.counts, 1)[:, None]
        return counts.astype(np.float32)


PARTS = {"words": VisualWords}
