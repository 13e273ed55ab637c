"""The loss and gradients of a step.

Each part of a step has its own random state, and the gradients of the parts are added in a fixed order.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from imclass.core.config import Objective
from imclass.core.errors import UserError
from imclass.core.randomness import part_seed
from imclass.core.runtime import Arithmetic, reseed
from imclass.core.targets import AnyOf, StepTargets
from imclass.data.loader import Part
from imclass.models.arithmetic.precision import forward, outputs
from imclass.models.classifier import NetworkClassifier
from imclass.models.network import Network
from imclass.models.rates import LayerRates
from imclass.training import norms
from imclass.training.parallel import fold_parts


@dataclass(eq=False)
class Gradients:
    """Sums over some parts of a step. Losses are contributions to the step's mean loss per image, in nats."""

    values: list[Tensor | None]  # of each trainable parameter
    moments: list[Tensor]  # of batch norms, weighted by image count; empty in a step of one part
    main: float  # the loss of the main scores
    total: float  # the loss to minimise, which includes auxiliary heads
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
    """A classifier in training, with its objective, optimiser and arithmetic."""

    classifier: NetworkClassifier
    objective: Objective
    optimiser: Optimizer
    layers: LayerRates  # with a rate of 0 for frozen layers
    parameters: Sequence[Tensor]  # the trainable ones
    norms: Sequence[_BatchNorm]  # the batch norms whose running statistics are updated
    arithmetic: Arithmetic
    seed: int
    class_weights: Float32[Tensor, "K"] | None = None  # factors for the losses of each class's images

    @property
    def network(self) -> Network:
        """Return the network being trained."""
        return self.classifier.network

    def gradients(
        self, parts: Mapping[int, Part], numbers: range, multipart: bool, images: int, step: int
    ) -> dict[range, Gradients]:
        """Return the gradients of the mean loss over a step of `images` images, for the parts in `numbers`.

        Gradients are added up in blocks of parts, as in `fold_parts`. Some numbers may have no part. `multipart` means
        that the step has several parts, in this process or in others.
        """
        with norms.isolate_statistics(self.norms) if multipart else contextlib.nullcontext():
            return fold_parts(
                (n, self.part_gradients(parts[n], n, images, step, multipart) if n in parts else None) for n in numbers
            )

    def part_gradients(self, part: Part, number: int, images: int, step: int, multipart: bool) -> Gradients:
        """Return the gradients of one part."""
        device = self.network.mean.device
        for parameter in self.parameters:
            parameter.grad = None
        # The random state is derived from (seed, step, number), so that dropout masks do not depend on whether the run
        # was resumed or on how many processes compute a step.
        reseed(part_seed(self.seed, step, number), device)
        scores, *sides = outputs(forward(self.network, part.images.to(device, non_blocking=True), self.arithmetic))
        targets = part.targets.on_device(device)
        main, total = self.loss(scores, sides, targets, images)
        total.backward()
        moments = norms.moments(self.norms, len(targets) / images) if multipart else []
        values = [parameter.grad for parameter in self.parameters]
        loss = main.item()  # waits for the device, so a loss without auxiliary heads is read only once
        whole = loss if total is main else total.item()
        return Gradients(values, moments, loss, whole, targets.count_correct(scores))

    def loss(self, scores: Tensor, sides: Sequence[Tensor], targets: StepTargets, images: int) -> tuple[Tensor, Tensor]:
        """Return a part's main loss, and the sum of that loss and the weighted losses of the auxiliary heads.

        Both are sums over the part's images, divided by the number of images in the step.
        """
        main = self.image_losses(scores, targets).sum() / images
        if not sides:
            return main, main
        auxiliary = torch.stack([self.image_losses(side, targets).sum() for side in sides]).sum()
        return main, main + self.network.side_weight * auxiliary / images

    def image_losses(self, scores: Tensor, targets: StepTargets) -> Tensor:
        """Return the loss of each image, multiplied by the weight of its class.

        Raise `UserError` if the objective does not return one loss per image.
        """
        losses = self.objective.loss(scores.float(), targets)
        if losses.shape != (len(targets),):
            form = " x ".join(map(str, losses.shape)) or "one number"
            problem = f"the loss of objective {self.objective.kind} is {form} for {len(targets)} images"
            raise UserError(f"{problem}; return one number for each image, without a sum or mean over images")
        # The scores themselves have no gradient if all layers that lead to them are frozen.
        if scores.requires_grad and not losses.requires_grad:
            problem = f"the loss of objective {self.objective.kind} has no gradient"
            raise UserError(f"{problem}; compute it from the scores without `detach` or numpy")
        if self.class_weights is None or isinstance(targets, AnyOf):
            return losses
        return losses * targets.image_weights(self.class_weights)
