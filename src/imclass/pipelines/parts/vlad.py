"""Vectors of locally aggregated descriptors (VLAD).

H. Jegou, M. Douze, C. Schmid, P. Perez, "Aggregating local descriptors into a compact image representation", CVPR 2010,
section 3. With the words c_k and the descriptors x_t of a cell,

    (1)  v_k = sum over those t whose nearest word is c_k of x_t - c_k     (the paper's equation 1).

Then, in this order:

    (2)  v_k / |v_k|          R. Arandjelovic, A. Zisserman, "All about VLAD", CVPR 2013: intra-normalisation
    (3)  sign(v) |v|^power    H. Jegou et al., "Aggregating local image descriptors into compact codes", PAMI 2012
    (4)  v / |v|              the first paper, for the vector of all words
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float32

from imclass.core.bounds import Above, AtLeast, AtMost
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import (
    WordEncoder,
    group_by_atoms,
    nearest_words,
    signed_power,
    unit_length,
)

BLOCK = 4096  # descriptors whose sums are computed together


@dataclass
class Vlad(WordEncoder):
    """The VLAD of each cell: `words` d numbers for descriptors of d numbers."""

    kind: ClassVar[str] = "vlad"
    words: Annotated[int, AtLeast(1)] = 64
    intra: bool = False  # divide the sum for each word by its length, so that frequent patterns do not dominate
    power: Annotated[float, Above(0), AtMost(1)] = 0.5  # of the signed power before the division by the cell's length

    @property
    def length(self) -> int:
        return int(self.centres_.size)

    def encode(self, x: Descriptors) -> Float32[np.ndarray, "C length"]:
        """Return the normalised VLAD of each cell of one image."""
        atoms, words = group_by_atoms(x), len(self.centres_)
        values = x.values[atoms.order]
        nearest = nearest_words(values, self.centres_)[0][:, 0]
        residuals = torch.from_numpy(values - self.centres_[nearest])
        assigned = torch.from_numpy(nearest)
        sums = torch.zeros(len(atoms.ends), words, values.shape[1])
        for atom, some in atoms.blocks(BLOCK):
            one_hot = torch.nn.functional.one_hot(assigned[some], words).to(residuals.dtype)
            sums[atom].addmm_(one_hot.T, residuals[some])  # (1)
        cells = atoms.sum_cells(sums).numpy()
        cells = unit_length(cells) if self.intra else cells  # (2)
        return unit_length(signed_power(cells.reshape(len(cells), -1), self.power))  # (3), (4)


PARTS = {"vlad": Vlad}
