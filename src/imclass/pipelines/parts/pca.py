"""Principal components of local descriptors, optionally whitened."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from imclass.core.bounds import AtLeast
from imclass.core.targets import Targets
from imclass.pipelines.codebooks.principal import PrincipalComponents
from imclass.pipelines.descriptors import Descriptors
from imclass.pipelines.encoding import check_descriptors, check_numbers
from imclass.pipelines.part import DescriptorFeature, FitProgress


@dataclass
class Pca(DescriptorFeature):
    """The projection of descriptors on the directions in which those of the training images vary most."""

    kind: ClassVar[str] = "pca"
    learned: ClassVar[tuple[str, ...]] = ("mean_", "components_", "variances_")
    dims: Annotated[int, AtLeast(1)] = 80  # numbers in a projected descriptor
    whiten: bool = False  # divide each number by its standard deviation over the training descriptors

    def fit(self, x: Descriptors, targets: Targets, classes: int) -> "Pca":
        """Learn the directions from descriptors, and return the part."""
        for _ in self.fit_steps(x, targets, classes):
            pass
        return self

    def fit_steps(self, x: Descriptors, targets: Targets, classes: int, seed: int = 0) -> Iterator[FitProgress]:
        """Learn the directions from descriptors, and yield after each step."""
        check_numbers(x, self.kind)
        estimator = PrincipalComponents(dims=self.dims, whiten=self.whiten)
        yield from estimator.fit_steps(x.values)
        self.mean_, self.components_, self.variances_ = (
            np.asarray(array, np.float32) for array in (estimator.mean_, estimator.components_, estimator.variances_)
        )

    def transform(self, x: Descriptors) -> Descriptors:
        """Return the projected descriptors."""
        check_descriptors(x, self.arrays()["components_"].shape[1], self.kind)
        estimator = PrincipalComponents(dims=self.dims, whiten=self.whiten)
        estimator.mean_, estimator.components_, estimator.variances_ = self.mean_, self.components_, self.variances_
        values = [estimator.project(each.values) for each in x.of_each_image()]
        empty = np.zeros((0, len(self.components_)), np.float32)
        return x.with_values(np.concatenate([empty, *values]))


PARTS = {"pca": Pca}
