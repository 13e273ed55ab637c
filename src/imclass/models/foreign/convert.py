"""Conversion of another library's weight file to an imclass model file, with classes and preprocessing.

The field `foreign` of the network's entry maps our tensor names to the library's. Our models expect RGB images in
[0, 1]. If the weights in the file expect BGR images, the input channels of the first convolution are reversed. A mean
and a standard deviation for pixel values up to 255 are rescaled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from imclass.core.classes import imagenet_classes
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.core.model_file import ModelHeader, Provenance
from imclass.core.text import list_names
from imclass.models.classifier import (
    BUILD_ERRORS,
    NETWORK_KIND,
    NetworkBody,
    NetworkClassifier,
    networks,
    restore_classifier,
)
from imclass.models.entry import NetworkEntry
from imclass.models.foreign.export import ExportRecord, record_in, unreadable_record
from imclass.models.foreign.inputs import inputs_for, reverse_channels
from imclass.models.foreign.matching import NATIVE_NAMING, TensorMatch, best_match, convert_tensors, meta_tensors
from imclass.models.foreign.readers import NamedTensors, read_tensors
from imclass.store.context import Context


@dataclass(frozen=True)
class ImportOptions:
    """Options for an import. Options that are `None` are inferred from the file."""

    naming: str | None = None  # the library whose tensor names the file uses
    classes: Sequence[str] | None = None
    # Class names, keyed by the number of classes, for files without ImageNet's 1,000 classes.
    known_classes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    inputs: str | Path | None = None  # a key of `INPUTS`, or a JSON file
    licence: str = ""
    key: str | None = None  # the checkpoint entry with the tensors; needed if there are several


def match_file(
    path: Path, network: str, library: str | None = None, context: Context | None = None, key: str | None = None
) -> tuple[TensorMatch, NamedTensors, ExportRecord | None]:
    """Match a weight file to a network, and return the match, the file's tensors and its export record.

    The match may be incomplete. The record is None if the file is not an imclass export or describes another network.
    """
    entry: NetworkEntry = networks(context)[network]
    held = read_tensors(path, key)
    record = record_in(held.record, path, network)
    try:
        match = best_match(network, entry, held.tensors, library, record.row if record else {})
    except (UserError, *BUILD_ERRORS) as error:
        if record is None or library is not None:
            raise
        raise unreadable_record(path, error) from None
    return replace(match, notes=(*held.notes, *match.notes)), held, record


def import_weights(
    path: Path, network: str, options: ImportOptions, context: Context | None = None
) -> tuple[NetworkClassifier, TensorMatch]:
    """Return a classifier with a file's weights, and the match. Raise a `UserError` if the weights do not fit."""
    tensors, header, match = convert(path, network, options, context)
    return restore_classifier(tensors, header, path, context), match


def convert(
    path: Path, network: str, options: ImportOptions, context: Context | None = None
) -> tuple[dict[str, Tensor], ModelHeader, TensorMatch]:
    """Convert a weight file to the tensors and header of a model file, and return these and the match.

    Options that are not set are taken from the file's export record, or from the library's defaults if there is no
    record. Raise a `UserError` if the tensors do not fit.
    """
    entry: NetworkEntry = networks(context)[network]
    match, held, record = match_file(path, network, options.naming, context, options.key)
    if not match.is_complete:
        raise UserError(f"{path} was not loaded. {describe_match(match)}{variant_hint(match, context)}")
    tensors = convert_tensors(match, meta_tensors(entry, match.row, match.classes, match.w_in), held.tensors)
    names = class_names(match, options, record)
    inputs, note = inputs_for(entry, match, options.inputs, record.inputs if record else None)
    if options.inputs is None and match.naming == NATIVE_NAMING and {"mean", "std"} <= set(held.tensors):
        tensors |= {name: held.tensors[name].float() for name in ("mean", "std")}
        note = "mean and std come from the file"
    else:
        tensors |= inputs.buffers()
    if inputs.preprocess.channels == "bgr" and match.w_in == 3:
        tensors = reverse_channels(tensors)
    licence = options.licence or (record.licence if record else "")
    preprocess = replace(inputs.preprocess, channels="rgb")
    chosen = f"imported from {path.name} ({match.naming}'s names), SHA-256 {file_digest(path)}"
    body = NetworkBody(network=network, row=to_json(match.row), preprocess=preprocess, standardise=inputs.standardise)
    header = ModelHeader(
        kind=NETWORK_KIND,
        classes=names,
        body=to_json(body),
        trained=Provenance(chosen=chosen),
        licence=licence,
    )
    return tensors, header, replace(match, notes=(*match.notes, note))


def describe_match(match: TensorMatch) -> str:
    """Return a short description of a match for the terminal."""
    total = len(match.pairs) + len(match.missing) + len(match.wrong)
    lines = [f"{match.network} under {match.naming}'s names: {len(match.pairs):,} of {total:,} tensors fit"]
    for what, names in (("missing", match.missing), ("extra", match.extra), ("wrong", match.wrong)):
        if names:
            lines.append(f"  {len(names):,} {what}: {list_names(names)}")
    return "\n".join([*lines, *(f"  {note}" for note in match.notes)])


def variant_hint(match: TensorMatch, context: Context | None) -> str:
    """Return a hint that suggests variants of the network, or "" if there is nothing to suggest.

    A hint is returned only if no tensor in the file fits, and other libraries have variants of the network but not the
    network itself.
    """
    entries: dict[str, NetworkEntry] = networks(context).entries
    if match.pairs or entries[match.network].foreign:
        return ""
    others = [name for name, entry in entries.items() if name.startswith(f"{match.network}-") and entry.foreign]
    return f"\n  no other library has {match.network}; try --as {' or '.join(others)}" if others else ""


def class_names(match: TensorMatch, options: ImportOptions, record: ExportRecord | None) -> tuple[str, ...]:
    """Return the file's class names.

    The options take precedence over the export record. If neither is given, the known names for this number of classes
    are used. Raise a `UserError` unless there is exactly one name per class.
    """
    classes = options.classes
    if classes is None and record is not None:
        classes = record.classes
    elif classes is None:
        classes = imagenet_classes() if match.classes == 1000 else options.known_classes.get(match.classes)
    if classes is None or len(classes) != match.classes:
        problem = "their names are not known" if classes is None else f"--classes lists {len(classes):,}"
        raise UserError(
            f"the file has {match.classes:,} classes, but {problem}. Pass their names with --classes FILE, "
            "a JSON list or one name per line, in the order of the file's scores"
        )
    return tuple(classes)
