"""Principal components of rows of numbers, exact in float64, in memory that does not depend on the number of rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from imclass.core.bounds import AtLeast
from imclass.pipelines.codebooks.estimator import Estimator2d, UnusableRows

CHUNK = 32_768  # rows that are converted to float64 together
# A variance below this fraction of the largest is set to 0, because rounding to float32 causes this much.
SMALLEST_VARIANCE = 1e-12


@dataclass(eq=False)
class PrincipalComponents(Estimator2d):
    """The projection of rows on the directions in which they vary most.

    The components are eigenvectors of the covariance matrix (divided by D - 1), in descending order of variance. The
    largest number of each, by magnitude, is positive. If rows vary in fewer than `dims` directions, the others are
    arbitrary orthogonal directions of variance 0, along which rows of the fit are 0, whitened or not.

    Learned: `mean_` [d], `components_` [dims d], `variances_` [dims], all float32.
    """

    dims: Annotated[int, AtLeast(1)] = 80  # the number of components; at most the width of the rows
    whiten: bool = False  # divide each projection by its standard deviation

    @property
    def fewest_rows(self) -> int:
        """Return the number of components, but at least 2."""
        return max(self.dims, 2)

    def fit_steps(self, x: Float32[np.ndarray, "D d"]) -> Iterator[tuple[int, int]]:
        """Learn the components from rows, and yield after each chunk of rows.

        Raise `UserError` if the rows are not finite, fewer than `dims`, or narrower than `dims`.
        """
        self.begin(x, f"the {self.fewest_rows} that {self.dims} principal components need")
        if x.shape[1] < self.dims:
            raise UnusableRows(
                f"descriptors of {x.shape[1]} numbers have at most {x.shape[1]} principal components, not {self.dims}; "
                f"ask for at most {x.shape[1]} (n_features = {x.shape[1]})"
            )
        starts = range(0, len(x), CHUNK)
        expected = 2 * len(starts)
        mean = np.zeros(x.shape[1])
        for done, start in enumerate(starts, 1):
            mean += x[start : start + CHUNK].sum(0, dtype=np.float64) / len(x)
            yield done, expected
        covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        for done, start in enumerate(starts, len(starts) + 1):
            rows = torch.from_numpy(x[start : start + CHUNK] - mean)
            covariance.addmm_(rows.T, rows)
            if done < expected:
                yield done, expected
        self.decompose(mean, covariance / (len(x) - 1))
        yield expected, expected

    def decompose(self, mean: Float64[np.ndarray, "d"], covariance: Float64[Tensor, "d d"]) -> None:
        """Set the learned arrays, given the mean and the covariance matrix."""
        variances, axes = (array.flip(-1)[..., : self.dims].numpy() for array in torch.linalg.eigh(covariance))
        strongest = np.abs(axes).argmax(0)
        signs = np.where(axes[strongest, np.arange(self.dims)] < 0, -1, 1)
        self.mean_, self.components_ = mean.astype(np.float32), np.ascontiguousarray((axes * signs).T, np.float32)
        self.variances_ = np.where(variances > SMALLEST_VARIANCE * variances[0], variances, 0).astype(np.float32)

    def project(self, x: Float32[np.ndarray, "D d"]) -> Float32[np.ndarray, "D dims"]:
        """Return the projections of rows. Raise `UserError` if they have another width than those of the fit."""
        components = self.require_fit("components_")
        self.check_width(x, components.shape[1])
        if self.whiten:
            deviations = np.sqrt(self.variances_)[:, None]
            components = components / np.where(deviations > 0, deviations, 1)
        found = np.empty((len(x), len(components)), np.float32)
        directions = torch.from_numpy(components).T
        for start in range(0, len(x), CHUNK):
            rows = torch.from_numpy(x[start : start + CHUNK] - self.mean_)
            torch.mm(rows, directions, out=torch.from_numpy(found[start : start + CHUNK]))
        return found

    def transform(self, X: Any) -> Float32[np.ndarray, "D dims"]:
        """Return the projections of rows."""
        self.require_fit("components_")
        return self.project(self.validate_rows(X, reset=False))
