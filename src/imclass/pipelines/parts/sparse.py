"""Sparse coding of descriptors, as in spatial pyramid matching with sparse codes (ScSPM).

J. Yang, K. Yu, Y. Gong, T. Huang, "Linear spatial pyramid matching using sparse coding for image classification", CVPR
2009. Each descriptor x is divided by its length. With a learned dictionary, whose words b_k (also called atoms) have
unit length and are the rows of B, its code is

    (1)  u = argmin 1/2 |x - u B|^2 + penalty |u|_1.

The paper writes the same without the factor 1/2, so its lambda is twice the penalty: it uses 0.3 to 0.4,
and its authors' code a penalty of 0.15 in (1), which is scikit-learn's `alpha`. That code speeds (1) up by the choice
of the 200 words nearest to x, and adds 1e-5 |u|^2; here (1) is solved exactly for all words.

The value of a word in a cell is

    (2)  max |u_k|   over the descriptors in the cell (maximum pooling).

The code of a descriptor of zeros is 0. If words are equal, their common part of a code is divided arbitrarily.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float32

from imclass.core.bounds import Above, AtLeast
from imclass.core.targets import Targets
from imclass.pipelines.codebooks.dictionary import Dictionary
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import CodebookEncoder, check_numbers, group_by_atoms, unit_length
from imclass.pipelines.part import FitProgress
from imclass.pipelines.solvers.lasso import sparse_codes


@dataclass
class SparseCoding(CodebookEncoder):
    """The highest magnitude of each word's coefficient in each cell, in sparse codes of the descriptors."""

    kind: ClassVar[str] = "sparse"
    learned: ClassVar[tuple[str, ...]] = ("dictionary_",)
    codebook: ClassVar[str] = "dictionary_"
    words: Annotated[int, AtLeast(1)] = 1024  # of the dictionary
    penalty: Annotated[float, Above(0)] = 0.15  # half of the lambda in the paper; larger: fewer words for a descriptor
    iterations: Annotated[int, AtLeast(1)] = 60  # of dictionary learning, with 2,048 descriptors each

    @property
    def length(self) -> int:
        return len(self.dictionary_)

    def fit_steps(self, x: Descriptors, targets: Targets, classes: int, seed: int = 0) -> Iterator[FitProgress]:
        """Learn the dictionary from descriptors, and yield after each step."""
        check_numbers(x, self.kind)
        learner = Dictionary(words=self.words, penalty=self.penalty, iterations=self.iterations, seed=seed)
        yield from learner.fit_steps(unit_length(x.values))
        self.dictionary_ = np.asarray(learner.dictionary_, np.float32)

    def encode(self, x: Descriptors) -> Float32[np.ndarray, "C length"]:
        """Return the highest magnitudes in each cell of one image."""
        atoms = group_by_atoms(x)
        by_atom = np.zeros((len(atoms.ends), len(self.dictionary_)), np.float32)
        values = torch.from_numpy(unit_length(x.values[atoms.order]))
        low = 0
        for codes in sparse_codes(values, torch.from_numpy(self.dictionary_), self.penalty):
            numbers = atoms.number[low : low + len(codes)]
            starts = np.flatnonzero(np.diff(numbers, prepend=-1))
            highest = np.maximum.reduceat(codes.abs_().numpy(), starts)
            by_atom[numbers[starts]] = np.maximum(by_atom[numbers[starts]], highest)
            low += len(codes)
        return atoms.highest_in_cells(by_atom)  # (2)


PARTS = {"sparse": SparseCoding}
