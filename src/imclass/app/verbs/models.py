"""The verb `models`: the networks there are, and one measured."""

from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import Models
from imclass.app.cli.checks import context_of
from imclass.app.cli.lists import Listing, describe_all, listing, unusable
from imclass.app.text.networks import comparison, in_detail
from imclass.core.codec import to_json
from imclass.core.errors import UserError
from imclass.core.tables import problem_of
from imclass.models.entry import NetworkEntry, native_size
from imclass.store.context import Context


def everything(context: Context) -> Listing:
    """Return what stands in the entry of each network."""
    from imclass.models import classifier

    return describe_all(classifier.networks(context), row)


def row(name: str, entry: NetworkEntry) -> dict[str, Any]:
    """Return what the list gives of a network."""
    size = native_size(entry.row, name)
    return {
        "paper": entry.paper,
        "year": entry.year,
        "input": [entry.w_in, size, size],
        "parameters": entry.parameters,
        "published": to_json(entry.result),
    }


def one(name: str, context: Context) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return one network with its row and its layers, and what could not be imported.

    `receptive_field`, in pixels, is that of a position of its last maps. An unknown name is a `UserError`.
    """
    from imclass.models import classifier

    found = classifier.networks(context)
    return {"name": name} | row(name, found[name]) | measurements(name, found[name]), found.failures


def measurements(name: str, entry: NetworkEntry) -> dict[str, Any]:
    """Return what has to be computed of a network; one that cannot be built is a `UserError`."""
    from imclass.models.analysis.geometry import outline

    try:
        geometry = outline(entry.build, entry.row, entry.classes, entry.w_in)
    except UserError:
        raise
    except Exception as error:  # a network of a plugin may raise anything
        raise UserError(
            f"network {name} cannot be built and measured: {problem_of(error)}; correct its file"
        ) from error
    return {
        "parameters": geometry.parameters,
        "macs": geometry.macs,
        "receptive_field": geometry.receptive_field,
        "stride": geometry.stride,
        "activations": geometry.activations,
        "row": to_json(entry.row),
        "layers": to_json(geometry.layers),
    }


def run(arguments: Models) -> Answer:
    """List networks, or one with its layers."""
    if arguments.name is None:
        found = listing("models", arguments.common, everything)
        return Answer(found.rows, comparison(found.rows), notes=unusable(found.failures))
    record, failures = one(arguments.name, context_of(arguments.common))
    return Answer(record, in_detail(record), notes=unusable(failures))
