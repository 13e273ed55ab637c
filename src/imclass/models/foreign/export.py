"""A network's tensors as another library names, shapes and feeds them, and a record that takes them back unchanged."""

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
from imclass.models.foreign.fit import foreign_tensors, meta_tensors
from imclass.models.foreign.inputs import INPUTS, Inputs, reverse_channels
from imclass.models.foreign.readers import EXPORT_KEY
from imclass.models.network import Network
from imclass.store.context import Context


@dataclass(frozen=True)
class ExportRecord:
    """What an export's file says of the model; `inputs` is a JSON object as `--preprocess FILE` takes it."""

    network: str
    row: dict[str, Any]
    classes: tuple[str, ...]
    inputs: dict[str, Any]
    licence: str = ""


@dataclass(frozen=True)
class Export:
    """A network's tensors by a library's names, what they expect of an image, and the record."""

    tensors: dict[str, Tensor]
    inputs: Inputs
    record: ExportRecord


def export_network(found: NetworkClassifier, library: str, context: Context | None = None) -> Export:
    """Return the network as `library` has it; one that it does not have is a `UserError`."""
    entry: NetworkEntry = networks(context)[found.name]
    if library not in entry.foreign:
        raise UserError(f"--format {library}: that library has no {found.name}{suggestion(library, entry.foreign)}")
    check_same_network(found, entry, library)
    tensors, inputs = foreign_tensors(found.network, library, entry.foreign[library]), inputs_of(found, library)
    if inputs.preprocess.channels != found.preprocess.channels:
        tensors = reverse_channels(tensors)
    values = {"mean": inputs.mean, "std": inputs.std, "unit": inputs.unit}
    expected = to_json(values) | to_json(inputs.preprocess)
    return Export(
        tensors, inputs, ExportRecord(found.name, found.row, found.classes, expected, found.licence)
    )  # fmt: skip


def check_same_network(found: NetworkClassifier, entry: NetworkEntry, library: str) -> None:
    """Raise `UserError` unless the library's network has these tensors and computes the same."""
    foreign, row = entry.foreign[library], row_of(entry, found.row, found.name)
    theirs = row_of(entry, dict(foreign.row), found.name)
    ours, wanted = (meta_tensors(entry, r, len(found.classes), found.preprocess.w_in) for r in (row, theirs))
    forms = {name: tensor.shape for name, tensor in wanted.items()}
    fits = all(tensor.shape == forms.get(name) for name, tensor in ours.items())
    if fits:
        with torch.device("meta"):
            there = entry.build(replace(theirs, size=row.size), len(found.classes), found.preprocess.w_in)
    if not fits or layer_steps(found.network) != layer_steps(there):
        named = [k for k, v in to_json(theirs).items() if to_json(row)[k] != v]
        raise UserError(
            f"{library}'s {foreign.name} is another network than this {found.name}: they differ in "
            f"{', '.join(named) or 'their layers'}"
        )


def layer_steps(network: Network) -> list[Step]:
    """Return what the layers of a network do to an image, without the normalisation, which no other library has."""
    return [step for step in flow(network) if step.layer]


def inputs_of(found: NetworkClassifier, library: str) -> Inputs:
    """Return what the classifier takes, in the channel order and the unit of the library's weights."""
    convention = INPUTS.get(library, {})
    unit = convention.get("unit", 1)
    colour = found.preprocess.w_in == 3
    channels = convention.get("channels", "rgb") if colour else found.preprocess.channels
    mean, std = (getattr(found.network, name).detach().cpu().double() * unit for name in ("mean", "std"))
    if channels != found.preprocess.channels:
        mean, std = mean.flip(0), std.flip(0)
    preprocess = replace(found.preprocess, channels=channels)
    return Inputs(preprocess, tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()), unit)


def export_bytes(export: Export, suffix: str) -> bytes:
    """Return a state dict's file: safetensors, or PyTorch's pickle, with the record where the library looks past it."""
    record = json.dumps(to_json(export.record))
    if suffix == ".safetensors":
        return safetensors.torch.save(export.tensors, metadata={"format": "pt", EXPORT_KEY: record})
    state = OrderedDict(export.tensors)
    vars(state)["_metadata"] = {EXPORT_KEY: record}  # where torch.nn.Module.state_dict keeps its versions
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def record_in(text: str, path: Path, network: str) -> ExportRecord | None:
    """Return the record in an export of this network, None where there is none; one that is wrong is a `UserError`."""
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
    """Return the error for an export whose record is wrong."""
    what = "what the export says of its model cannot be read"
    return UserError(f"{path}: {what} ({str(error).splitlines()[0]}); install the imclass that wrote it")
