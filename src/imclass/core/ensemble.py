"""Several classifiers as one: the weighted mean of their posteriors, each member looked at in its own way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from imclass.core.classes import best, join
from imclass.core.contracts import Classifier, Image, TestProtocol, ViewClassifier
from imclass.core.errors import UserError
from imclass.core.model_file import ModelHeader
from imclass.core.preprocess import check_images
from imclass.core.text import listed


@dataclass(frozen=True)
class Member:
    """A classifier, the protocol that shows it an image (its own way where there is none), its share of a mean."""

    classifier: Classifier
    protocol: TestProtocol | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.protocol is not None and not isinstance(self.classifier, ViewClassifier):
            raise UserError("an ensemble shows each member its own views and takes no protocol; leave out --protocol")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.classifier.classes

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Log-scores of images of any sizes, float32 on the CPU."""
        if self.protocol is None or not isinstance(self.classifier, ViewClassifier):
            return self.classifier.classify(images)
        return self.protocol(self.classifier, images)


@dataclass(frozen=True)
class Ensemble:
    """A `Classifier` of members, which are any classifiers over the same class names, ensembles included.

    The classes are in the first member's order. `temperature` divides the log of the mean: with one member and a
    temperature fitted on held-out images it is that member, calibrated. Equal weights are the mean of Simonyan and
    Zisserman, ICLR 2015, section 4.4.
    """

    members: tuple[Member, ...]
    temperature: float = 1.0
    header: ModelHeader | None = None  # of the file it was loaded from

    def __post_init__(self) -> None:
        if not self.members:
            raise UserError("an ensemble needs at least one member")
        check_weights([member.weight for member in self.members])
        if not 0 < self.temperature < math.inf:
            raise UserError(f"an ensemble's temperature is {self.temperature}; it must be a positive number")
        join_members([member.classes for member in self.members])

    @property
    def classes(self) -> tuple[str, ...]:
        return self.members[0].classes

    @cached_property
    def orders(self) -> list[Int64[Tensor, "K"]]:
        """For each member the positions of the ensemble's classes among its own."""
        return join_members([member.classes for member in self.members])

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Log of the weighted mean of the members' posteriors, over the temperature; float32 on the CPU."""
        scores = [m.classify(images)[:, own] for m, own in zip(self.members, self.orders, strict=True)]
        return mean_posterior(scores, [member.weight for member in self.members], self.temperature)

    def predict(self, images: Sequence[Image], top: int = 5) -> list[list[tuple[str, float]]]:
        """For each uint8 H W C image its `top` classes and their probabilities, the most probable first."""
        check_images(images)
        return best(self.classify(images), self.classes, top)


def mean_posterior(
    scores: Sequence[Float[Tensor, "N K"]], weights: Sequence[float], temperature: float = 1.0
) -> Float[Tensor, "N K"]:
    """Log of the weighted mean of the posteriors whose log-scores are given, over the temperature; in float64 within.

    The weights need not add up to one. A class to which every member gives no chance keeps a finite score.
    """
    check_weights(weights)
    total = torch.zeros(scores[0].shape, dtype=torch.float64)
    for some, weight in zip(scores, weights, strict=True):
        total += some.double().softmax(1) * (weight / math.fsum(weights))
    return (total.clamp_min(torch.finfo(torch.float64).tiny).log() / temperature).float()


def check_weights(weights: Sequence[float]) -> None:
    """Weights of a mean: finite, none below zero, not all zero; otherwise a `UserError`."""
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        shown = ", ".join(f"{weight:g}" for weight in weights)
        raise UserError(f"the weights of an ensemble are {shown}; they must be at least 0, and one above it")


def join_members(classes: Sequence[tuple[str, ...]]) -> list[Int64[Tensor, "K"]]:
    """For each member the positions of the first one's classes among its own; other sets of names are a `UserError`."""
    orders = []
    for i, own in enumerate(classes, 1):
        try:
            orders.append(torch.from_numpy(join(classes[0], own)))
        except UserError:
            first, other = [c for c in classes[0] if c not in own], [c for c in own if c not in classes[0]]
            raise UserError(
                f"members 1 and {i} of an ensemble do not name the same classes: only member 1 has "
                f"{listed(first) or 'none'}, only member {i} has {listed(other) or 'none'}; fuse models of the same "
                "classes"
            ) from None
    return orders
