"""Ensembles: several classifiers combined into one that returns the weighted mean of their probabilities."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int64, UInt64
from torch import Tensor

from imclass.core.codec import to_json
from imclass.core.contracts import Classifier, Image, NetworkBacked, RowFunction, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import ModelHeader, Provenance, merge_contents
from imclass.core.targets import Link
from imclass.evaluation.fusion import check_links, check_weights, join_members, mean_posterior

T = TypeVar("T")
ENSEMBLE = "ensemble"  # the kind in a model file
DESCRIPTIVE_FIELDS = ("name", "about")  # fields of a protocol that do not affect its scores


@dataclass(frozen=True, kw_only=True)
class MemberBody:
    """An ensemble member, as stored in a model file."""

    header: ModelHeader  # the classifier's header
    protocol: str = ""  # the protocol's name; "" stands for the classifier's `preprocess`
    fields: dict[str, Any] = field(default_factory=dict)  # the protocol's fields
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EnsembleBody:
    """The description of an ensemble in a model file."""

    members: tuple[MemberBody, ...]
    temperature: float = 1.0


@dataclass(frozen=True)
class EnsembleMember:
    """A classifier in an ensemble, with its test protocol and weight. The member is itself a `Classifier`."""

    classifier: Classifier
    protocol: ViewProtocol | None = None  # None stands for the classifier's `preprocess`
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.protocol is not None and self.network is None:
            raise UserError("the model is not a single network, so it has no test protocol; leave out --protocol")

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
        """Return the classifier if it is a single network, otherwise None."""
        return self.networks().get("")

    def rename(self, names: Mapping[str, str]) -> "EnsembleMember":
        """Return the member with some classes renamed."""
        return replace(self, classifier=self.classifier.rename(names))

    def networks(self) -> Mapping[str, NetworkBacked]:
        """Return the classifier's networks."""
        return self.classifier.networks()

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return the provenance of each model that is part of the classifier."""
        return self.classifier.lineage()

    def protocols(self) -> Mapping[str, ViewProtocol]:
        """Return the test protocols keyed by network name. Networks without a protocol have no entry."""
        return self.classifier.protocols() if self.protocol is None else {"": self.protocol}

    def check(self) -> None:
        """Raise `UserError` if a network cannot be tested with its protocol."""
        for name, protocol in self.protocols().items():
            protocol.check(self.networks()[name])

    def classify(self, images: Sequence[Image]) -> Float[Tensor, "N K"]:
        """Return the images' scores in float32, on the CPU. The images may be of any size."""
        if self.protocol is None or self.network is None:
            return self.classifier.classify(images)
        return self.protocol(self.network, images)

    def embedder(self) -> RowFunction:
        """Return the function that computes the features of the classifier, without the protocol."""
        return self.classifier.embedder()

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of a model file for an ensemble that has only this member."""
        return Ensemble((self,)).pack()

    def body(self) -> tuple[dict[str, Tensor], MemberBody]:
        """Return the classifier's tensors and the member's description, as stored in an ensemble's model file."""
        tensors, header = self.classifier.pack()
        if self.protocol is None:
            return tensors, MemberBody(header=header, weight=self.weight)
        fields = protocol_fields(self.protocol)
        return tensors, MemberBody(header=header, protocol=self.protocol.name, fields=fields, weight=self.weight)


def protocol_fields(protocol: Any) -> dict[str, Any]:
    """Return the fields of a protocol that are stored in a model file.

    The name, the description, and any field that JSON cannot represent are left out.
    """
    if not dataclasses.is_dataclass(protocol) or isinstance(protocol, type):
        return {}
    values = {
        f.name: getattr(protocol, f.name) for f in dataclasses.fields(protocol) if f.name not in DESCRIPTIVE_FIELDS
    }
    return {name: to_json(value) for name, value in values.items() if is_json_value(value)}


def is_json_value(value: Any) -> bool:
    """Return whether JSON can represent a value."""
    if isinstance(value, tuple):
        return all(map(is_json_value, value))
    return value is None or isinstance(value, bool | int | float | str)


@dataclass(frozen=True)
class Ensemble:
    """A `Classifier` that averages the probabilities of its members, which all have the same class names.

    A member may itself be an ensemble. The classes are in the first member's order. The weighted mean of the
    probabilities is converted to scores, which are divided by `temperature`. An ensemble of one member, with a
    temperature fitted to held-out images, is a calibrated version of that member. Equal weights give the mean described
    in section 4.4 of Simonyan and Zisserman, ICLR 2015.
    """

    members: tuple[EnsembleMember, ...]
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()  # for "sigmoid": the lowest probability at which each class is predicted
    trained: Provenance | None = None
    versions: dict[str, str] = field(default_factory=dict)  # of the libraries used to make the ensemble
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.members:
            raise UserError("an ensemble needs at least one member")
        check_weights([member.weight for member in self.members])
        if not 0 < self.temperature < math.inf:
            raise UserError(f"the ensemble's temperature is {self.temperature}; it must be a positive number")
        join_members([member.classes for member in self.members])
        check_links([member.link for member in self.members])

    def __repr__(self) -> str:
        """Return a summary line, followed by the weight, classifier and protocol of each member."""
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
        """Return the positions of the ensemble's classes in each member's list of classes."""
        return join_members([member.classes for member in self.members])

    @property
    def trained_on(self) -> UInt64[np.ndarray, "_"] | None:
        """Return the sorted content hashes of the members' training images, or None if no member records any."""
        return merge_contents(member.trained_on for member in self.members)

    def rename(self, names: Mapping[str, str]) -> "Ensemble":
        """Return an ensemble with some classes renamed in every member."""
        return replace(self, members=tuple(member.rename(names) for member in self.members))

    def networks(self) -> dict[str, NetworkBacked]:
        """Return the members' networks keyed by name.

        If the member at position 2 is an ensemble, the name of its first network is "2.0".
        """
        return prefix_names(member.networks() for member in self.members)

    def protocols(self) -> dict[str, ViewProtocol]:
        """Return the test protocols keyed by network name. Networks without a protocol have no entry."""
        return prefix_names(member.protocols() for member in self.members)

    def lineage(self) -> tuple[Provenance | None, ...]:
        """Return the ensemble's provenance if it names the members' data, otherwise that of each model in a member."""
        if self.trained is not None and self.trained.data is not None:
            return (self.trained,)
        return tuple(known for member in self.members for known in member.lineage())

    def embedder(self) -> RowFunction:
        """Raise `UserError`, because the members have different last layers."""
        raise UserError("the model is an ensemble, so it has no single last layer; choose one of its members")

    def pack(self) -> tuple[dict[str, Tensor], ModelHeader]:
        """Return the tensors and the header of the ensemble's model file."""
        parts = [member.body() for member in self.members]
        body = EnsembleBody(members=tuple(member for _, member in parts), temperature=self.temperature)
        # Two members may share a network under different protocols, but safetensors rejects tensors that share memory.
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
        """Return the weighted mean of the members' probabilities as float32 scores, divided by the temperature."""
        scores = [m.classify(images)[:, order] for m, order in zip(self.members, self.orders, strict=True)]
        return mean_posterior(scores, [member.weight for member in self.members], self.temperature, self.link)


def prefix_names(each: Iterable[Mapping[str, T]]) -> dict[str, T]:
    """Merge the mappings, and prefix each name with the position of its mapping.

    In the mapping at position 2, the name "0" becomes "2.0", and an empty name becomes "2".
    """
    return {f"{i}.{name}".removesuffix("."): value for i, one in enumerate(each) for name, value in one.items()}
