"""Linear support vector machines with the hinge loss for large sets, fitted by averaged stochastic gradient descent.

Lin et al., "Large-scale image classification: fast feature extraction and SVM training" (CVPR 2011), fitted the
winner of ILSVRC 2010 in this way. Images are read in blocks, so they may lie in a file that is larger than the memory.
`pipelines/averaged_descent.py` contains the objective and the steps.

The rate with the lowest objective after a few steps is used, as Bottou ("Stochastic gradient descent tricks", 2012)
recommends. The penalty is the one whose margins have the lowest cross-entropy on held-out images, after they have been
multiplied by one scale (`parts/linear_svm.py`). The machines are finally fitted to all images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from imclass.core.bounds import Above, AtLeast, AtMost
from imclass.core.config import Solver
from imclass.core.errors import UserError
from imclass.core.targets import Link, Targets
from imclass.pipelines.averaged_descent import BUFFER_BYTES, Descent, ScaledRows, scaled_rows
from imclass.pipelines.part import FitProgress, LinearScorer
from imclass.pipelines.parts.linear_svm import Calibration
from imclass.pipelines.penalised import check_counts, class_marks, solver_folds
from imclass.pipelines.quasi_newton import LogisticLoss

SAMPLE = 1_000  # training images with which the rate is chosen, at most
SAMPLE_PASSES = 2
GROUP_BYTES = 1 << 28  # of the weights of the settings that are tried together; one setting may need more

Setting: TypeAlias = tuple[float, float]  # a penalty and a rate


@dataclass(frozen=True, eq=False)
class SgdData:
    """The images of a fit."""

    rows: ScaledRows
    targets: Targets
    classes: int
    factors: Float[np.ndarray, "N"]  # of each image's loss; their mean is 1
    seed: int

    def signs(self, chosen: Any) -> Float[np.ndarray, "n K"]:
        """Return 1 for each class that an image has, -1 for the others, and 0 for those not annotated."""
        wanted, judged = class_marks(self.targets[chosen], self.classes)
        return np.asarray(((2 * wanted - 1) * judged).T.numpy())


@dataclass
class AveragedSgd(LinearScorer):
    """Support vector machines with the hinge loss, fitted by averaged stochastic gradient descent.

    `penalties` are tried on a fraction `held_out` of the images of each class, and at least one image. All features
    are first divided by one number, so that the mean squared length of the images is 1.
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
        "held_",
    )
    penalties: Annotated[tuple[float, ...], Above(0)] = (0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
    rates: Annotated[tuple[float, ...], Above(0)] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # first step lengths to try
    passes: Annotated[int, AtLeast(2)] = 10  # over all images; the weights are averaged in all but the first
    held_out: Annotated[float, Above(0), AtMost(0.5)] = 0.2  # fraction of each class that chooses the penalty

    def __post_init__(self) -> None:
        self.link: Link = "softmax"

    def check_together(self, at: str) -> None:
        """Raise `UserError` if there are no penalties or no rates."""
        for name in ("penalties", "rates"):
            if not getattr(self, name):
                raise UserError(f"--{at}{name} is (); specify one or more numbers above 0")

    def fit(
        self, x: Any, targets: Targets, classes: int, weights: Float[np.ndarray, "N"] | None = None
    ) -> "AveragedSgd":
        """Choose the penalty, the rate and the scale, fit the machines to all images, and return the part.

        `x` is an array [N D], or has `shape`, `len` and slices of rows like one. `weights` contains the factor for each
        image's loss. Only their ratios matter. They do not affect how the features are scaled.
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
        """Fit as `fit` does, and yield after each buffer of images. The seed decides the order of the images."""
        check_counts(targets, classes, Solver.min_images)
        held = solver_folds(targets, classes, round(1 / self.held_out)) == 0
        rows = yield from scaled_rows(x)
        factors = np.ones(len(x)) if weights is None else np.asarray(weights / weights.mean(), np.float64)
        data = SgdData(rows, targets, classes, factors, seed)
        settings = self.choose_rates(data, ~held)
        per = max(1, GROUP_BYTES // (8 * classes * max(x.shape[1], 1)))
        groups = [settings[i : i + per] for i in range(0, len(settings), per)]
        expected, done = (len(groups) + 1) * self.passes * rows.buffers, 0
        losses: list[float] = []
        best, best_scale = settings[0], 1.0
        for group in groups:
            descent = new_descent(group, data)
            for _ in self.descend(descent, data, ~held):
                yield (done := done + 1), expected
            for setting, (scale, loss) in zip(group, judge(descent, data, held), strict=True):
                if loss < min(losses, default=np.inf):
                    best, best_scale = setting, scale
                losses.append(loss)
        descent = new_descent([best], data)
        for _ in self.descend(descent, data, np.ones_like(held)):
            yield min(done := done + 1, expected - 1), expected
        self.losses_, self.held_ = np.array(losses), np.array(held.sum())
        self.finish(descent, data, best, best_scale)
        yield expected, expected

    def choose_rates(self, data: SgdData, chosen: Bool[np.ndarray, "N"]) -> list[Setting]:
        """Return each penalty with the rate that has the lowest objective after a few passes over a sample."""
        if len(self.rates) == 1:
            return [(penalty, self.rates[0]) for penalty in self.penalties]
        rows, positions = next(data.rows.shuffle(chosen, (data.seed, 0)))
        rows, signs, factors = rows[:SAMPLE], data.signs(positions[:SAMPLE]), data.factors[positions[:SAMPLE]]
        settings = []
        per = max(1, GROUP_BYTES // (8 * data.classes * max(rows.shape[1], 1)))
        for penalty in self.penalties:
            objectives: list[float] = []
            for i in range(0, len(self.rates), per):
                descent = new_descent([(penalty, rate) for rate in self.rates[i : i + per]], data)
                for number in range(SAMPLE_PASSES):
                    descent.learn(rows, signs, factors, number > 0)
                objectives += descent.objectives(rows, signs, factors).tolist()
            settings.append((penalty, self.rates[int(np.argmin(objectives))]))
        return settings

    def descend(self, descent: Descent, data: SgdData, chosen: Bool[np.ndarray, "N"]) -> Iterator[None]:
        """Make all passes over the chosen images, and yield after each buffer."""
        for number in range(self.passes):
            for rows, positions in data.rows.shuffle(chosen, (data.seed, 1, number)):
                descent.learn(rows, data.signs(positions), data.factors[positions], number > 0)
                yield

    def finish(self, descent: Descent, data: SgdData, setting: Setting, scale: float) -> None:
        """Set the learned arrays, for features that have not been scaled."""
        weights = scale / data.rows.scale * descent.average[0].double().numpy()
        self.weights_ = weights.astype(np.float32)
        self.biases_ = scale * descent.bias_average[0] - weights @ data.rows.mean
        self.sigmoid_ = np.array(data.targets.link == "sigmoid")
        self.penalty_, self.rate_, self.scale_ = map(np.array, (*setting, scale))
        self.set_link()

    def set_link(self) -> None:
        """Set the link that matches the targets to which the part was fitted."""
        self.link = "sigmoid" if self.arrays()["sigmoid_"] else "softmax"

    def restore(self, arrays: Mapping[str, np.ndarray], where: str) -> None:
        """Set the learned arrays from a file, and the link that follows from them."""
        super().restore(arrays, where)
        self.set_link()

    def scores(self, x: Any) -> Float[np.ndarray, "N K"]:
        """Return the score of each class, which is linear in the features. `x` is read in blocks.

        Sums are in float64, because float32 sums depend on the number of rows in a block.
        """
        weights, biases = (array.astype(np.float64) for array in self.linear_model())
        step = max(1, BUFFER_BYTES // (8 * max(x.shape[1], 1)))
        found = [x[low : low + step] @ weights.T + biases for low in range(0, len(x), step)]
        return np.concatenate([*found, np.empty((0, len(biases)))])

    def linear_model(self) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K"]]:
        """Return the weights and biases to apply to features that have not been scaled."""
        learned = self.arrays()
        return learned["weights_"], learned["biases_"]

    def facts(self) -> dict[str, Any]:
        """Return the choices, the number of images that were held out, and the cross-entropy with each penalty."""
        learned = self.arrays()
        names = {"penalty": "penalty_", "rate": "rate_", "scale": "scale_", "held_out": "held_"}
        losses = dict(zip(map(str, self.penalties), learned["losses_"].tolist(), strict=True))
        return {**{name: learned[array].item() for name, array in names.items()}, "losses": losses}


def new_descent(settings: Sequence[Setting], data: SgdData) -> Descent:
    """Return the beginning of a descent."""
    penalties, rates = zip(*settings, strict=True)
    return Descent(penalties, rates, data.classes, len(data.rows.mean))


def judge(descent: Descent, data: SgdData, held: Bool[np.ndarray, "N"]) -> list[tuple[float, float]]:
    """Return, for each setting, the best scale for the margins of held-out images, and their mean cross-entropy."""
    step, positions = data.rows.buffered, np.flatnonzero(held)
    blocks: list[Float[np.ndarray, "F K _"]] = []
    for low in range(0, len(held), step):
        if held[low : low + step].any():
            rows: Float32[Tensor, "n D"] = torch.from_numpy(data.rows.read(low, low + step)[held[low : low + step]])
            blocks.append(descent.margins(rows))
    wanted, judged = class_marks(data.targets[positions], data.classes)
    loss = LogisticLoss(torch.zeros(len(positions), 0).double(), wanted, judged, data.targets.link)
    calibration = Calibration(loss, torch.from_numpy(data.factors[positions]))
    return [calibration.fit(margins) for margins in torch.from_numpy(np.concatenate(blocks, 2))]


PARTS = {"averaged-sgd": AveragedSgd}
