"""Several classifiers, or several scores of the same images, as one: the weighted mean of their posteriors."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt64
from torch import Tensor

from imclass.core.classes import join
from imclass.core.codec import to_json
from imclass.core.contracts import Classifier, Evaluation, Image, NetworkBacked, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import ModelHeader, Provenance
from imclass.core.preprocess import check_images
from imclass.core.targets import AnyOf, Link
from imclass.core.text import listed
from imclass.evaluation.measures.by_targets import evaluation_of
from imclass.evaluation.measures.single_label import ROWS, posteriors
from imclass.models.scores import posterior, scores_of
from imclass.models.thresholds import answer, probabilities

T = TypeVar("T")
ENSEMBLE = "ensemble"  # the kind in a model file
LABELS = ("name", "about")  # fields of a protocol that decide nothing


@dataclass(frozen=True, kw_only=True)
class MemberBody:
    """A member in a model file: its own header, the protocol by name and fields, its weight."""

    header: ModelHeader
    protocol: str = ""  # none: images as the member itself shows them
    fields: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EnsembleBody:
    """What an ensemble is built from again, in a model file."""

    members: tuple[MemberBody, ...]
    temperature: float = 1.0


@dataclass(frozen=True)
class Member:
    """A `Classifier` that is shown images through a protocol, if it has one; and its share of a mean."""

    classifier: Classifier
    protocol: ViewProtocol | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.protocol is not None and self.network is None:
            raise UserError("the model is not one network and takes no protocol; leave out --protocol")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.classifier.classes

    @property
    def link(self) -> Link:
        return self.classifier.link

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self.classifier.thresholds

    @property
    def trained(self) -> Provenance | None:
        return self.classifier.trained

    @property
    def trained_on(self) -> UInt64[np.ndarray, "_"] | None:
        return self.classifier.trained_on

    @property
    def network(self) -> NetworkBacked | None:
        """Return the classifier if it is a network itself."""
        return self.networks().get("")

    def rename(self, names: Mapping[str, str]) -> "Member":
        """Return the member with other names for some classes."""
        return replace(self, classifier=self.classifier.rename(names))

    def networks(self) -> Mapping[str, NetworkBacked]:
        """Return the classifier's networks."""
        return self.classifier.networks()

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return the classifier's."""
        return self.classifier.lineage()

    def protocols(self) -> Mapping[str, ViewProtocol]:
        """Return the protocols through which images are shown to these networks, by the networks' names."""
        return self.classifier.protocols() if self.protocol is None else {"": self.protocol}

    def check(self) -> None:
        """Raise `UserError` for what a protocol cannot do with its network."""
        for name, protocol in self.protocols().items():
            protocol.check(self.networks()[name])

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Log-scores of images of any sizes, float32 on the CPU."""
        if self.protocol is None or self.network is None:
            return self.classifier.classify(images)
        return self.protocol(self.network, images)

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of the file of an ensemble of it alone."""
        return Ensemble((self,)).pack()

    def body(self) -> tuple[dict[str, Tensor], MemberBody]:
        """Return the classifier's tensors and what an ensemble's file holds of the member."""
        tensors, header = self.classifier.pack()
        if self.protocol is None:
            return tensors, MemberBody(header=header, weight=self.weight)
        fields = fields_of(self.protocol)
        return tensors, MemberBody(header=header, protocol=self.protocol.name, fields=fields, weight=self.weight)


def fields_of(protocol: Any) -> dict[str, Any]:
    """Return the fields of a protocol that JSON can hold, its name and text apart: those that a model file keeps."""
    if not dataclasses.is_dataclass(protocol) or isinstance(protocol, type):
        return {}
    values = {f.name: getattr(protocol, f.name) for f in dataclasses.fields(protocol) if f.name not in LABELS}
    return {name: to_json(value) for name, value in values.items() if is_plain(value)}


def is_plain(value: Any) -> bool:
    """Return whether JSON can hold a value."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


@dataclass(frozen=True)
class Ensemble:
    """A `Classifier` of members, which are any classifiers over the same class names, ensembles included.

    The classes are in the first member's order. `temperature` divides the log of the mean: with one member and a
    temperature fitted on held-out images it is that member, calibrated. Equal weights are the mean of Simonyan and
    Zisserman, ICLR 2015, section 4.4.
    """

    members: tuple[Member, ...]
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()  # from which an image has each class, under "sigmoid"; none: 0.5 each
    trained: Provenance | None = None
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries that it was made with
    licence: str = ""

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

    @property
    def trained_on(self) -> UInt64[np.ndarray, "_"] | None:
        """Return the contents of the images that any member was trained on, sorted; None where no member knows."""
        known = [found for member in self.members if (found := member.trained_on) is not None]
        return np.unique(np.concatenate(known)) if known else None

    def rename(self, names: Mapping[str, str]) -> "Ensemble":
        """Return an ensemble in which some classes have other names, in every member."""
        return replace(self, members=tuple(member.rename(names) for member in self.members))

    def networks(self) -> dict[str, NetworkBacked]:
        """Return the members' networks; "2.0" is the first of member 2 if that is an ensemble."""
        return prefixed(member.networks() for member in self.members)

    def protocols(self) -> dict[str, ViewProtocol]:
        """Return the protocols through which images are shown to these networks."""
        return prefixed(member.protocols() for member in self.members)

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return how each model that the members consist of came about."""
        return tuple(known for member in self.members for known in member.lineage())

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of a model file."""
        parts = [member.body() for member in self.members]
        body = EnsembleBody(members=tuple(member for _, member in parts), temperature=self.temperature)
        # A network may be two members, each under a protocol, and no two tensors of a file may share memory.
        tensors = {f"{i}.{name}": t.clone() for i, (tensors, _) in enumerate(parts) for name, t in tensors.items()}
        return tensors, ModelHeader(
            kind=ENSEMBLE,
            classes=self.classes,
            link=self.link,
            thresholds=self.thresholds,
            body=to_json(body),
            trained=self.trained,
            versions=self.versions,
            licence=self.licence,
        )

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Return the scores of the weighted mean of the members' probabilities, over the temperature; float32."""
        scores = [m.classify(images)[:, own] for m, own in zip(self.members, self.orders, strict=True)]
        return mean_posterior(scores, [member.weight for member in self.members], self.temperature, self.link)

    def predict(self, images: Sequence[Image], top: int | None = None) -> list[list[tuple[str, float]]]:
        """Return the answer to each uint8 H W C image: classes with probabilities, the most probable first."""
        check_images(images)
        return answer(self, self.classify(images), top)


def prefixed(each: Iterable[Mapping[str, T]]) -> dict[str, T]:
    """Return the entries of all mappings, with the position of its mapping before each name: "2", "2.0"."""
    return {f"{i}.{name}".removesuffix("."): value for i, one in enumerate(each) for name, value in one.items()}


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
