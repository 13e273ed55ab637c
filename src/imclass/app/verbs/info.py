"""The verb `info`: what a model file holds."""

from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.cli.answer import Answer, say
from imclass.app.cli.arguments import Info
from imclass.app.cli.checks import context_of
from imclass.app.load import count_parameters, read_packed
from imclass.app.text.columns import plain
from imclass.core.codec import to_json
from imclass.core.files import file_digest
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
        "parameters": count_parameters(classifier),
        "trained_on": None if images is None else len(np.unique(images)),
        **to_json(classifier.pack()[1]),
    }


def run(arguments: Info) -> Answer:
    """Say what a model file holds."""
    record = model_info(arguments.model, context_of(arguments.common))
    return Answer(record, text(record))


def text(record: dict[str, Any]) -> str:
    """Return the record as lines."""
    images = record.get("trained_on")
    known = [] if images is None else [f"trained on {images:,} images"]
    return "\n".join([plain({key: value for key, value in record.items() if key != "trained_on"}), *known])
