"""The verb `info`: what a model file holds."""

from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.cli.answer import say, show
from imclass.app.cli.arguments import DONE, Info
from imclass.app.cli.checks import context_of
from imclass.app.load import open_model
from imclass.app.text.columns import plain
from imclass.core.codec import to_json
from imclass.core.files import file_digest
from imclass.store.context import Context


def model_info(model: str | Path, context: Context) -> dict[str, Any]:
    """Return a model's header, with its file, the count of its parameters and that of the images it was trained on."""
    opened = open_model(model, context)
    say(opened.notes)
    classifier = opened.classifier
    images = classifier.trained_on
    return {
        "file": str(opened.file),
        "sha256": file_digest(opened.file),
        "parameters": sum(p.numel() for each in classifier.networks().values() for p in each.network.parameters()),
        "trained_on": None if images is None else len(np.unique(images)),
        **to_json(classifier.pack()[1]),
    }


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
