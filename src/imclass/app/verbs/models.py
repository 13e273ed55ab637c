"""The verb `models`: list the networks, or describe one network and its layers."""

from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import ModelsArguments
from imclass.app.cli.checks import context_of
from imclass.app.cli.lists import Listing, cached_listing, describe_entries, failure_notes
from imclass.app.text.networks import network_text, networks_table
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.tables import problem_of
from imclass.models.entry import NetworkEntry, native_size
from imclass.store.context import Context


def network_listing(context: Context) -> Listing:
    """Return a list of the networks, without building them."""
    from imclass.models import classifier

    return describe_entries(classifier.networks(context), row)


def row(name: str, entry: NetworkEntry) -> dict[str, Any]:
    """Return a network's row in the list."""
    size = native_size(entry.row, name)
    return {
        "paper": entry.paper,
        "year": entry.year,
        "input": [entry.w_in, size, size],
        "parameters": entry.parameters,
        "published": to_json(entry.result),
    }


def network_record(name: str, context: Context) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a network's record, and a message for each module that could not be imported.

    `receptive_field` is the receptive field of one position in the last feature maps, in pixels. Raise a `UserError` if
    the network is unknown.
    """
    from imclass.models import classifier

    table = classifier.networks(context)
    return {"name": name} | row(name, table[name]) | measurements(name, table[name]), table.failures


def measurements(name: str, entry: NetworkEntry) -> dict[str, Any]:
    """Build a network and return its size, cost and layers. Raise a `UserError` if it cannot be built."""
    from imclass.models.analysis.geometry import outline

    try:
        geometry = outline(entry.build, entry.row, entry.classes, entry.w_in)
    except UserError:
        raise
    except Exception as error:  # a network from a plugin may raise any exception
        raise UserError(f"network {name} cannot be built: {problem_of(error)}; fix the network's file") from error
    return {
        "parameters": geometry.parameters,
        "macs": geometry.macs,
        "receptive_field": geometry.receptive_field,
        "stride": geometry.stride,
        "activations": geometry.activations,
        "row": to_json(entry.row),
        "layers": to_json(geometry.layers),
    }


def run(arguments: ModelsArguments) -> Answer:
    """List the networks, or describe one network and its layers."""
    if arguments.name is None:
        listing = cached_listing("models", arguments.common, network_listing)
        return Answer(listing.rows, networks_table(listing.rows), notes=failure_notes(listing.failures))
    record, failures = network_record(arguments.name, context_of(arguments.common))
    return Answer(record, network_text(record), notes=failure_notes(failures))
