"""Principal components of local descriptors, optionally whitened."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from imclass.core.bounds import AtLeast
from imclass.core.targets import Targets
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
        from imclass.pipelines.codebooks.principal import PrincipalComponents

        estimator: Any = PrincipalComponents(dims=self.dims, whiten=self.whiten)
        yield from estimator.fit_steps(x.values)
        self.mean_, self.components_, self.variances_ = (
            np.asarray(array, np.float32) for array in (estimator.mean_, estimator.components_, estimator.variances_)
        )

    def transform(self, x: Descriptors) -> Descriptors:
        """Return the projected descriptors."""
        components = self.arrays()["components_"]
        check_descriptors(x, components.shape[1], self.kind)
        if self.whiten:  # a direction without variance, in which training descriptors are 0, remains 0
            deviations = np.sqrt(self.variances_)[:, None]
            components = components / np.where(deviations > 0, deviations, 1)
        directions = torch.from_numpy(components.T.copy())
        values = [torch.from_numpy(each.values - self.mean_) @ directions for each in x.of_each_image()]
        return x.with_values(torch.cat(values).numpy() if values else x.values[:, : len(components)])


PARTS = {"pca": Pca}
