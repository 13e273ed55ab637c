"""The verb `data`: data sets listed, fetched, checked, exported."""

from imclass.app.cli.answer import Answer, say
from imclass.app.cli.arguments import DONE, SOME_REFUSED, Data
from imclass.app.cli.checks import check_workers, context_of
from imclass.app.cli.lists import Listing, describe, describe_all, listing
from imclass.app.text.columns import plain
from imclass.core.errors import UserError
from imclass.store.context import Context

ACTS = ("get", "check", "export")


def datasets(context: Context) -> Listing:
    """Return the data sets: name, splits, licence, whether they can be fetched, summary."""
    from imclass.data.catalog import sources

    return describe_all(
        sources(context),
        lambda name, source: {
            "splits": list(source.splits),
            "licence": source.licence,
            "download": source.get is not None,
            "summary": source.summary,
        },
    )


def run(arguments: Data) -> Answer:
    """List, fetch, check or export data sets."""
    name = arguments.name
    if arguments.what not in ACTS:
        return describe(listing("data", arguments.common, datasets), arguments.what, "data set", ACTS)
    if name is None:
        raise UserError(f"name a data set: imclass data {arguments.what} NAME")
    check_workers(arguments.workers)
    from imclass.app.acts import data  # not above, because a list needs no PyTorch
    from imclass.data.catalog import folder_not_read

    context = context_of(arguments.common, arguments.max_megapixels)
    if arguments.what == "get":
        record = data.get(name, context)
    elif arguments.what == "check":
        record = data.check(name, context, arguments.split_seed, arguments.workers)
    else:
        say(folder_not_read(name, context))
        split = arguments.split or "test"
        record = data.export(name, arguments.out, context, split, arguments.most, arguments.split_seed)
    text = data.check_text(record) if arguments.what == "check" else plain(record)
    return Answer(record, text, SOME_REFUSED if record.get("refused") else DONE)
