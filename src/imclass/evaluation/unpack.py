"""Model files of networks and ensembles: written, and turned into the classifier they hold."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast, get_type_hints

from torch import Tensor

from imclass.core.codec import from_json, to_json
from imclass.core.contracts import Classifier, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import MemberHeader, ModelHeader, read_model, save_model
from imclass.core.tables import Found
from imclass.core.text import nearest
from imclass.evaluation.ensemble import Ensemble, Member
from imclass.evaluation.score import protocols
from imclass.models.classifier import NetworkClassifier, model_file, restored
from imclass.store.context import Context

ENSEMBLE = "ensemble"  # the network that an ensemble's header names
LABELS = ("name", "about")  # fields of a protocol that decide nothing
Loaded: TypeAlias = NetworkClassifier | Ensemble


def save(path: Path, ensemble: Ensemble, context: Context | None = None, **facts: Any) -> None:
    """Write the ensemble as one model file; `facts` fill the other fields of its header (data, metrics ...).

    Raise `UserError` for a protocol that is in no table, because nobody could read the file.
    """
    check_protocols(ensemble, protocols(context))
    tensors, header = packed(ensemble)
    own = {name: tensor.clone() for name, tensor in tensors.items()}  # a network may be two members, each by its way
    save_model(path, own, replace(header, **facts))


def check_protocols(ensemble: Ensemble, found: Found) -> None:
    """Raise `UserError` unless the table has every protocol of the members, by name."""
    for member in ensemble.members:
        if isinstance(member.classifier, Ensemble):
            check_protocols(member.classifier, found)
        if member.protocol is not None and member.protocol.name not in found.entries:
            raise UserError(f"{member.protocol.name} is in no table of protocols, so a file cannot name it")


def packed(classifier: Classifier) -> tuple[dict[str, Tensor], ModelHeader]:
    """The tensors and the header of a classifier, as they stand in a model file."""
    if isinstance(classifier, NetworkClassifier):
        own = classifier.header or ModelHeader("", {}, classifier.classes, classifier.preprocess)
        header = replace(
            own,
            network=classifier.name,
            row=classifier.row,
            classes=classifier.classes,
            preprocess=classifier.preprocess,
            link=classifier.link,
            thresholds=classifier.thresholds,
        )
        return classifier.tensors(), header
    if not isinstance(classifier, Ensemble):
        raise UserError(f"a {type(classifier).__name__} cannot be saved in an ensemble; networks and ensembles can")
    parts = [packed(member.classifier) for member in classifier.members]
    members = tuple(
        member_header(header, member) for member, (_, header) in zip(classifier.members, parts, strict=True)
    )
    tensors = {f"{i}.{name}": t for i, (own, _) in enumerate(parts) for name, t in own.items()}
    preprocess = members[0].header.preprocess  # a header has one; an ensemble's members each go by their own
    header = ModelHeader(
        ENSEMBLE,
        {},
        classifier.classes,
        preprocess,
        members=members,
        temperature=classifier.temperature,
        link=classifier.link,
        thresholds=classifier.thresholds,
    )
    return tensors, header


def member_header(header: ModelHeader, member: Member) -> MemberHeader:
    """Return what an ensemble's file says of a member, next to the member's own header."""
    if member.protocol is None:
        return MemberHeader(header, weight=member.weight)
    return MemberHeader(header, member.protocol.name, fields_of(member.protocol), member.weight)


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
    return Ensemble(tuple(members), header.temperature, header, header.thresholds)


def protocol_of(member: MemberHeader, found: Found, path: Path) -> ViewProtocol | None:
    """Return the protocol that a member's header names, with its fields."""
    if not member.protocol:
        return None
    try:
        protocol: Any = found[member.protocol]
        if not member.fields:
            return cast(ViewProtocol, protocol)
        kinds, where = get_type_hints(type(protocol)), f"protocol {member.protocol}"
        for name in member.fields:
            if name not in kinds:
                raise UserError(f"{where} has no field {name!r}{nearest(name, kinds)}")
        fields = {name: from_json(kinds[name], value, f"{where}.{name}") for name, value in member.fields.items()}
        return cast(ViewProtocol, dataclasses.replace(protocol, **fields))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def networks_of(classifier: Classifier) -> list[NetworkClassifier]:
    """The networks that a classifier consists of."""
    if isinstance(classifier, Ensemble):
        return [network for member in classifier.members for network in networks_of(member.classifier)]
    return [classifier] if isinstance(classifier, NetworkClassifier) else []
