"""Improved Fisher vectors.

F. Perronnin, J. Sanchez, T. Mensink, "Improving the Fisher kernel for large-scale image classification", ECCV 2010:
section 2.1 for the gradients, 3.1 for the division by the length, and 3.2 for the power. The gradient with respect to
the weights of the mixture is left out, as it is there.

A mixture of K Gaussians has weights w, means m and variances s^2, diagonal, so that products and quotients of vectors
are elementwise. A cell has T descriptors x_t. With the posterior probability of component k,

    (1)  g_t(k) = w_k u_k(x_t) / sum_j w_j u_j(x_t),   log u_k(x) = -1/2 sum (log(2 pi s_k^2) + (x - m_k)^2 / s_k^2),

the gradients of the mean log-likelihood, scaled by the inverse square root of their Fisher information, are

    (2)  G_mean(k)     = 1 / (T sqrt(w_k))    sum_t g_t(k) (x_t - m_k) / s_k
    (3)  G_variance(k) = 1 / (T sqrt(2 w_k))  sum_t g_t(k) ((x_t - m_k)^2 / s_k^2 - 1).

All K means come first, then all K variances: 2 K d numbers. They are normalised in each cell:

    (4)  v = sign(G) |G|^power     (5)  v / |v|
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from imclass.core.bounds import Above, AtLeast, AtMost
from imclass.core.targets import Targets
from imclass.pipelines.codebooks.mixture import DiagonalMixture
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import CodebookEncoder, check_numbers, group_by_atoms, signed_power, unit_length
from imclass.pipelines.part import FitProgress

BLOCK = 1024  # descriptors whose posteriors are computed together, few enough for the processor's cache


@dataclass(frozen=True, eq=False)
class Standardised:
    """A mixture in coordinates in which it has mean 0 and variance 1.

    In them, equations 2 and 3 lose no digits to the differences of sums, however large the descriptors are.
    """

    middle: Float32[np.ndarray, "d"]
    scale: Float32[np.ndarray, "d"]
    weights: Float64[np.ndarray, "K 1"]
    means: Float64[np.ndarray, "K d"]
    variances: Float64[np.ndarray, "K d"]

    def likelihood(self) -> Float32[Tensor, "F K"]:
        """Return the factors of x, x^2 and 1 in log(w_k u_k(x)), up to a term that is the same for all components."""
        squares = (np.log(self.variances) + self.means**2 / self.variances).sum(1, keepdims=True)
        constant = np.log(self.weights) - squares / 2
        factors = [self.means / self.variances, -1 / (2 * self.variances), constant - constant.max()]
        return torch.from_numpy(np.concatenate(factors, 1).T.astype(np.float32))


def standardise(
    weights: Float32[np.ndarray, "K"], means: Float32[np.ndarray, "K d"], variances: Float32[np.ndarray, "K d"]
) -> Standardised:
    """Return the mixture with standardised coordinates."""
    w, m, v = weights.astype(np.float64)[:, None], means.astype(np.float64), variances.astype(np.float64)
    middle = (w * m).sum(0).astype(np.float32)
    scale = np.sqrt((w * (v + (m - middle) ** 2)).sum(0)).astype(np.float32)
    return Standardised(middle, scale, w, (m - middle) / scale, v / scale.astype(np.float64) ** 2)


@dataclass
class Fisher(CodebookEncoder):
    """The improved Fisher vector of each cell: 2 `words` d numbers for descriptors of d numbers."""

    kind: ClassVar[str] = "fisher"
    learned: ClassVar[tuple[str, ...]] = ("weights_", "means_", "variances_")
    codebook: ClassVar[str] = "means_"
    words: Annotated[int, AtLeast(1)] = 256  # components of the mixture
    power: Annotated[float, Above(0), AtMost(1)] = 0.5  # of the signed power before the division by the length

    @property
    def length(self) -> int:
        return 2 * int(self.means_.size)

    def word_numbers(self) -> Int64[np.ndarray, "length"]:
        """Return the number of the component to which each value of a cell belongs: means first, then variances."""
        return np.tile(np.repeat(np.arange(len(self.means_)), self.means_.shape[1]), 2)

    def fit_steps(self, x: Descriptors, targets: Targets, classes: int, seed: int = 0) -> Iterator[FitProgress]:
        """Fit the mixture to descriptors, and yield after each step."""
        check_numbers(x, self.kind)
        mixture = DiagonalMixture(components=self.words, seed=seed)
        yield from mixture.fit_steps(x.values)
        self.weights_, self.means_, self.variances_ = (
            np.asarray(array, np.float32) for array in (mixture.weights_, mixture.means_, mixture.variances_)
        )

    def encode(self, x: Descriptors) -> Float32[np.ndarray, "C length"]:
        """Return the normalised Fisher vector of each cell of one image."""
        mixture = standardise(self.weights_, self.means_, self.variances_)
        atoms, likelihood = group_by_atoms(x), mixture.likelihood()
        width = x.values.shape[1]
        terms = torch.empty(len(x), 2 * width + 1)  # x, x^2 and 1
        values = torch.from_numpy((x.values[atoms.order] - mixture.middle) / mixture.scale)
        terms[:, :width], terms[:, 2 * width] = values, 1
        torch.mul(values, values, out=terms[:, width : 2 * width])
        sums = torch.zeros(len(atoms.ends), likelihood.shape[1], 2 * width + 1)
        for atom, some in atoms.blocks(BLOCK):
            block = terms[some]
            posteriors = torch.softmax(block @ likelihood, 1)  # (1)
            sums[atom].addmm_(posteriors.T, block)
        return self.gradients(mixture, atoms.sum_cells(sums), torch.from_numpy(atoms.counts))

    def gradients(
        self, mixture: Standardised, sums: Float32[Tensor, "C K F"], counts: Float32[Tensor, "C"]
    ) -> Float32[np.ndarray, "C length"]:
        """Return the normalised Fisher vectors, given each cell's sums of g x, g x^2 and g."""
        width = mixture.means.shape[1]
        first, second, zeroth = sums.split([width, width, 1], 2)
        weights, means, variances = (
            torch.from_numpy(array.astype(np.float32)) for array in (mixture.weights, mixture.means, mixture.variances)
        )
        total = counts.clamp_min(1)[:, None, None]
        by_mean = (first - zeroth * means) / (total * (weights * variances).sqrt())  # (2)
        squares = second - 2 * means * first + zeroth * (means**2 - variances)
        by_variance = squares / (total * (2 * weights).sqrt() * variances)  # (3)
        rows = torch.cat([by_mean.flatten(1), by_variance.flatten(1)], 1).numpy()
        return unit_length(signed_power(rows, self.power))  # (4), (5)


PARTS = {"fisher": Fisher}
