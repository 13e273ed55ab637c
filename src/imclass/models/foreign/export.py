"""Export of a network's tensors under another library's names, with a record for importing the network again."""

import io
import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from imclass.core.classes import check_classes
from imclass.core.codec import from_json, to_json
from imclass.core.errors import UserError
from imclass.core.text import suggestion
from imclass.models.analysis.flow import Step, flow
from imclass.models.classifier import NetworkClassifier, networks, row_of
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.inputs import INPUTS, Inputs, reverse_channels
from imclass.models.foreign.matching import foreign_tensors, meta_tensors
from imclass.models.foreign.readers import EXPORT_KEY
from imclass.models.network import Network
from imclass.store.context import Context


@dataclass(frozen=True)
class ExportRecord:
    """The record of the model in an export file. `inputs` has the format of a `--preprocess` file."""

    network: str
    row: dict[str, Any]
    classes: tuple[str, ...]
    inputs: dict[str, Any]
    licence: str = ""


@dataclass(frozen=True)
class Export:
    """A network's tensors under a library's names, the inputs that they expect, and the export record."""

    tensors: dict[str, Tensor]
    inputs: Inputs
    record: ExportRecord


def export_network(classifier: NetworkClassifier, library: str, context: Context | None = None) -> Export:
    """Return the network's export for `library`. Raise a `UserError` if the library does not have the network."""
    entry: NetworkEntry = networks(context)[classifier.name]
    if library not in entry.foreign:
        raise UserError(
            f"--format {library}: that library has no {classifier.name}{suggestion(library, entry.foreign)}"
        )
    check_same_network(classifier, entry, library)
    tensors = foreign_tensors(classifier.network, library, entry.foreign[library])
    inputs = inputs_of(classifier, library)
    if inputs.preprocess.channels != classifier.preprocess.channels:
        tensors = reverse_channels(tensors)
    values = {"mean": inputs.mean, "std": inputs.std, "unit": inputs.unit, "standardise": inputs.standardise}
    expected = to_json(values) | to_json(inputs.preprocess)
    record = ExportRecord(classifier.name, classifier.row, classifier.classes, expected, classifier.licence)
    return Export(tensors, inputs, record)


def check_same_network(classifier: NetworkClassifier, entry: NetworkEntry, library: str) -> None:
    """Raise a `UserError` unless the library's network has the same tensors and layers as the classifier's network."""
    foreign, row = entry.foreign[library], row_of(entry, classifier.row, classifier.name)
    theirs = row_of(entry, dict(foreign.row), classifier.name)
    classes, w_in = len(classifier.classes), classifier.preprocess.w_in
    ours, wanted = (meta_tensors(entry, each, classes, w_in) for each in (row, theirs))
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    fits = all(tensor.shape == shapes.get(name) for name, tensor in ours.items())
    if fits:
        with torch.device("meta"):
            network = entry.build(replace(theirs, size=row.size), classes, w_in)
        network.standardise = classifier.network.standardise  # its steps are not compared, but shift later numbers
    if not fits or layer_steps(classifier.network) != layer_steps(network):
        differing = [k for k, v in to_json(theirs).items() if to_json(row)[k] != v]
        raise UserError(
            f"{library}'s {foreign.name} and this {classifier.name} are different networks: they differ in "
            f"{', '.join(differing) or 'their layers'}"
        )


def layer_steps(network: Network) -> list[Step]:
    """Return the steps of a network without those of its input normalisation.

    Other libraries' networks do not include this normalisation.
    """
    return [step for step in flow(network) if step.layer]


def inputs_of(classifier: NetworkClassifier, library: str) -> Inputs:
    """Return the classifier's inputs with the channel order and pixel range that the library's weights expect."""
    convention = INPUTS.get(library, {})
    unit = convention.get("unit", 1)
    colour = classifier.preprocess.w_in == 3
    channels = convention.get("channels", "rgb") if colour else classifier.preprocess.channels
    mean, std = (getattr(classifier.network, name).detach().cpu().double() * unit for name in ("mean", "std"))
    if channels != classifier.preprocess.channels:
        mean, std = mean.flip(0), std.flip(0)
    preprocess = replace(classifier.preprocess, channels=channels)
    means, stds = tuple(mean.flatten().tolist()), tuple(std.flatten().tolist())
    return Inputs(preprocess, means, stds, unit, classifier.network.standardise)


def export_bytes(export: Export, extension: str) -> bytes:
    """Return the contents of the export file, a PyTorch pickle unless `extension` is ".safetensors".

    The record is stored in a part of the file that other libraries ignore.
    """
    record = json.dumps(to_json(export.record))
    if extension == ".safetensors":
        return safetensors.torch.save(export.tensors, metadata={"format": "pt", EXPORT_KEY: record})
    state = OrderedDict(export.tensors)
    vars(state)["_metadata"] = {EXPORT_KEY: record}  # torch.nn.Module.state_dict keeps module versions under this name
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def record_in(text: str, path: Path, network: str) -> ExportRecord | None:
    """Return the record in `text`, or None if there is no record or it describes another network.

    Raise a `UserError` if the record cannot be read.
    """
    if not text:
        return None
    try:
        record: ExportRecord = from_json(ExportRecord, json.loads(text))
        if record.network != network:
            return None
        check_classes(record.classes, network)
    except (ValueError, RecursionError, UserError) as error:
        raise unreadable_record(path, error) from None
    return record


def unreadable_record(path: Path, error: Exception) -> UserError:
    """Return the error for an export whose record cannot be read."""
    problem = "the export's record of its model cannot be read"
    return UserError(f"{path}: {problem} ({str(error).splitlines()[0]}); install the imclass version that wrote it")
