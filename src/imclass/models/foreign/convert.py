"""Weights of other libraries taken in: what they expect of an image, their classes, and the way into our model file.

A file's tensors fill one of our networks through the names its entry has for that library (`foreign`). Blue-green-red
order and pixel values up to 255 do not outlive the import: the first convolution's channels are turned round, and mean
and standard deviation are put into the units of images in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

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
from imclass.models.foreign.fit import NATIVE_NAMING, Fit, best_fit, convert_tensors, meta_tensors
from imclass.models.foreign.inputs import inputs_for, reverse_channels
from imclass.models.foreign.readers import NamedTensors, read_tensors
from imclass.store.context import Context

CLASSES_FILE = Path(__file__).with_name("imagenet_classes.txt")


@dataclass(frozen=True)
class ImportOptions:
    """What an import was told beside the file: whose names, which classes, which inputs. What is None is found out."""

    naming: str | None = None  # a library's
    classes: Sequence[str] | None = None
    known_classes: Mapping[int, Sequence[str]] = field(
        default_factory=dict
    )  # names by number of classes, beside ImageNet's
    inputs: str | Path | None = None  # a name of `INPUTS`, or a JSON file
    licence: str = ""
    key: str | None = None  # the entry of a checkpoint that holds the tensors, where several do


def fit_file(
    path: Path, network: str, library: str | None = None, context: Context | None = None, key: str | None = None
) -> tuple[Fit, NamedTensors, ExportRecord | None]:
    """Return how the tensors in a file fit a network, whether they do or not, and what else the file holds."""
    entry: NetworkEntry = networks(context)[network]
    held = read_tensors(path, key)
    record = record_in(held.record, path, network)
    try:
        fit = best_fit(network, entry, held.tensors, library, record.row if record else {})
    except (UserError, *BUILD_ERRORS) as error:
        if record is None or library is not None:
            raise
        raise unreadable_record(path, error) from None
    return replace(fit, notes=(*held.notes, *fit.notes)), held, record


def import_weights(
    path: Path, network: str, wanted: ImportOptions, context: Context | None = None
) -> tuple[NetworkClassifier, Fit]:
    """Return the classifier that a file's tensors make of a network, and how they fitted; else raise `UserError`."""
    tensors, header, fit = convert(path, network, wanted, context)
    return restore_classifier(tensors, header, path, context), fit


def convert(
    path: Path, network: str, wanted: ImportOptions, context: Context | None = None
) -> tuple[dict[str, Tensor], ModelHeader, Fit]:
    """Return what a model file of a foreign file's tensors holds, and how they fitted; else raise `UserError`.

    What is not given is taken from the file's record, if it is an export of ours, else from the library's convention.
    """
    entry: NetworkEntry = networks(context)[network]
    fit, held, record = fit_file(path, network, wanted.naming, context, wanted.key)
    if not fit.loads:
        raise UserError(f"{path} was not loaded. {describe_fit(fit)}{variant_hint(fit, context)}")
    tensors = convert_tensors(fit, meta_tensors(entry, fit.row, fit.classes, fit.w_in), held.tensors)
    names = class_names(fit, wanted, record)
    inputs, note = inputs_for(entry, fit, wanted.inputs, record.inputs if record else None)
    if wanted.inputs is None and fit.naming == NATIVE_NAMING and {"mean", "std"} <= set(held.tensors):
        tensors |= {name: held.tensors[name].float() for name in ("mean", "std")}
        note = "mean and std are the file's own"
    else:
        tensors |= inputs.buffers()
    if inputs.preprocess.channels == "bgr" and fit.w_in == 3:
        tensors = reverse_channels(tensors)
    licence = wanted.licence or (record.licence if record else "")
    preprocess = replace(inputs.preprocess, channels="rgb")
    chosen = f"imported from {path.name} ({fit.naming}'s names), SHA-256 {file_digest(path)}"
    header = ModelHeader(
        kind=NETWORK_KIND,
        classes=names,
        body=to_json(NetworkBody(network=network, row=to_json(fit.row), preprocess=preprocess)),
        trained=Provenance(chosen=chosen),
        licence=licence,
    )
    return tensors, header, replace(fit, notes=(*fit.notes, note))


def describe_fit(fit: Fit) -> str:
    """How a file fits, in a few lines."""
    of = len(fit.pairs) + len(fit.missing) + len(fit.wrong)
    lines = [f"{fit.network} under {fit.naming}'s names: {len(fit.pairs):,} of {of:,} tensors fit"]
    for what, names in (("missing", fit.missing), ("extra", fit.extra), ("wrong", fit.wrong)):
        if names:
            lines.append(f"  {len(names):,} {what}: {list_names(names)}")
    return "\n".join([*lines, *(f"  {note}" for note in fit.notes)])


def variant_hint(fit: Fit, context: Context | None) -> str:
    """Other variants of the network, where this one has no library's names, and nothing fits."""
    entries: dict[str, NetworkEntry] = networks(context).entries
    if fit.pairs or entries[fit.network].foreign:
        return ""
    others = [name for name, entry in entries.items() if name.startswith(f"{fit.network}-") and entry.foreign]
    return f"\n  {fit.network} has no other library's names; try --as {' or '.join(others)}" if others else ""


def class_names(fit: Fit, wanted: ImportOptions, record: ExportRecord | None) -> tuple[str, ...]:
    """Return the names of the file's classes: given, recorded, or known for their number; else raise `UserError`."""
    classes = wanted.classes
    if classes is None and record is not None:
        classes = record.classes
    elif classes is None:
        classes = imagenet_classes() if fit.classes == 1000 else wanted.known_classes.get(fit.classes)
    if classes is None or len(classes) != fit.classes:
        was = "give their names with --classes FILE" if classes is None else f"--classes names {len(classes):,}"
        raise UserError(
            f"the file has {fit.classes:,} classes, and {was}: a JSON list, or one name a line, in the order of the "
            "file's scores"
        )
    return tuple(classes)


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 classes of ILSVRC 2012 in their usual order: WordNet id, a space, the first of its words."""
    return tuple(CLASSES_FILE.read_text().splitlines())
