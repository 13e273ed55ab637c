"""What `weights` does to files: foreign ones are imported and verified, models are exported and folded."""
# Tested in tests/app/verbs/test_weights.py

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from imclass.app.load import load_network
from imclass.app.writing import check_target
from imclass.core.classes import check_classes
from imclass.core.errors import UserError
from imclass.core.files import atomic_writer
from imclass.core.runtime import library_versions
from imclass.core.text import list_names, printable_text
from imclass.data.sets.cifar import CIFAR10
from imclass.models.analysis.surgery import batch_norms
from imclass.models.classifier import networks
from imclass.models.entry import NetworkEntry, native_size
from imclass.models.foreign.convert import ImportOptions, describe_fit, fit_file, import_weights
from imclass.models.foreign.export import export_bytes, export_network
from imclass.models.foreign.fit import Fit
from imclass.store.context import Context

FORMATS = (".safetensors", ".pth", ".pt")  # that `export` writes


def import_file(
    file: Path, network: str, out: Path, context: Context, wanted: ImportOptions, classes: Path | None = None
) -> tuple[dict[str, Any], str]:
    """Write a foreign file as a model file; return what was done as a record and as text."""
    check_target(out, "--out", ".safetensors")
    names = read_class_names(classes) if classes else None
    wanted = replace(wanted, classes=names, known_classes=default_names(network, context))
    classifier, fit = import_weights(file, network, wanted, context)
    check_classes(classifier.classes, str(file))
    replace(classifier, versions=library_versions()).save(out)
    record = fit_record(fit) | {"model": str(out), "classes": list(classifier.classes)}
    return record, f"{describe_fit(fit)}\n{printable_text(str(out))}: {list_names(classifier.classes, 3)}"


def verify_file(
    file: Path, network: str, library: str | None, key: str | None, context: Context
) -> tuple[dict[str, Any], str]:
    """Return how a foreign file fits, as a record and as text."""
    fit, *_ = fit_file(file, network, library, context, key)
    verdict = "it would be loaded" if fit.loads else "it would not be loaded"
    return fit_record(fit), f"{describe_fit(fit)}\n{verdict}"


def export_model(
    model: str, library: str, out: Path, context: Context, note: Callable[[Sequence[str]], None]
) -> tuple[dict[str, Any], str]:
    """Write a model's tensors as another library's state dict; return what was done as a record and as text."""
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"--out {out}: its suffix says what is written; give one of {', '.join(FORMATS)}")
    check_target(out, "--out")
    classifier = load_network(model, context, note=note)
    export = export_network(classifier, library, context)
    with atomic_writer(out) as target:
        target.write(export_bytes(export, out.suffix.lower()))
    inputs, entry = export.inputs, networks(context)[classifier.name]
    record = {"file": str(out), "library": library, "name": entry.foreign[library].name, "tensors": len(export.tensors)}
    order = "blue first" if inputs.preprocess.channels == "bgr" else "red first"
    text = (
        f"{printable_text(str(out))}: {len(export.tensors):,} tensors of {library}'s {record['name']}; "
        f"images from 0 to {inputs.unit}, {order}, must be normalised by mean {round_values(inputs.mean)}, "
        f"std {round_values(inputs.std)}"
    )
    return record | {name: export.record.inputs[name] for name in ("mean", "std", "unit", "channels")}, text


def fold_model(
    model: str, out: Path, context: Context, note: Callable[[Sequence[str]], None]
) -> tuple[dict[str, Any], str]:
    """Write a model without the batch norms that can be made part of the layers before them."""
    check_target(out, "--out", ".safetensors")
    classifier = load_network(model, context, note=note)
    folded = classifier.fold()
    before, after = (len(batch_norms(each.network)) for each in (classifier, folded))
    if before == after:
        why = "no batch norm that follows a convolution or a fully connected layer" if before else "no batch norm"
        raise UserError(f"{model}: {classifier.name} has {why}, so there is nothing to fold; use it as it is")
    replace(folded, versions=library_versions()).save(out)
    record = {"model": str(out), "network": classifier.name, "folded": before - after, "left": after}
    return record, f"{printable_text(str(out))}: {before - after:,} of {before:,} batch norms folded"


def round_values(values: Sequence[float]) -> list[float]:
    """Return values to four digits, for people; the value of a mean image's every pixel would be too much."""
    return [round(v, 4) for v in values[:3]]


def fit_record(fit: Fit) -> dict[str, Any]:
    """Return a fit as JSON."""
    record = asdict(fit)
    kept = ("network", "row", "classes", "missing", "extra", "wrong", "notes")
    counted = {"loads": fit.loads, "fit": len(fit.pairs), "library": fit.naming}
    return counted | {name: record[name] for name in kept}


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return class names from a file, without spaces around them: a JSON list, or one a line.

    Blank lines may follow the last name. Anything else is a `UserError`.
    """
    if not path.is_file():
        raise UserError(f"--classes {path}: there is no such file")
    try:
        text = path.read_bytes().decode("utf-8-sig").strip()
        names = json.loads(text) if text.startswith(("[", "{")) else text.splitlines()
    except (OSError, ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"--classes {path} must be a JSON list of names, or one name a line")
    names = [name.strip() for name in names]
    if "" in names:
        raise UserError(f"--classes {path}: name {names.index('') + 1} is blank; name the class, or remove the line")
    check_classes(names, str(path))
    return tuple(names)


def default_names(network: str, context: Context | None = None) -> Mapping[int, Sequence[str]]:
    """Return names that a file for this network may mean, by their number: CIFAR-10's for networks of its size."""
    entry: NetworkEntry = networks(context)[network]
    return {10: CIFAR10.classes} if (native_size(entry.row, network), entry.w_in) == (32, 3) else {}
