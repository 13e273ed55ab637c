"""Model files of networks and ensembles: written, and turned into the classifier they hold."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.contracts import Classifier, TestProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import MemberHeader, ModelHeader, read_model, save_model
from imclass.core.tables import Found
from imclass.evaluation.ensemble import Ensemble, Member
from imclass.evaluation.score import protocols
from imclass.models.classifier import NetworkClassifier, model_file, restored
from imclass.store.context import Context

ENSEMBLE = "ensemble"  # the network that an ensemble's header names
Loaded: TypeAlias = NetworkClassifier | Ensemble


def save(path: Path, ensemble: Ensemble, context: Context | None = None, **facts: Any) -> None:
    """Write the ensemble as one model file; `facts` fill the other fields of its header (data, metrics ...)."""
    tensors, header = packed(ensemble, protocols(context))
    own = {name: tensor.clone() for name, tensor in tensors.items()}  # a network may be two members, each by its way
    save_model(path, own, replace(header, **facts))


def packed(classifier: Classifier, found: Found) -> tuple[dict[str, Tensor], ModelHeader]:
    """The tensors and the header of a classifier, as they stand in a model file."""
    if isinstance(classifier, NetworkClassifier):
        own = classifier.header or ModelHeader("", {}, classifier.classes, classifier.preprocess)
        header = replace(
            own,
            network=classifier.name,
            row=classifier.row,
            classes=classifier.classes,
            preprocess=classifier.preprocess,
        )
        return dict(classifier.network.state_dict()), header
    if not isinstance(classifier, Ensemble):
        raise UserError(f"a {type(classifier).__name__} cannot be saved in an ensemble; networks and ensembles can")
    parts = [packed(member.classifier, found) for member in classifier.members]
    members = tuple(
        MemberHeader(header, *named(member.protocol, found), member.weight)
        for member, (_, header) in zip(classifier.members, parts, strict=True)
    )
    tensors = {f"{i}.{name}": t for i, (own, _) in enumerate(parts) for name, t in own.items()}
    preprocess = members[0].header.preprocess  # a header has one; an ensemble's members each go by their own
    header = ModelHeader(
        ENSEMBLE, {}, classifier.classes, preprocess, members=members, temperature=classifier.temperature
    )
    return tensors, header


def named(protocol: TestProtocol | None, found: Found) -> tuple[str, dict[str, Any]]:
    """A protocol as its name in the table and its fields; one that is in no table is a `UserError`."""
    if protocol is None:
        return "", {}
    alike = [name for name, entry in found.entries.items() if type(entry) is type(protocol)]
    if not alike:
        raise UserError(f"{type(protocol).__name__} is in no table of protocols, so a file cannot name it")
    exact = [name for name in alike if found.entries[name] == protocol]
    return (exact or alike)[0], to_json(protocol)


def load(path: str | Path, context: Context | None = None) -> Loaded:
    """The network or the ensemble in a model file or a run directory; anything amiss is a `UserError` naming it."""
    path = model_file(path)
    return unpacked(*read_model(path), path, protocols(context), context)


def unpacked(
    tensors: Mapping[str, Tensor], header: ModelHeader, path: Path, found: Found, context: Context | None
) -> Loaded:
    """The inverse of `packed`; `path` is where both were read from."""
    if header.network != ENSEMBLE:
        return restored(tensors, header, path, context)
    members = []
    for i, member in enumerate(header.members):
        own = {name.removeprefix(f"{i}."): t for name, t in tensors.items() if name.startswith(f"{i}.")}
        where = Path(f"{path}, member {i + 1}")
        classifier = unpacked(own, member.header, where, found, context)
        members.append(Member(classifier, protocol_of(member, found, where), member.weight))
    return Ensemble(tuple(members), header.temperature, header)


def protocol_of(member: MemberHeader, found: Found, path: Path) -> TestProtocol | None:
    """The protocol that a member's header names, with its fields."""
    if not member.protocol:
        return None
    try:
        protocol: TestProtocol = from_json(type(found[member.protocol]), member.fields, f"protocol {member.protocol}")
        return protocol
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def networks_of(classifier: Classifier) -> list[NetworkClassifier]:
    """The networks that a classifier consists of."""
    if isinstance(classifier, Ensemble):
        return [network for member in classifier.members for network in networks_of(member.classifier)]
    return [classifier] if isinstance(classifier, NetworkClassifier) else []
