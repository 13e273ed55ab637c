"""Reading and writing of classifiers as model files. No other module handles all kinds of classifier."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast, get_type_hints

from torch import Tensor

from imclass.core.codec import from_json
from imclass.core.contracts import Classifier, ViewProtocol
from imclass.core.errors import UserError
from imclass.core.model_file import ModelHeader, read_model, save_model, without_prefix
from imclass.core.tables import EntryTable
from imclass.core.text import list_names, suggestion
from imclass.evaluation.ensemble import ENSEMBLE, Ensemble, EnsembleBody, EnsembleMember, MemberBody
from imclass.evaluation.score import view_protocols
from imclass.models.classifier import NETWORK_KIND, NetworkClassifier, model_path, restore_classifier
from imclass.pipelines.part import pipeline_parts
from imclass.pipelines.pipeline import PIPELINE, Pipeline, unpack_parts
from imclass.store.context import Context

Tensors: TypeAlias = Mapping[str, Tensor]
NetworkSetup: TypeAlias = Callable[[NetworkClassifier], NetworkClassifier]  # sets the engine of a network
Unpacker: TypeAlias = Callable[[Tensors, ModelHeader, Path, Context | None, NetworkSetup], Classifier]


def keep_engine(classifier: NetworkClassifier) -> NetworkClassifier:
    """Return the classifier with its engine unchanged."""
    return classifier


def read_classifier(path: str | Path, context: Context | None = None) -> Classifier:
    """Read the classifier in a model file or a run directory. Raise `UserError` if the file is invalid."""
    path = model_path(path)
    return unpack(*read_model(path), path, context)


def unpack(
    tensors: Tensors, header: ModelHeader, path: Path, context: Context | None = None, setup: NetworkSetup = keep_engine
) -> Classifier:
    """Return the classifier whose `pack` returned these tensors and header. `path` is the file named in messages."""
    if header.kind not in UNPACKERS:
        known = list_names(tuple(UNPACKERS))
        raise UserError(
            f"{path} contains a model of kind {header.kind!r}, but this version of imclass reads only {known}; "
            "use the version that wrote the file"
        )
    if len(header.thresholds) not in (0, len(header.classes)):
        n = f"{len(header.thresholds)} thresholds for {len(header.classes)} classes"
        raise UserError(f"{path} has {n}; train the model again")
    return UNPACKERS[header.kind](tensors, header, path, context, setup)


def unpack_network(
    tensors: Tensors, header: ModelHeader, path: Path, context: Context | None, setup: NetworkSetup
) -> NetworkClassifier:
    """Return the network classifier stored in a file."""
    return setup(restore_classifier(tensors, header, path, context))


def unpack_ensemble(
    tensors: Tensors, header: ModelHeader, path: Path, context: Context | None, setup: NetworkSetup
) -> Ensemble:
    """Return the ensemble stored in a file, with its members."""
    body, found = header.body_of(EnsembleBody, path), view_protocols(context)
    members = []
    for i, member in enumerate(body.members):
        theirs = without_prefix(tensors, f"{i}.")
        where = Path(f"{path}, member {i + 1}")
        classifier = unpack(theirs, member.header, where, context, setup)
        members.append(EnsembleMember(classifier, protocol_of(member, found, where), member.weight))
    facts = (header.trained, header.versions, header.licence)
    return Ensemble(tuple(members), body.temperature, header.thresholds, *facts)


def protocol_of(member: MemberBody, found: EntryTable, path: Path) -> ViewProtocol | None:
    """Return a member's protocol with the field values in the model file, or None if the member has no protocol."""
    if not member.protocol:
        return None
    try:
        protocol: Any = found[member.protocol]
        if not member.fields:
            return cast(ViewProtocol, protocol)
        kinds, where = get_type_hints(type(protocol)), f"protocol {member.protocol}"
        for name in member.fields:
            if name not in kinds:
                raise UserError(f"{where} has no field {name!r}{suggestion(name, kinds)}")
        fields = {name: from_json(kinds[name], value, f"{where}.{name}") for name, value in member.fields.items()}
        return cast(ViewProtocol, dataclasses.replace(protocol, **fields))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def unpack_pipeline(
    tensors: Tensors, header: ModelHeader, path: Path, context: Context | None, setup: NetworkSetup
) -> Pipeline:
    """Return the pipeline of fitted parts stored in a file."""

    def unpack_member(theirs: Tensors, inner: ModelHeader, where: Path) -> Classifier:
        return unpack(theirs, inner, where, context, setup)

    return unpack_parts(tensors, header, path, pipeline_parts(context), unpack_member)


UNPACKERS: Mapping[str, Unpacker] = {NETWORK_KIND: unpack_network, ENSEMBLE: unpack_ensemble, PIPELINE: unpack_pipeline}


def save_classifier(path: Path, classifier: Classifier, context: Context | None = None) -> None:
    """Write the classifier as one model file. Raise `UserError` if the file could not be read back.

    A file cannot be read back if it refers to a network, protocol or part that is in no table.
    """
    tensors, header = classifier.pack()
    unpack(tensors, header, path, context)
    save_model(path, tensors, header)


def sole_network(classifier: Classifier) -> NetworkClassifier | None:
    """Return the classifier if it is a single network, otherwise None."""
    return classifier if isinstance(classifier, NetworkClassifier) else None
