"""The average of a stage's weights, in a copy of the network that follows the network in training."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from imclass.core.contracts import Watch
from imclass.core.runtime import Arithmetic
from imclass.data.loader import Part
from imclass.models.arithmetic.eager import EagerEngine
from imclass.models.arithmetic.precision import forward
from imclass.training import norms
from imclass.training.objective import Gradients, Learner
from imclass.training.parallel import Group, fold_parts
from imclass.training.plan import Leg


class AveragedWeights:
    """A copy of the classifier in training that holds the averaged weights. It begins with the current weights.

    The running statistics of batch norms are averaged like weights, and integer tensors are copied. Frozen parameters
    are left out, because they do not change.
    """

    def __init__(self, learner: Learner) -> None:
        network = copy.deepcopy(learner.network).requires_grad_(False)
        self.classifier = replace(learner.classifier, network=network, engine=EagerEngine(network))
        self.arithmetic: Arithmetic = learner.arithmetic
        frozen = {name for name, parameter in learner.network.named_parameters() if not parameter.requires_grad}
        current = learner.network.state_dict()
        pairs = [(mine, current[name]) for name, mine in self.tensors.items() if name not in frozen]
        self.values = [pair for pair in pairs if pair[0].is_floating_point()]
        self.counts = [pair for pair in pairs if not pair[0].is_floating_point()]
        names = {name for name, layer in learner.network.named_modules() if layer in learner.norms}
        self.norms = [m for name, m in network.named_modules() if name in names and isinstance(m, _BatchNorm)]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors of the network, keyed by name."""
        return self.classifier.network.state_dict()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set all tensors of the network."""
        self.classifier.network.load_state_dict(tensors)

    def move(self, weight: float) -> None:
        """Move the average towards the current weights: average += weight * (weights - average)."""
        with torch.no_grad():
            torch._foreach_lerp_([mine for mine, _ in self.values], [theirs for _, theirs in self.values], weight)
            for mine, theirs in self.counts:
                mine.copy_(theirs)

    def measure_norms(self, leg: Leg, epoch: int, group: Group, watch: Watch) -> bool:
        """Set the statistics of batch norms to their means over the training images of an epoch. Return True.

        Batch norms work as in training, on the same parts of the same batches. All other layers work as in evaluation,
        without dropout. `watch` is called before each batch.
        """
        network = self.classifier.network.eval()
        for layer in self.norms:
            layer.train()
        means, seen = [torch.zeros_like(value) for value in norms.moments(self.norms, 1.0)], 0
        with norms.isolate_statistics(self.norms), torch.no_grad():
            for batch in leg.loader.batches(epoch, mine=group.local_parts):
                watch()
                parts, _ = leg.learnable_parts(batch)
                images = group.total(sum(len(part.targets) for part in parts.values()))
                numbers = group.local_parts(batch.count)
                folded = fold_parts((n, self.measure(parts[n], images) if n in parts else None) for n in numbers)
                measured = group.combine(folded)
                if measured is None:
                    continue
                seen += images
                for mean, value in zip(means, measured.moments, strict=True):
                    mean.lerp_(value, images / seen)
        network.eval()
        if seen:
            norms.set_statistics(self.norms, means)
        return True

    def measure(self, part: Part, images: int) -> Gradients:
        """Return the statistics of a part's images, multiplied by the part's share of the step's images."""
        network = self.classifier.network
        forward(network, part.images.to(network.mean.device), self.arithmetic)
        return Gradients([], norms.moments(self.norms, len(part.targets) / images), 0.0, 0.0, 0)
