"""The verb `protocols`: the test protocols there are."""

import inspect
from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import ProtocolsArguments
from imclass.app.cli.lists import Listing, cached_listing, describe_entries, listing_answer
from imclass.store.context import Context


def protocol_listing(context: Context) -> Listing:
    """Return the protocols: name, scales, and a line on each."""
    from imclass.evaluation.score import view_protocols as all_protocols

    return describe_entries(all_protocols(context), row, detail)


def row(name: str, protocol: Any) -> dict[str, Any]:
    """Return what the list gives of a protocol. It takes no scales where they are null, and has a default where none.

    The default is what the model was trained with, or what the paper says.
    """
    scales = getattr(protocol, "scales", None)
    return {
        "scales": None if scales is None else list(scales or getattr(protocol, "paper", ())),
        "summary": about_text(protocol).split("\n")[0],
    }


def about_text(protocol: Any) -> str:
    """Return what a protocol says of itself, or else its class's docstring, unless `dataclass` wrote that."""
    kind = type(protocol)
    docstring = inspect.cleandoc(kind.__doc__ or "")
    return getattr(protocol, "about", "") or ("" if docstring.startswith(f"{kind.__name__}(") else docstring)


def detail(name: str, protocol: Any) -> dict[str, Any]:
    """Return what a protocol does, and its fields that a model file keeps."""
    from imclass.evaluation.ensemble import protocol_fields

    return {"about": about_text(protocol), "fields": protocol_fields(protocol)}


def protocol_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a table shows of a row."""
    scales = row["scales"]
    shown = None if scales is None else ", ".join(map(str, scales)) or "default"
    return {"name": row["name"], "scales": shown, "summary": row["summary"]}


def run(arguments: ProtocolsArguments) -> Answer:
    """List protocols."""
    return listing_answer(
        cached_listing("protocols", arguments.common, protocol_listing),
        arguments.name,
        "protocol",
        columns=protocol_columns,
    )
