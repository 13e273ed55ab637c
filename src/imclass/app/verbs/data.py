"""The verb `data`: list, fetch, check, show or export data sets."""

from imclass.app.cli.answer import Answer, print_notes
from imclass.app.cli.arguments import DONE, SOME_REFUSED, DataArguments
from imclass.app.cli.checks import check_workers, context_of
from imclass.app.cli.lists import Listing, cached_listing, describe_entries, listing_answer
from imclass.app.text.columns import record_text
from imclass.core.errors import UserError
from imclass.store.context import Context

ACTS = ("get", "check", "show", "export")


def dataset_listing(context: Context) -> Listing:
    """Return a list of the data sets: their names, splits, licences, summaries, and whether they can be downloaded."""
    from imclass.data.catalog import dataset_table

    return describe_entries(
        dataset_table(context),
        lambda name, source: {
            "splits": list(source.splits),
            "licence": source.licence,
            "download": source.get is not None,
            "summary": source.summary,
        },
    )


def run(arguments: DataArguments) -> Answer:
    """List, fetch, check, show or export data sets."""
    name = arguments.name
    if arguments.what not in ACTS:
        return listing_answer(
            cached_listing("data", arguments.common, dataset_listing), arguments.what, "data set", ACTS
        )
    if name is None:
        raise UserError(f"no data set was specified; run imclass data {arguments.what} NAME")
    check_workers(arguments.workers)
    from imclass.app.acts import data, show  # imported here, because lists do not need PyTorch
    from imclass.data.catalog import shadowed_folder_note

    context = context_of(arguments.common, arguments.max_megapixels)
    if arguments.what == "get":
        record = data.fetch_dataset(name, context)
    elif arguments.what == "check":
        record = data.audit_dataset(name, context, arguments.split_seed, arguments.workers)
    elif arguments.what == "show":
        print_notes(shadowed_folder_note(name, context))
        split, seed = arguments.split or "train", arguments.split_seed
        record, text = show.show_dataset(name, arguments.out, context, split, seed, arguments.each, arguments.recipe)
        return Answer(record, text, SOME_REFUSED if record["refused"] else DONE)
    else:
        print_notes(shadowed_folder_note(name, context))
        split = arguments.split or "test"
        record = data.export_images(name, arguments.out, context, split, arguments.most, arguments.split_seed)
    text = data.check_text(record) if arguments.what == "check" else record_text(record)
    return Answer(record, text, SOME_REFUSED if record.get("refused") else DONE)
