"""What is minimised, and the gradients of a step: parts, each with its own randomness, added in one fixed order."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from imclass.core.config import Objective
from imclass.core.errors import UserError
from imclass.core.randomness import part_seed
from imclass.core.runtime import Arithmetic, reseed
from imclass.core.targets import StepTargets
from imclass.data.loader import Part
from imclass.models.arithmetic.precision import forward, outputs
from imclass.models.classifier import NetworkClassifier
from imclass.models.network import Network
from imclass.models.rates import LayerRates
from imclass.training import norms
from imclass.training.parallel import fold_parts


@dataclass(eq=False)
class Gradients:
    """The sums over some parts of a step. Losses are their shares of the mean over the step's images, in nats.

    `main` is of the scores that are evaluated too; `total`, with auxiliary heads, is minimised.
    """

    values: list[Tensor | None]  # of each parameter that learns
    moments: list[Tensor]  # of batch norms, weighted by images; none in a step of one part
    main: float
    total: float
    correct: int

    def __iadd__(self, other: "Gradients") -> "Gradients":
        for i, value in enumerate(other.values):
            mine = self.values[i]
            if mine is None:
                self.values[i] = value
            elif value is not None:
                mine += value
        for mine, value in zip(self.moments, other.moments, strict=True):
            mine += value
        self.main += other.main
        self.total += other.total
        self.correct += other.correct
        return self


@dataclass(frozen=True, eq=False)
class Learner:
    """A classifier that learns, with what is minimised, what moves, and the arithmetic."""

    classifier: NetworkClassifier
    objective: Objective
    optimiser: Optimizer
    layers: LayerRates  # which layers are frozen
    parameters: Sequence[Tensor]
    norms: Sequence[_BatchNorm]
    arithmetic: Arithmetic
    seed: int

    @property
    def network(self) -> Network:
        """The network that learns."""
        return self.classifier.network

    def gradients(
        self, parts: Mapping[int, Part], numbers: range, several: bool, images: int, step: int
    ) -> dict[range, Gradients]:
        """Return the gradients of the mean loss over a step's `images`, of the parts with these numbers, folded.

        A part's randomness follows (seed, step, number), so that neither a resume nor the number of processes changes
        a dropout mask. A number may have no part. `several` is whether the whole step has more than one part.
        """
        with norms.isolate_statistics(self.norms) if several else contextlib.nullcontext():
            each = (
                (n, self.part_gradients(parts[n], n, images, step, several) if n in parts else None) for n in numbers
            )
            return fold_parts(each)

    def part_gradients(self, part: Part, number: int, images: int, step: int, several: bool) -> Gradients:
        """Return the gradients of one part."""
        device = self.network.mean.device
        for parameter in self.parameters:
            parameter.grad = None
        reseed(part_seed(self.seed, step, number), device)
        scores, *sides = outputs(forward(self.network, part.images.to(device), self.arithmetic))
        targets = part.targets.on(device)
        main, total = self.loss(scores, sides, targets, images)
        total.backward()
        moments = norms.moments(self.norms, len(targets) / images) if several else []
        values = [parameter.grad for parameter in self.parameters]
        return Gradients(values, moments, main.item(), total.item(), targets.correct(scores))

    def loss(self, scores: Tensor, sides: Sequence[Tensor], targets: StepTargets, images: int) -> tuple[Tensor, Tensor]:
        """Return a part's main loss, and the total with each auxiliary head's, weighted, over the step's images."""
        main = self.image_losses(scores, targets).sum() / images
        if not sides:
            return main, main
        auxiliary = torch.stack([self.image_losses(side, targets).sum() for side in sides]).sum()
        return main, main + self.network.side_weight * auxiliary / images

    def image_losses(self, scores: Tensor, targets: StepTargets) -> Tensor:
        """Return the loss of each image; raise `UserError` for a kind that gives something else."""
        losses = self.objective.loss(scores.float(), targets)
        if losses.shape != (len(targets),):
            form = " x ".join(map(str, losses.shape)) or "one number"
            why = f"the loss of objective {self.objective.kind} is {form} for {len(targets)} images"
            raise UserError(f"{why}; return one number an image, not yet added or averaged")
        if scores.requires_grad and not losses.requires_grad:  # scores have none where all that leads to them is frozen
            why = f"the loss of objective {self.objective.kind} has no gradient"
            raise UserError(f"{why}; compute it from the scores as they come, without `detach` or numpy")
        return losses
