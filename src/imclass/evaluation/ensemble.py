"""Several classifiers, or several scores of the same images, as one: the weighted mean of their posteriors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from imclass.core.classes import join
from imclass.core.contracts import Classifier, Evaluation, Image, ViewClassifier, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import ModelHeader
from imclass.core.preprocess import check_images
from imclass.core.targets import AnyOf, Link
from imclass.core.text import listed
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.single_label import ROWS, posteriors
from imclass.models.scores import posterior, scores_of
from imclass.models.thresholds import answer, probabilities


@dataclass(frozen=True)
class Member:
    """A classifier, the protocol that shows it an image (its own way where there is none), its share of a mean."""

    classifier: Classifier
    protocol: ViewProtocol | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.protocol is not None and not isinstance(self.classifier, ViewClassifier):
            raise UserError("an ensemble shows each member its own views and takes no protocol; leave out --protocol")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.classifier.classes

    @property
    def link(self) -> Link:
        return self.classifier.link

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.classifier.thresholds

    def check(self) -> None:
        """Raise `UserError` for what the protocol cannot do with the classifier, or a member of it with its own."""
        if isinstance(self.classifier, Ensemble):
            for member in self.classifier.members:
                member.check()
        elif self.protocol is not None and isinstance(self.classifier, ViewClassifier):
            self.protocol.check(self.classifier)

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
    thresholds: tuple[float, ...] = ()  # from which an image has each class, under "sigmoid"; none: 0.5 each

    def __post_init__(self) -> None:
        if not self.members:
            raise UserError("an ensemble needs at least one member")
        check_weights([member.weight for member in self.members])
        if not 0 < self.temperature < math.inf:
            raise UserError(f"an ensemble's temperature is {self.temperature}; it must be a positive number")
        join_members([member.classes for member in self.members])
        check_links([member.link for member in self.members])

    def __repr__(self) -> str:
        """Return a line, then one for each member: its weight, the classifier, the protocol."""
        lines = [f"Ensemble of {len(self.members)}, {len(self.classes):,} classes, temperature {self.temperature:g}"]
        for member in self.members:
            protocol = f", protocol {member.protocol.name}" if member.protocol else ""
            inner = repr(member.classifier).replace("\n", "\n  ")
            lines.append(f"  {member.weight:.3g} x {inner}{protocol}")
        return "\n".join(lines)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.members[0].classes

    @property
    def link(self) -> Link:
        return self.members[0].link

    @cached_property
    def orders(self) -> list[Int64[Tensor, "K"]]:
        """For each member the positions of the ensemble's classes among its own."""
        return join_members([member.classes for member in self.members])

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Return the scores of the weighted mean of the members' probabilities, over the temperature; float32."""
        scores = [m.classify(images)[:, own] for m, own in zip(self.members, self.orders, strict=True)]
        return mean_posterior(scores, [member.weight for member in self.members], self.temperature, self.link)

    def predict(self, images: Sequence[Image], top: int | None = None) -> list[list[tuple[str, float]]]:
        """Return the answer to each uint8 H W C image: classes with probabilities, the most probable first."""
        check_images(images)
        return answer(self, self.classify(images), top)


def mean_posterior(
    scores: Sequence[Float[Tensor, "N K"]], weights: Sequence[float], temperature: float = 1.0, link: Link = "softmax"
) -> Float[Tensor, "N K"]:
    """Return the scores of the weighted mean of the probabilities, over the temperature; in float64 within.

    The weights need not add up to one. A class to which every member gives no chance keeps a finite score.
    """
    check_weights(weights)
    total = torch.zeros(scores[0].shape, dtype=torch.float64)
    for some, weight in zip(scores, weights, strict=True):
        total += posterior(some, link) * (weight / math.fsum(weights))
    return (scores_of(total, link) / temperature).float()


def check_weights(weights: Sequence[float]) -> None:
    """Weights of a mean: finite, none below zero, not all zero; otherwise a `UserError`."""
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        shown = ", ".join(f"{weight:g}" for weight in weights)
        raise UserError(f"the weights of an ensemble are {shown}; they must be at least 0, and one above it")


