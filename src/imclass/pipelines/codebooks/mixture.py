"""Gaussian mixtures with diagonal covariances, fitted by expectation-maximisation from a k-means start.

With h = [z, z^2] for a row z, the logarithm of the weighted density of component k is linear in h (1):
log(w_k N(z; m_k, v_k)) = sum_i (z_i m_ki / v_ki - z_i^2 / (2 v_ki)) + log w_k - sum_i (m_ki^2 / v_ki + log(2 pi v_ki))
/ 2. The posteriors p are the softmax of these over k (2). With n_k = sum p_k, the M step sets w_k = n_k / D,
m_k = sum p_k z / n_k and v_k = sum p_k z^2 / n_k - m_k^2 (3). Both steps are matrix products.

z are the rows minus their mean, divided by their standard deviations. Otherwise (1) would subtract large numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from imclass.core.bounds import Above, AtLeast
from imclass.pipelines.codebooks.estimator import Estimator2d
from imclass.pipelines.codebooks.kmeans import KMeans

CHUNK = 8192  # rows whose posteriors are in memory together
FEWEST = 0.5  # a component that stands for fewer rows is dead


@dataclass(eq=False)
class DiagonalMixture(Estimator2d):
    """A mixture of Gaussians with diagonal covariances.

    The fit ends when an iteration without dead components increases the mean log-likelihood of a row by less than
    `tolerance`. No variance is below `floor` times the variance of all rows in the same dimension; if that is 0, the
    mean over all dimensions takes its place. A component that stands for less than half a row is dead: it takes half of
    the component with the largest weight, from which it is one standard deviation away in that component's widest
    dimension.

    Learned: `weights_` [components], `means_` [components d], `variances_` [components d], all float32, and
    `log_likelihoods_`, the mean log-likelihood of a row before each iteration, in nats.
    """

    components: Annotated[int, AtLeast(1)] = 256  # the number K of Gaussians
    iterations: Annotated[int, AtLeast(0)] = 50  # at most; 0: only the start
    tolerance: Annotated[float, AtLeast(0)] = 1e-3  # in nats
    floor: Annotated[float, Above(0)] = 1e-3  # the lowest variance in a component, relative to that of all rows
    seed: int = 0  # of k-means

    @property
    def fewest_rows(self) -> int:
        """Return the number of components."""
        return self.components

    def fit_steps(self, x: Float32[np.ndarray, "D d"]) -> Iterator[tuple[int, int]]:
        """Fit the mixture to rows, and yield after each iteration of k-means and of the mixture.

        Raise `UserError` if the rows are not finite, or fewer than the components.
        """
        self.begin(x, f"the {self.components:,} components of the mixture")
        clusters = KMeans(words=self.components, iterations=50, seed=self.seed)
        expected = clusters.iterations + 2 + self.iterations
        for done, _ in clusters.fit_steps(x):
            yield done, expected
        middle, scale = moments(x)
        numbers = torch.from_numpy(clusters.assign(x))
        hard = torch.nn.functional.one_hot
        sums = torch.zeros(self.components, 2 * x.shape[1] + 1, dtype=torch.float64)
        for start, terms in standard_terms(x, middle, scale):
            sums += hard(numbers[start : start + CHUNK], self.components).float().T @ terms
        state = Standard.estimate(sums, self.floor)
        found: list[float] = []
        for iteration in range(self.iterations):
            yield done + 1 + iteration, expected
            sums, total = state.expect(x, middle, scale)
            found.append(total / len(x) - float(np.log(scale).sum()))
            settled = iteration > 0 and not state.revived and found[-1] - found[-2] < self.tolerance
            state = Standard.estimate(sums, self.floor)
            if settled:
                break
        self.weights_ = state.weights.float().numpy()
        self.means_ = (state.means.numpy() * scale + middle).astype(np.float32)
        self.variances_ = (state.variances.numpy() * scale**2).astype(np.float32)
        self.log_likelihoods_ = np.array(found)
        yield expected, expected

    def posteriors(self, x: Float32[np.ndarray, "D d"]) -> Float32[np.ndarray, "D K"]:
        """Return the probability of each component for each row. Raise `UserError` for rows of another width."""
        found = np.empty((len(x), len(self.require_fit("means_"))), np.float32)
        for start, scores in self.joint(x):
            found[start : start + CHUNK] = torch.softmax(scores, 1).numpy()
        return found

    def log_likelihood(self, x: Float32[np.ndarray, "D d"]) -> Float32[np.ndarray, "D"]:
        """Return the logarithm of the density at each row, in nats. Raise `UserError` for rows of another width."""
        found = np.empty(len(x), np.float32)
        for start, scores in self.joint(x):
            found[start : start + CHUNK] = scores.logsumexp(1).numpy()
        return found

    def joint(self, x: Float32[np.ndarray, "D d"]) -> Iterator[tuple[int, Float32[Tensor, "_ K"]]]:
        """Yield the start of each chunk of rows, and the logarithms of the weighted densities of the components."""
        means = self.require_fit("means_").astype(np.float64)
        self.check_width(x, means.shape[1])
        weights, variances = self.weights_.astype(np.float64), self.variances_.astype(np.float64)
        weights /= weights.sum()
        middle = weights @ means
        scale = np.sqrt(weights @ (variances + (means - middle) ** 2))
        arrays = (weights, (means - middle) / scale, variances / scale**2)
        factors = Standard(*map(torch.from_numpy, arrays)).factors()
        factors[-1] -= float(np.log(scale).sum())
        for start, terms in standard_terms(x, middle, scale):
            yield start, terms @ factors

    def transform(self, X: Any) -> Float32[np.ndarray, "D K"]:
        """Return the probability of each component for each row."""
        self.require_fit("means_")
        return self.posteriors(self.validate_rows(X, reset=False))


@dataclass(frozen=True, eq=False)
class Standard:
    """A mixture in the coordinates of standardised rows."""

    weights: Float64[Tensor, "K"]
    means: Float64[Tensor, "K d"]
    variances: Float64[Tensor, "K d"]
    revived: int = field(default=0, kw_only=True)  # dead components that were replaced in the estimate

    @classmethod
    def estimate(cls, sums: Float64[Tensor, "K E"], floor: float) -> "Standard":
        """Return the mixture that follows from the sums of p z, p z^2 and p (3), its dead components revived."""
        width = sums.shape[1] // 2
        counts = sums[:, -1].clamp_min(1e-300)
        means = sums[:, :width] / counts[:, None]
        variances = (sums[:, width:-1] / counts[:, None] - means.square()).clamp_min(floor)
        weights = counts / counts.sum()
        all_dead = (sums[:, -1] < FEWEST).nonzero()[:, 0].tolist()
        for dead in all_dead:
            heaviest = int(weights.argmax())
            widest = int(variances[heaviest].argmax())
            weights[[dead, heaviest]] = weights[heaviest] / 2
            means[dead], variances[dead] = means[heaviest], variances[heaviest]
            means[dead, widest] += variances[heaviest, widest].sqrt()
        return cls(weights / weights.sum(), means, variances, revived=len(all_dead))

    def factors(self) -> Float32[Tensor, "E K"]:
        """Return the factors of z, z^2 and 1 in (1)."""
        constant = self.weights.log() - (self.means.square() / self.variances + (2 * np.pi * self.variances).log()).sum(
            1
        ).div(2)
        return torch.cat([(self.means / self.variances).T, (-0.5 / self.variances).T, constant[None]]).float()

    def expect(
        self, x: Float32[np.ndarray, "D d"], middle: Float64[np.ndarray, "d"], scale: Float64[np.ndarray, "d"]
    ) -> tuple[Float64[Tensor, "K E"], float]:
        """Return the sums of p z, p z^2 and p over all rows, and the log-likelihood of all rows."""
        factors, total = self.factors(), 0.0
        sums = torch.zeros(factors.T.shape, dtype=torch.float64)
        for _, terms in standard_terms(x, middle, scale):
            scores = terms @ factors
            posteriors = torch.softmax(scores, 1)  # (2)
            densities = scores.amax(1).double() - posteriors.amax(1).double().log()  # logarithms
            total += float(densities.sum())
            sums += posteriors.T @ terms
        return sums, total


def moments(x: Float32[np.ndarray, "D d"]) -> tuple[Float64[np.ndarray, "d"], Float64[np.ndarray, "d"]]:
    """Return the mean and the standard deviation of rows. Zeros are replaced by the root mean square of all."""
    starts = range(0, len(x), CHUNK)
    middle = sum(x[start : start + CHUNK].sum(0, dtype=np.float64) for start in starts) / len(x)
    squares = sum(np.square(x[start : start + CHUNK] - middle).sum(0) for start in starts) / len(x)
    constant = squares <= 1e-14 * middle**2  # this much comes from rounding
    typical = squares[~constant].mean() if not constant.all() else 1.0
    return middle, np.sqrt(np.where(constant, typical, squares))


def standard_terms(
    x: Float32[np.ndarray, "D d"], middle: Float64[np.ndarray, "d"], scale: Float64[np.ndarray, "d"]
) -> Iterator[tuple[int, Float32[Tensor, "_ E"]]]:
    """Yield the start of each chunk of rows, and z, z^2 and 1 for its rows. The next chunk overwrites the numbers."""
    width = x.shape[1]
    buffer = torch.ones(min(CHUNK, len(x)), 2 * width + 1)
    centre, inverse = torch.from_numpy(middle.astype(np.float32)), torch.from_numpy((1 / scale).astype(np.float32))
    for start in range(0, len(x), CHUNK):
        rows = torch.from_numpy(x[start : start + CHUNK])
        terms = buffer[: len(rows)]
        z = torch.sub(rows, centre).mul_(inverse)
        terms[:, :width] = z
        torch.mul(z, z, out=terms[:, width:-1])
        yield start, terms
