"""Whitening of descriptors that keeps them as near as possible to what they were (ZCA).

A. Coates, A. Ng, H. Lee, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011,
section 3.1. With the mean m of the training descriptors and the eigenvectors V and eigenvalues e of their covariance,

    (1)  x -> V diag(1 / sqrt(e + floor)) V' (x - m).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch

from imclass.core.bounds import AtLeast
from imclass.core.targets import Targets
from imclass.pipelines.codebooks.principal import PrincipalComponents
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import check_descriptors, check_numbers
from imclass.pipelines.part import DescriptorFeature, FitProgress


@dataclass
class Whiten(DescriptorFeature):
    """A rotation to the principal axes, a division by the standard deviations, and the inverse rotation.

    Without a floor, the covariance of the training descriptors becomes the identity. Axes without variance become 0.
    """

    kind: ClassVar[str] = "whiten"
    learned: ClassVar[tuple[str, ...]] = ("mean_", "matrix_")
    floor: Annotated[float, AtLeast(0)] = 0.1  # added to each variance, so that noise is not enlarged

    def fit(self, x: Descriptors, targets: Targets, classes: int) -> "Whiten":
        """Learn the mean and the matrix from descriptors, and return the part."""
        for _ in self.fit_steps(x, targets, classes):
            pass
        return self

    def fit_steps(self, x: Descriptors, targets: Targets, classes: int, seed: int = 0) -> Iterator[FitProgress]:
        """Learn the mean and the matrix from descriptors, and yield after each step."""
        check_numbers(x, self.kind)
        estimator = PrincipalComponents(dims=x.values.shape[1])
        yield from estimator.fit_steps(x.values)
        axes, variances = estimator.components_.astype(np.float64), estimator.variances_.astype(np.float64)
        raised = variances + self.floor
        factors = np.where(raised > 0, 1 / np.sqrt(np.where(raised > 0, raised, 1)), 0)
        self.mean_, self.matrix_ = estimator.mean_, (axes.T @ (factors[:, None] * axes)).astype(np.float32)  # (1)

    def transform(self, x: Descriptors) -> Descriptors:
        """Return the whitened descriptors. Raise `UserError` if they are not like those of the fit, or not finite."""
        check_descriptors(x, self.arrays()["matrix_"].shape[1], self.kind)
        matrix, found = torch.from_numpy(self.matrix_), np.empty_like(x.values)
        ends = np.searchsorted(x.image, np.arange(x.images), side="right").tolist()
        for low, high in zip(
            [0, *ends], ends, strict=False
        ):  # image by image, because the sizes of products decide bits
            torch.mm(torch.from_numpy(x.values[low:high] - self.mean_), matrix, out=torch.from_numpy(found[low:high]))
        return x.with_values(found)


PARTS = {"whiten": Whiten}
