"""The verb `info`: what a model file holds."""

from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.cli.answer import say, show
from imclass.app.cli.arguments import DONE, Info
from imclass.app.cli.checks import context_of
from imclass.app.load import read_packed
from imclass.app.text.columns import plain
from imclass.core.codec import to_json
from imclass.core.contracts import Classifier
from imclass.core.files import file_digest
from imclass.core.model_file import TRAINED_ON
from imclass.store.context import Context


def model_info(model: str | Path, context: Context) -> dict[str, Any]:
    """Return a model's header, with its file, the count of its parameters and that of the images it was trained on."""
    packed = read_packed(model, context)
    say(packed.notes)
    classifier = packed.unpack(context)
    images = classifier.trained_on
    return {
        "file": str(packed.file),
        "sha256": file_digest(packed.file),
        "parameters": parameters(classifier),
        "trained_on": None if images is None else len(np.unique(images)),
        **to_json(classifier.pack()[1]),
    }


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
    """Say what a model file holds."""
    context = context_of(own.common)
    record = model_info(own.model, context)
    show(record) if own.common.json else print(text(record))
    return DONE


def text(record: dict[str, Any]) -> str:
    """Return the record as lines."""
    images = record.get("trained_on")
    known = [] if images is None else [f"trained on {images:,} images"]
    return "\n".join([plain({key: value for key, value in record.items() if key != "trained_on"}), *known])
