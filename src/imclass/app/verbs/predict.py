"""The verb `predict`: print classes and probabilities for image files."""

import csv
import io
import sys
from typing import Any

from imclass.app.api import predict
from imclass.app.cli.answer import Answer, print_json, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED, PredictArguments
from imclass.app.cli.checks import check_workers, context_of
from imclass.app.load import load_classifier
from imclass.core.errors import UserError
from imclass.core.text import escape_formula, printable_text
from imclass.serving.inputs import gather_files
from imclass.serving.predict import Prediction


def as_json(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as a JSON object with `path` and either `classes` or `refused`."""
    if prediction.refused:
        refused = {"code": prediction.refused.code, "detail": prediction.refused.detail}
        return {"path": prediction.name, "refused": refused}
    return {"path": prediction.name, "classes": [{"class": c, "probability": p} for c, p in prediction.classes]}


def as_csv(prediction: Prediction) -> str:
    """Return a prediction as CSV: a `path,rank,class,probability` line for each class.

    If no class is predicted, there is one line with only the path. For a refused image, there is no line. A name that a
    spreadsheet would run as a formula gets a leading apostrophe.
    """
    text = io.StringIO()
    # QUOTE_MINIMAL would leave a name with a lone \r unquoted.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    for rank, (name, probability) in enumerate(prediction.classes, 1):
        writer.writerow([escape_formula(prediction.name), rank, escape_formula(name), round(probability, 6)])
    if not prediction.classes and not prediction.refused:
        writer.writerow([escape_formula(prediction.name), "", "", ""])
    return text.getvalue()


def as_table(prediction: Prediction) -> str:
    """Return a line with the path, then a line for each class, such as "  98.31%  seven"."""
    lines = [f"  {100 * p:6.2f}%  {printable_text(name)}" for name, p in prediction.classes] or ["  no class"]
    return "\n".join([printable_text(prediction.name), *lines])


def run(arguments: PredictArguments) -> Answer:
    """Classify images and print each prediction as soon as it is available. JSON is printed in one piece at the end."""
    if arguments.top is not None and arguments.top < 1:
        raise UserError(f"--top is {arguments.top}; it must be at least 1")
    if arguments.common.json and arguments.format == "csv":
        raise UserError("--json and --format csv cannot be combined; pass only one of them")
    if arguments.protocol is not None and "," in arguments.protocol:
        raise UserError(f"--protocol {arguments.protocol} specifies more than one protocol; predict accepts only one")
    check_workers(arguments.workers)
    files = gather_files(arguments.paths)
    context = context_of(arguments.common, arguments.max_megapixels)
    classifier = load_classifier(arguments.model, context, device=arguments.device, note=print_notes)
    output_format = "json" if arguments.common.json else arguments.format
    print_notes(files.notes)
    predictions = predict(
        classifier,
        files,
        top=arguments.top,
        protocol=arguments.protocol,
        workers=arguments.workers,
        store=context.store,
        plugins=arguments.common.plugins,
        max_megapixels=arguments.max_megapixels,
    )
    if output_format == "csv":
        print("path,rank,class,probability")
    refused, records = 0, []
    for prediction in predictions:
        if prediction.refused:
            refused += 1
            print(
                f"refused: {printable_text(prediction.name)}: {printable_text(prediction.refused.detail)}",
                file=sys.stderr,
            )
        if output_format == "json":
            records.append(as_json(prediction))
        elif output_format == "csv":
            print(as_csv(prediction), end="")
        elif not prediction.refused:
            print(as_table(prediction))
    if output_format == "json":
        print_json(records)
    return Answer(code=SOME_REFUSED if refused else DONE)
