"""The verb `protocols`: list the test protocols, or describe one."""

import inspect
from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import ProtocolsArguments
from imclass.app.cli.lists import Listing, cached_listing, describe_entries, listing_answer
from imclass.store.context import Context


def protocol_listing(context: Context) -> Listing:
    """Return the list of protocols: name, scales, summary."""
    from imclass.evaluation.score import view_protocols as all_protocols

    return describe_entries(all_protocols(context), row, detail)


def row(name: str, protocol: Any) -> dict[str, Any]:
    """Return the row of a protocol.

    `scales` is null if the protocol accepts none. If the scales come from the model, those that the
    protocol's paper states are listed; if the paper states none, the list is empty.
    """
    scales = getattr(protocol, "scales", None)
    return {
        "scales": None if scales is None else list(scales or getattr(protocol, "paper", ())),
        "summary": about_text(protocol).split("\n")[0],
    }


def about_text(protocol: Any) -> str:
    """Return a protocol's `about`, or else its class's docstring, unless `dataclass` generated the docstring."""
    kind = type(protocol)
    docstring = inspect.cleandoc(kind.__doc__ or "")
    return getattr(protocol, "about", "") or ("" if docstring.startswith(f"{kind.__name__}(") else docstring)


def detail(name: str, protocol: Any) -> dict[str, Any]:
    """Return a protocol's description, and the fields that a model file stores."""
    from imclass.evaluation.ensemble import protocol_fields

    return {"about": about_text(protocol), "fields": protocol_fields(protocol)}


def protocol_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a row to show in the table."""
    scales = row["scales"]
    text = None if scales is None else ", ".join(map(str, scales)) or "default"
    return {"name": row["name"], "scales": text, "summary": row["summary"]}


def run(arguments: ProtocolsArguments) -> Answer:
    """List the protocols, or describe one."""
    return listing_answer(
        cached_listing("protocols", arguments.common, protocol_listing),
        arguments.name,
        "protocol",
        columns=protocol_columns,
    )
