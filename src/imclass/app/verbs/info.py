"""The verb `info`: what a model file holds, and a copy of it with other names for its classes."""

from typing import Any

import numpy as np

from imclass.app.cli.answer import say, show
from imclass.app.cli.arguments import DONE, Info
from imclass.app.cli.checks import check_target, context_of
from imclass.app.load import Packed, read_packed
from imclass.app.text.columns import plain
from imclass.core.classes import new_names
from imclass.core.codec import to_json
from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.core.model_file import TRAINED_ON
from imclass.evaluation.unpack import save


def record(packed: Packed, classifier: Classifier) -> dict[str, Any]:
    """Return a model's header, with its file, the count of its parameters and that of the images it was trained on."""
    images = classifier.trained_on
    return {
        "file": str(packed.file),
        "sha256": file_digest(packed.file),
        "parameters": parameters(classifier),
        "trained_on": None if images is None else len(np.unique(images)),
        **to_json(classifier.pack()[1]),
    }


def check_rename(own: Info) -> None:
    """Raise `UserError` unless new names come with a file to write."""
    if own.out is not None and not own.rename:
        raise UserError(f"--out {own.out} is for --rename OLD=NEW, which is not there; give it, or leave out --out")
    if own.rename and own.out is None:
        raise UserError("--rename writes a new model file and leaves MODEL as it is; name the new one with --out FILE")
    check_target(own.out, "--out", ".safetensors")


def parameters(classifier: Classifier) -> int:
    """Return how many numbers a classifier has learned: its networks' parameters, and arrays outside of networks."""
    networks = classifier.networks()
    found = sum(p.numel() for each in networks.values() for p in each.network.parameters())
    if "" in networks:
        return found
    inside = (*(f"{name}." for name in networks),)
    others = {name: t for name, t in classifier.pack()[0].items() if not name.startswith(inside)}
    return found + sum(t.numel() for name, t in others.items() if name.rpartition(".")[2] != TRAINED_ON)


def run(own: Info) -> int:
    """Print what a model file holds, or with `--rename` what the copy holds."""
    check_rename(own)
    context = context_of(own.common)
    packed = read_packed(own.model, context)
    say(packed.notes)
    classifier = packed.unpack(context)
    if own.out is not None:
        save(own.out, classifier.rename(new_names(own.rename, classifier.classes)), context)
        packed = read_packed(own.out, context)
        classifier = packed.unpack(context)
    found = record(packed, classifier)
    show(found) if own.common.json else print(text(found))
    return DONE


def text(record: dict[str, Any]) -> str:
    """Return the record as lines."""
    images = record.get("trained_on")
    known = [] if images is None else [f"trained on {images:,} images"]
    return "\n".join([plain({key: value for key, value in record.items() if key != "trained_on"}), *known])