def check_links(links: Sequence[Link]) -> None:
    """Raise `UserError` for members of one label an image and members of several."""
    if len(set(links)) > 1:
        raise UserError(
            f"members 1 and {links.index('softmax' if links[0] == 'sigmoid' else 'sigmoid') + 1} of an ensemble "
            "do not answer alike: one gives each image one class, the other any number; fuse models of one kind"
        )


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


ROUNDS = 10_000  # of `fit_weights`, at most


def fuse(evaluations: Sequence[Evaluation], weights: Sequence[float], temperature: float = 1.0) -> Evaluation:
    """What an `Ensemble` of the members would have scored, from their own scores; nothing is computed twice.

    The evaluations are of the same images; where they are not, or name other classes, it is a `UserError`.
    """
    first, orders = evaluations[0], check_alike(evaluations)
    link = first.targets.link
    scores = np.empty_like(first.scores)
    for start in range(0, len(scores), ROWS):
        rows = slice(start, start + ROWS)
        some = [torch.from_numpy(e.scores[rows])[:, order] for e, order in zip(evaluations, orders, strict=True)]
        scores[rows] = mean_posterior(some, weights, temperature, link).numpy()
    return evaluation_of(first.classes, first.targets, scores, first.ids, first.total, first.refused)


def check_alike(evaluations: Sequence[Evaluation]) -> list[Int64[Tensor, "K"]]:
    """A `UserError` unless all are of the same images with the same labels; where each has the first one's classes."""
    first = evaluations[0]
    orders = join_members([evaluation.classes for evaluation in evaluations])
    check_links([evaluation.targets.link for evaluation in evaluations])
    for i, (other, order) in enumerate(zip(evaluations, orders, strict=True), 1):
        if not np.array_equal(first.ids, other.ids):
            raise UserError(
                f"scores 1 and {i} are of different images ({len(first.ids):,} and {len(other.ids):,}, "
                f"{len(np.intersect1d(first.ids, other.ids)):,} in both); evaluate both on the same --data and --split"
            )
        joined = first.targets.join(order.numpy(), len(other.classes))
        if not np.array_equal(joined.numpy(), other.targets.numpy()):
            raise UserError(f"scores 1 and {i} do not give the same images the same classes; evaluate both again")
    return orders


def fit_weights(evaluations: Sequence[Evaluation]) -> tuple[float, ...]:
    """The weights, at least 0 and 1 in sum, whose mean posterior has the least negative log likelihood of the labels.

    It is convex in the weights. Each round of expectation-maximisation gives a member the mean share that it has in
    the posterior of the right class (Dempster, Laird and Rubin, J. Roy. Stat. Soc. B 39, 1977, section 4.3).
    """
    own = np.stack(
        [own_posterior(e, order.numpy()) for e, order in zip(evaluations, check_alike(evaluations), strict=True)],
        axis=1,
    )
    weights = np.full(len(evaluations), 1 / len(evaluations))
    for _ in range(ROUNDS):
        shares = own * weights
        last, weights = weights, (shares / shares.sum(1, keepdims=True)).mean(0)
        if np.abs(weights - last).max() < 1e-9:
            break
    return tuple(weights.tolist())


def own_posterior(evaluation: Evaluation, order: Int64[np.ndarray, "K"]) -> Float64[np.ndarray, "_"]:
    """Return the probability of each image's class, or of each judged mark, class by class in `order`; at least 1e-30.

    Where images have several labels, each judged mark counts as an observation.
    """
    if isinstance(evaluation.targets, AnyOf):
        marks, chances = evaluation.targets.numpy()[:, order], probabilities(evaluation.scores)[:, order]
        return np.where(marks == 1, chances, 1 - chances)[marks >= 0].clip(1e-30)
    labels = evaluation.targets.numpy()[:, None]
    own = [np.take_along_axis(chances, labels[part], axis=1) for part, chances in posteriors(evaluation.scores)]
    return np.concatenate(own)[:, 0].clip(1e-30)
