"""The verb `info`: describe a model file, or write a copy of it with renamed classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imclass.app.acts.series import series_answer_parts
from imclass.app.cli.answer import Answer, print_notes
from imclass.app.cli.arguments import InfoArguments
from imclass.app.cli.checks import context_of
from imclass.app.load import PackedModel, count_parameters, read_packed
from imclass.app.runs.directory import Run
from imclass.app.series.results import finished_series
from imclass.app.settings.series import Repeats, Series
from imclass.app.text.columns import record_text
from imclass.app.writing import check_target
from imclass.core.classes import new_names
from imclass.core.codec import to_json
from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.files import file_digest
from imclass.evaluation.unpack import save_classifier
from imclass.store.context import Context


def model_record(packed: PackedModel, classifier: Classifier) -> dict[str, Any]:
    """Return a model's record: its file, its header, and how many parameters and training images it has."""
    images = classifier.trained_on
    return {
        "file": str(packed.file),
        "sha256": file_digest(packed.file),
        "parameters": count_parameters(classifier),
        "trained_on": None if images is None else len(np.unique(images)),
        **to_json(classifier.pack()[1]),
    }


def check_rename(out: Path | None, rename: Sequence[str]) -> None:
    """Raise a `UserError` if only one of --rename and --out is given, or if the copy cannot be written."""
    if out is not None and not rename:
        raise UserError(f"--out {out} requires --rename OLD=NEW; pass the new names, or drop --out")
    if rename and out is None:
        raise UserError(
            "--rename does not change MODEL but writes a copy; choose the file for the copy with --out FILE"
        )
    check_target(out, "--out", ".safetensors")


def run(arguments: InfoArguments) -> Answer:
    """Describe a model file or repeated splits. With `--rename`, write a renamed copy and describe the copy."""
    check_rename(arguments.out, arguments.rename)
    context = context_of(arguments.common)
    series = None if arguments.rename else repeats_in(arguments.model, context)
    if series is not None:
        return Answer(*series_answer_parts(Run(arguments.model, series=series), series)[:2])
    packed = read_packed(arguments.model, context)
    print_notes(packed.notes)
    classifier = packed.unpack(context)
    if arguments.out is not None:
        save_classifier(arguments.out, classifier.rename(new_names(arguments.rename, classifier.classes)), context)
        packed = read_packed(arguments.out, context)
        classifier = packed.unpack(context)
    record = model_record(packed, classifier)
    return Answer(record, model_text(record))


def repeats_in(folder: Path, context: Context) -> Series | None:
    """Return the repeated splits in a folder, or None if it contains anything else or is not finished."""
    run = Run(folder)
    series = finished_series(run, context) if run.config.is_file() else None
    return series if isinstance(series, Repeats) else None


def model_text(record: dict[str, Any]) -> str:
    """Return a model's record as lines of text."""
    images = record.get("trained_on")
    lines = [record_text({key: value for key, value in record.items() if key != "trained_on"})]
    if images is not None:
        lines.append(f"trained on {images:,} images")
    return "\n".join(lines)
