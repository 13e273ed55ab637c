"""Linear support vector machines fitted by averaged stochastic gradient descent, for more rows than memory holds.

There is a machine for each class, which separates its images from all others: it minimises the mean hinge loss plus
lambda / 2 times the sum of the squared weights; biases are not penalised. Each step takes a small batch of rows. Step t
has the length eta0 / (1 + lambda eta0 t)^0.75, and the result is the mean of the weights after all steps but those of
the first pass (Xu, "Towards optimal one pass large scale learning with averaged stochastic gradient descent",
arXiv:1107.2490, 2011). Lin et al., "Large-scale image classification: fast feature extraction and SVM training", CVPR
2011, train their machines in this way.

Rows are read in slices, so `x` may be a memory-mapped array. Each pool of rows is mixed from short stretches at random
places, because neighbouring rows often have the same class.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from imclass.core.bounds import Above, AtLeast
from imclass.core.config import Solver
from imclass.core.errors import UserError
from imclass.core.targets import Link, Targets
from imclass.pipelines.part import FitProgress, LinearScorer
from imclass.pipelines.parts.linear_svm import Calibration
from imclass.pipelines.penalised import check_counts, class_marks, solver_folds
from imclass.pipelines.quasi_newton import LogisticLoss

STRETCH = 64  # neighbouring rows that are read together
POOL = 64  # stretches that are mixed
RATES = (0.01, 0.1, 1.0, 10.0)  # eta0 to choose from, for rows whose mean squared length is 1
TRIAL_ROWS = 20_000  # with which eta0 is chosen
SHARES = 10  # equal shares of the rows, one of which is held out


@dataclass
class AveragedSgd(LinearScorer):
    """Support vector machines for large sets, one for each class.

    `penalties` contains values of lambda. Machines are fitted for each of them at once, without a tenth of the images
    of each class. The one whose scaled margins have the lowest cross-entropy on this tenth is fitted again to all
    images. Margins are scaled as those of `linear-svm`. If a class has fewer than 10 images, the share held out is
    larger, such as a half if there are 2.
    """

    kind: ClassVar[str] = "averaged-sgd"
    learned: ClassVar[tuple[str, ...]] = (
        "weights_",
        "biases_",
        "sigmoid_",
        "penalty_",
        "rate_",
        "scale_",
        "losses_",
    )
    penalties: Annotated[tuple[float, ...], Above(0)] = (1e-2, 1e-3, 1e-4, 1e-5)
    passes: Annotated[int, AtLeast(2)] = 10  # over the images; the first is not averaged
    batch: Annotated[int, AtLeast(1)] = 16  # images in a step
    fewest: Annotated[int, AtLeast(1)] = 100_000  # images to see at least, in more passes if there are few

    def __post_init__(self) -> None:
        self.link: Link = "softmax"

    def check_together(self, at: str) -> None:
        """Raise `UserError` if there are no penalties."""
        if not self.penalties:
            raise UserError(f"{at}penalties is empty; give at least one penalty, such as 1e-4")

    def fit(
        self, x: Any, targets: Targets, classes: int, weights: Float[np.ndarray, "N"] | None = None
    ) -> "AveragedSgd":
        """Choose a penalty, fit the machines to all images, and return the part.

        `x` has a length, a shape, and slices that are float32 rows. `weights` contains the factor for each image's
        loss. Raise `UserError` if features are not finite, or if a class has fewer than 2 images.
        """
        for _ in self.fit_steps(x, targets, classes, weights=weights):
            pass
        return self

    def fit_steps(
        self,
        x: Any,
        targets: Targets,
        classes: int,
        seed: int = 0,
        weights: Float[np.ndarray, "N"] | None = None,
    ) -> Iterator[FitProgress]:
        """Learn as `fit` does, and yield after each pass. `seed` decides the order of the images."""
        check_counts(targets, classes, Solver.min_images)
        data = Rows.of(x, targets, classes, weights)
        passes = max(self.passes, -(-self.fewest // len(x)))
        expected = 2 * passes + 1
        held = solver_folds(targets, classes, SHARES) == 0
        rate = self.choose_rate(data, ~held, seed)
        yield 1, expected
        trials = Machines(data, self.penalties, rate)
        for done in range(passes):
            trials.run(~held, self.batch, np.random.default_rng([seed, done]), averaged=done > 0)
            yield 2 + done, expected
        found = [data.calibrate(machine, held) for machine in trials.averages]
        best = int(np.argmin([loss for _, loss in found]))
        final = Machines(data, (self.penalties[best],), rate)
        for done in range(passes):
            final.run(np.ones(len(held), bool), self.batch, np.random.default_rng([seed, done]), averaged=done > 0)
            if done < passes - 1:
                yield 2 + passes + done, expected
        self.weights_, self.biases_ = data.undo(final.averages[0] * found[best][0])
        facts = (targets.link == "sigmoid", self.penalties[best], rate, found[best][0])
        self.sigmoid_, self.penalty_, self.rate_, self.scale_ = map(np.array, facts)
        self.losses_ = np.array([loss for _, loss in found])
        self.set_link()
        yield expected, expected

    def choose_rate(self, data: "Rows", used: Bool[np.ndarray, "N"], seed: int) -> float:
        """Return the eta0 with the lowest objective after a pass over some images, at the middle penalty."""
        generator = np.random.default_rng(seed)
        some = np.zeros(len(used), bool)
        chosen = np.flatnonzero(used)
        some[chosen if len(chosen) <= TRIAL_ROWS else generator.choice(chosen, TRIAL_ROWS, replace=False)] = True
        penalty = sorted(self.penalties)[len(self.penalties) // 2]
        objectives = []
        for rate in RATES:
            trial = Machines(data, (penalty,), rate)
            trial.run(some, self.batch, np.random.default_rng(seed), averaged=False)
            objectives.append(data.objective(trial.weights[0], penalty, some))
        return RATES[int(np.argmin(objectives))]

    def set_link(self) -> None:
        """Set the link that matches the targets to which the part was fitted."""
        self.link = "sigmoid" if self.arrays()["sigmoid_"] else "softmax"

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays from a file, and the link that follows from them."""
        super().restore(arrays, where)
        self.set_link()

    def scores(self, x: Any) -> Float[np.ndarray, "N K"]:
        """Return the scaled margin of each class, which is linear in the features."""
        weights, biases = self.linear_model()
        parts = [x[start : start + STRETCH * POOL] @ weights.T + biases for start in range(0, len(x), STRETCH * POOL)]
        return np.concatenate(parts) if parts else np.zeros((0, len(biases)), np.float32)

    def linear_model(self) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
        """Return the weights and biases to apply to features that have not been scaled."""
        learned = self.arrays()
        return learned["weights_"], learned["biases_"]

    def facts(self) -> dict[str, Any]:
        """Return the penalty, eta0, the scale of the margins, and the cross-entropy for each penalty."""
        learned = self.arrays()
        names = ("penalty", "rate", "scale")
        losses = dict(zip(map(str, self.penalties), learned["losses_"].tolist(), strict=True))
        return {**{name: learned[f"{name}_"].item() for name in names}, "losses": losses}


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to read in slices, and what is known about each of them."""

    x: Any  # rows in slices
    mean: Float64[np.ndarray, "D"]
    size: float  # the root mean square distance of rows to their mean
    wanted: Float32[Tensor, "N K"]  # 1 for each class that an image has
    judged: Float32[Tensor, "N K"]  # the factor for the loss: 0 if it is not known whether an image has the class
    link: Link

    @classmethod
    def of(cls, x: Any, targets: Targets, classes: int, weights: Float[np.ndarray, "N"] | None) -> "Rows":
        """Read all rows, and return them with their moments. Raise `UserError` if any are not finite."""
        step, total, squares = STRETCH * POOL, np.zeros(x.shape[1]), np.zeros(x.shape[1])
        shift = np.asarray(x[:1], np.float64)[0]
        for start in range(0, len(x), step):
            if not np.isfinite(part := np.asarray(x[start : start + step], np.float64)).all():
                raise UserError("some features are not finite; remove NaN and inf, or use other features")
            part = part - shift
            total += part.sum(0)
            squares += np.square(part).sum(0)
        mean = total / len(x)
        size = float(np.sqrt(np.maximum(squares / len(x) - mean**2, 0).sum()))
        wanted, judged = (marks.T.float().contiguous() for marks in class_marks(targets, classes))
        if weights is not None:
            judged *= torch.from_numpy(weights).float()[:, None]
        return cls(x, mean + shift, size or 1.0, wanted, judged, targets.link)

    def standard(self, start: int, stop: int) -> Float32[np.ndarray, "_ E"]:
        """Return rows minus their mean, divided by their size, with a column of ones for the biases."""
        rows = (np.asarray(self.x[start:stop], np.float32) - self.mean.astype(np.float32)) / np.float32(self.size)
        return np.concatenate([rows, np.ones((len(rows), 1), np.float32)], 1)

    def pools(
        self, used: Bool[np.ndarray, "N"], generator: np.random.Generator | None
    ) -> Iterator[tuple[Int64[Tensor, "B"], Float32[Tensor, "B E"]]]:
        """Yield the positions of some of the rows that are used, and the rows, until all were read.

        The order is random, or that of the rows if `generator` is None.
        """
        starts = np.arange(0, len(used), STRETCH)
        starts = starts if generator is None else generator.permutation(starts)
        for first in range(0, len(starts), POOL):
            places, rows = [], []
            for start in starts[first : first + POOL].tolist():
                kept = np.flatnonzero(used[start : start + STRETCH])
                if len(kept):
                    rows.append(self.standard(start, start + STRETCH)[kept])
                    places.append(kept + start)
            if places:
                order = np.arange(sum(map(len, places)))
                order = order if generator is None else generator.permutation(order)
                yield (
                    torch.from_numpy(np.concatenate(places)[order]),
                    torch.from_numpy(np.concatenate(rows)[order]),
                )

    def objective(self, machine: Float32[Tensor, "K E"], penalty: float, used: Bool[np.ndarray, "N"]) -> float:
        """Return the sum of the objectives of all machines."""
        losses = 0.0
        for places, rows in self.pools(used, None):
            margins = (2 * self.wanted[places] - 1) * (rows @ machine.T)
            losses += float((self.judged[places] * (1 - margins).clamp_min(0)).sum(dtype=torch.float64))
        return losses / int(used.sum()) + penalty / 2 * float(machine[:, :-1].square().sum(dtype=torch.float64))

    def calibrate(self, machine: Float32[Tensor, "K E"], held: Bool[np.ndarray, "N"]) -> tuple[float, float]:
        """Return the scale of the margins, and the mean cross-entropy of the scaled margins of held-out rows."""
        found = [(places, rows @ machine.T) for places, rows in self.pools(held, None)]
        places, margins = (torch.cat(parts) for parts in zip(*found, strict=True))
        wanted, judged = (array[places].double().T for array in (self.wanted, self.judged))
        loss = LogisticLoss(torch.zeros(len(places), 0).double(), wanted, judged.sign(), self.link)
        return Calibration(loss, judged.amax(0)).fit(margins.double().T)

    def undo(self, machine: Float32[Tensor, "K E"]) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
        """Convert weights and biases for standard rows to float32 weights and biases for the original rows."""
        exact = machine.double().numpy()
        weights = exact[:, :-1] / self.size
        return weights.astype(np.float32), (exact[:, -1] - weights @ self.mean).astype(np.float32)


class Machines:
    """Machines for several penalties, which take the same steps, and the means of their weights."""

    def __init__(self, data: Rows, penalties: tuple[float, ...], rate: float) -> None:
        self.data, self.rate = data, rate
        self.penalties = torch.tensor(penalties, dtype=torch.float64)
        self.weights = torch.zeros(len(penalties), data.wanted.shape[1], len(data.mean) + 1)
        self.averages = torch.zeros_like(self.weights)
        self.steps, self.averaged = 0, 0

    def run(self, used: Bool[np.ndarray, "N"], batch: int, generator: np.random.Generator, averaged: bool) -> None:
        """Take the steps of one pass over the rows that are used."""
        for places, rows in self.data.pools(used, generator):
            signs = 2 * self.data.wanted[places] - 1
            factors = signs * self.data.judged[places]
            for some in torch.arange(len(rows)).split(batch):
                self.step(rows[some], signs[some], factors[some])
                if averaged:
                    self.averaged += 1
                    self.averages.lerp_(self.weights, 1 / self.averaged)

    def step(
        self, rows: Float32[Tensor, "B E"], signs: Float32[Tensor, "B K"], factors: Float32[Tensor, "B K"]
    ) -> None:
        """Take one step with the mean gradient of the rows."""
        lengths = self.rate / (1 + self.penalties * self.rate * self.steps) ** 0.75
        self.steps += 1
        margins = (rows @ self.weights.flatten(0, 1).T).unflatten(1, self.weights.shape[:2])
        pulls = (factors[:, None] * (signs[:, None] * margins < 1)) * (lengths.float() / len(rows))[:, None]
        self.weights[:, :, :-1] *= (1 - lengths * self.penalties).clamp_min(0).float()[:, None, None]
        self.weights.flatten(0, 1).addmm_(pulls.flatten(1).T, rows)


PARTS = {"averaged-sgd": AveragedSgd}
