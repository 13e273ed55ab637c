"""The verb `data`: data sets listed, fetched, checked, exported."""

from imclass.app.cli.arguments import Data
from imclass.app.cli.checks import context_of
from imclass.app.cli.lists import Listing, answer, describe_all, listing
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


def run(own: Data) -> int:
    """List, fetch, check or export data sets."""
    if own.what not in ACTS:
        return answer(listing("data", own.common, datasets), own.what, "data set", own.common, ACTS)
    from imclass.app.acts.data import act

    return act(own, context_of(own.common, own.max_megapixels))
