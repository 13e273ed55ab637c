"""The verb `info`: what a model file holds."""

from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.cli.answer import Answer, say
from imclass.app.cli.arguments import Info
from imclass.app.cli.checks import context_of
from imclass.app.load import is_published, open_model, open_published
from imclass.app.text.columns import plain
from imclass.core.codec import to_json
from imclass.core.files import file_digest
from imclass.evaluation import unpack
from imclass.evaluation.ensemble import Ensemble
from imclass.models.foreign.published import obtained, published
from imclass.store.context import Context


def model_info(path: Path, context: Context) -> dict[str, Any]:
    """Return a model's header, with its file, the count of its parameters and that of the images it was trained on."""
    opened = open_model(path, context)
    say(opened.notes)
    found = unpack.networks_of(opened.classifier)
    parameters = sum(p.numel() for one in found for p in one.network.parameters())
    known = [one.trained_on.numpy() for one in found if one.trained_on is not None]
    trained_on = len(np.unique(np.concatenate(known))) if known else None
    header = to_json(opened.classifier.header if isinstance(opened.classifier, Ensemble) else found[0].file_header)
    if not isinstance(opened.classifier, Ensemble):
        del header["members"], header["temperature"]
    file, digest = str(opened.file), file_digest(opened.file)
    return {"file": file, "sha256": digest, "parameters": parameters, "trained_on": trained_on, **header}


def published_info(model: str, context: Context) -> dict[str, Any]:
    """What is known of published weights: the file, its SHA-256, and what a model file of them would say."""
    classifier = open_published(model, context)
    path = obtained(published(model), context.store)
    header = to_json(classifier.header)
    known = {key: header[key] for key in ("network", "row", "classes", "preprocess", "chosen", "licence")}
    parameters = sum(p.numel() for p in classifier.network.parameters())
    return {"file": str(path), "sha256": file_digest(path), "parameters": parameters, **known}


def run(arguments: Info) -> Answer:
    """Say what a model file holds."""
    context, model = context_of(arguments.common), arguments.model
    record = published_info(str(model), context) if is_published(model) else model_info(model, context)
    return Answer(record, text(record))


def text(record: dict[str, Any]) -> str:
    """Return the record as lines."""
    images = record.get("trained_on")
    known = [] if images is None else [f"trained on {images:,} images"]
    return "\n".join([plain({key: value for key, value in record.items() if key != "trained_on"}), *known])
