"""The actions of `imclass weights`: importing and verifying weights, and exporting, folding and converting models."""
# Tested in tests/app/verbs/test_weights.py

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from imclass.app.load import load_network
from imclass.app.writing import check_target
from imclass.core.classes import check_classes
from imclass.core.errors import UserError
from imclass.core.files import atomic_writer
from imclass.core.runtime import library_versions
from imclass.core.text import list_names, printable_text
from imclass.data.sets.cifar import CIFAR10
from imclass.models.analysis.geometry import measure
from imclass.models.analysis.surgery import batch_norms
from imclass.models.classifier import networks
from imclass.models.entry import NetworkEntry, native_size
from imclass.models.foreign.convert import ImportOptions, describe_match, import_weights, match_file
from imclass.models.foreign.export import export_bytes, export_network
from imclass.models.foreign.matching import TensorMatch
from imclass.store.context import Context

FORMATS = (".safetensors", ".pth", ".pt")  # file extensions accepted by `export`


def import_file(
    file: Path, network: str, out: Path, context: Context, options: ImportOptions, classes: Path | None = None
) -> tuple[dict[str, Any], str]:
    """Convert another library's weight file into a model file. Return a description as a record and as text."""
    check_target(out, "--out", ".safetensors")
    names = read_class_names(classes) if classes else None
    options = replace(options, classes=names, known_classes=default_names(network, context))
    classifier, match = import_weights(file, network, options, context)
    check_classes(classifier.classes, str(file))
    replace(classifier, versions=library_versions()).save(out)
    record = fit_record(match) | {"model": str(out), "classes": list(classifier.classes)}
    return record, f"{describe_match(match)}\n{printable_text(str(out))}: {list_names(classifier.classes, 3)}"


def verify_file(
    file: Path, network: str, library: str | None, key: str | None, context: Context
) -> tuple[dict[str, Any], str]:
    """Return how well another library's weight file matches a network, as a record and as text."""
    match, *_ = match_file(file, network, library, context, key)
    verdict = "the file can be imported" if match.is_complete else "the file cannot be imported"
    return fit_record(match), f"{describe_match(match)}\n{verdict}"


def export_model(
    model: str, library: str, out: Path, context: Context, note: Callable[[Sequence[str]], None]
) -> tuple[dict[str, Any], str]:
    """Write a model's tensors as another library's state dict. Return a description as a record and as text."""
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"--out {out}: the file extension determines the format; use one of {', '.join(FORMATS)}")
    check_target(out, "--out")
    classifier = load_network(model, context, note=note)
    export = export_network(classifier, library, context)
    with atomic_writer(out) as target:
        target.write(export_bytes(export, out.suffix.lower()))
    inputs, entry = export.inputs, networks(context)[classifier.name]
    record = {"file": str(out), "library": library, "name": entry.foreign[library].name, "tensors": len(export.tensors)}
    order = "blue first" if inputs.preprocess.channels == "bgr" else "red first"
    mean_and_std = f"mean {round_values(inputs.mean)} and std {round_values(inputs.std)}"
    text = (
        f"{printable_text(str(out))}: {len(export.tensors):,} tensors of {library}'s {record['name']}; "
        f"it expects pixel values from 0 to {inputs.unit}, {order}, normalised "
        + ("per image to 0.5 + 0.5 (x - mean) / std" if inputs.standardise else f"with {mean_and_std}")
    )
    shown = ("mean", "std", "unit", "standardise", "channels")
    return record | {name: export.record.inputs[name] for name in shown}, text


def fold_model(
    model: str, out: Path, context: Context, note: Callable[[Sequence[str]], None]
) -> tuple[dict[str, Any], str]:
    """Write a copy of a model with each batch norm folded into the preceding layer, where possible.

    Return a description of the copy as a record and as text.
    """
    check_target(out, "--out", ".safetensors")
    classifier = load_network(model, context, note=note)
    folded = classifier.transform("folded")
    before = len(batch_norms(classifier.network))
    after = len(batch_norms(folded.network))
    if before == after:
        why = "no batch norm that follows a convolution or a fully connected layer" if before else "no batch norm"
        raise UserError(f"{model}: {classifier.name} has {why}, so nothing can be folded; use the model unchanged")
    replace(folded, versions=library_versions()).save(out)
    record = {"model": str(out), "network": classifier.name, "folded": before - after, "left": after}
    return record, f"{printable_text(str(out))}: {before - after:,} of {before:,} batch norms folded"


def convolve_model(
    model: str, out: Path, fine: bool, context: Context, note: Callable[[Sequence[str]], None]
) -> tuple[dict[str, Any], str]:
    """Write a copy of a model whose fully connected layers are convolutions and, if `fine`, with finer class maps.

    Return a description of the copy as a record and as text.
    """
    check_target(out, "--out", ".safetensors")
    original = load_network(model, context, note=note)
    names = [name for name, layer in original.network.head.named_children() if isinstance(layer, nn.Linear)]
    try:
        converted = original.transform("convolutional") if names or not fine else original
        converted = converted.transform("fine") if fine else converted
    except UserError as error:
        raise UserError(f"{model}: {error}; use the model unchanged") from None
    layers = [converted.network.head.get_submodule(name) for name in names]
    kernels = [layer.kernel_size for layer in layers if isinstance(layer, nn.Conv2d)]
    stride = measure(converted.network).stride
    replace(converted, versions=library_versions()).save(out)
    record = {"model": str(out), "network": original.name, "kernels": kernels, "stride": stride}
    sizes = ", ".join(" x ".join(map(str, kernel)) for kernel in kernels)
    what = f"fully connected layers as convolutions: {sizes}; " if kernels else ""
    return record, f"{printable_text(str(out))}: {what}class maps with a position every {stride} pixels"


def round_values(values: Sequence[float]) -> list[float]:
    """Return at most three values, rounded to four decimal places, because a mean image has too many to print."""
    return [round(v, 4) for v in values[:3]]


def fit_record(match: TensorMatch) -> dict[str, Any]:
    """Return a JSON record that says how well the tensors of a file match a network."""
    record = asdict(match)
    fields = ("network", "row", "classes", "missing", "extra", "wrong", "notes")
    summary = {"loads": match.is_complete, "fit": len(match.pairs), "library": match.naming}
    return summary | {name: record[name] for name in fields}


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names from a file that contains a JSON list or one name per line.

    Spaces around a name are removed. Blank lines may follow the last name. Raise a `UserError` for any other content.
    """
    if not path.is_file():
        raise UserError(f"--classes {path}: the file does not exist")
    try:
        text = path.read_bytes().decode("utf-8-sig").strip()
        names = json.loads(text) if text.startswith(("[", "{")) else text.splitlines()
    except (OSError, ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"--classes {path} must contain a JSON list of class names, or one name per line")
    names = [name.strip() for name in names]
    if "" in names:
        raise UserError(f"--classes {path}: name {names.index('') + 1} is blank; enter a name, or remove the entry")
    check_classes(names, str(path))
    return tuple(names)


def default_names(network: str, context: Context | None = None) -> Mapping[int, Sequence[str]]:
    """Return default class names by number of classes: CIFAR-10's if the network accepts CIFAR images, else none."""
    entry: NetworkEntry = networks(context)[network]
    return {10: CIFAR10.classes} if (native_size(entry.row, network), entry.w_in) == (32, 3) else {}
