"""The verb `weights`: list published weights, import or verify weight files, and export, fold or convert models."""

from pathlib import Path
from typing import Any

from imclass.app.cli.answer import Answer, print_notes
from imclass.app.cli.arguments import DONE, USER_ERROR, WeightsArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.lists import Listing, cached_listing, describe_entries, listing_answer
from imclass.core.errors import UserError
from imclass.core.tables import EntryTable
from imclass.store.context import Context

ACTS = ("import", "verify", "export", "fold", "convolve")


def weights_listing(context: Context) -> Listing:
    """Return a list of the published files: names, accuracies in %, preprocessing, classes, licences and sources."""
    from imclass.models.foreign import published

    return describe_entries(EntryTable("published weight file", dict(published.PUBLISHED_WEIGHTS)), row, detail)


def row(name: str, file: Any) -> dict[str, Any]:
    """Return a published file's row in the list."""
    return {
        "top1": file.top1,
        "top5": file.top5,
        "preprocess": file.inputs,
        "classes": file.classes,
        "licence": file.licence,
        "sha256": file.sha256[:12],
        "url": file.url or file.source,
    }


def detail(name: str, file: Any) -> dict[str, Any]:
    """Return more facts about a published file: its path in the store, and its SHA-256 as far as it is known."""
    return {"file": f"weights/{file.network}/{file.file}", "sha256": file.sha256}


def weights_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that the table shows for a file, few enough to fit in a terminal."""
    return {key: row[key] for key in ("name", "top1", "top5", "classes", "licence")}


def require_option(value: Any, option: str, what: str | None) -> Any:
    """Return the value of an option. Raise a `UserError` if the option was not given."""
    if value is None:
        raise UserError(f"imclass weights {what} requires {option}")
    return value


def run(arguments: WeightsArguments) -> Answer:
    """List published weights, import or verify a file, or export, fold or convert a model."""
    what, file = arguments.what, arguments.file
    if what not in ACTS:
        listing = cached_listing("weights", arguments.common, weights_listing)
        return listing_answer(listing, what, "published weight file", ACTS, weights_columns)
    if file is None:
        wanted = "MODEL" if what in ("export", "fold", "convolve") else "FILE"
        raise UserError(f"no {wanted.lower()} was specified; run imclass weights {what} {wanted}")
    from imclass.app.acts import weights  # imported here, because lists do not need PyTorch
    from imclass.models.foreign.convert import ImportOptions

    context, out = context_of(arguments.common), arguments.out
    if what == "export":
        library = require_option(arguments.format, "--format LIBRARY", what)
        record, text = weights.export_model(
            file, library, require_option(out, "--out FILE", what), context, print_notes
        )
    elif what == "fold":
        record, text = weights.fold_model(file, require_option(out, "--out FILE", what), context, print_notes)
    elif what == "convolve":
        target = require_option(out, "--out FILE", what)
        record, text = weights.convolve_model(file, target, arguments.fine, context, print_notes)
    else:
        network = require_option(arguments.as_, "--as NETWORK", what)
        if what == "verify":
            record, text = weights.verify_file(Path(file), network, arguments.from_, arguments.key, context)
        else:
            options = ImportOptions(arguments.from_, inputs=arguments.preprocess, key=arguments.key)
            model = require_option(out, "--out MODEL", what)
            record, text = weights.import_file(Path(file), network, model, context, options, arguments.classes)
    return Answer(record, text, DONE if record.get("loads", True) else USER_ERROR)
