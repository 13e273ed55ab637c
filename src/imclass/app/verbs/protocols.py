"""The verb `protocols`: the test protocols there are."""

import inspect
from typing import Any

from imclass.app.cli.answer import Answer
from imclass.app.cli.arguments import Protocols
from imclass.app.cli.lists import Listing, describe, describe_all, listing
from imclass.store.context import Context


def protocols(context: Context) -> Listing:
    """Return the protocols: name, scales, and a line on each."""
    from imclass.evaluation.score import protocols as all_protocols

    return describe_all(all_protocols(context), row, detail)


def row(name: str, protocol: Any) -> dict[str, Any]:
    """Return what the list gives of a protocol. It takes no scales where they are null, and has a default where none.

    The default is what the model was trained with, or what the paper says.
    """
    scales = getattr(protocol, "scales", None)
    return {
        "scales": None if scales is None else list(scales or getattr(protocol, "paper", ())),
        "summary": about(protocol).split("\n")[0],
    }


def about(protocol: Any) -> str:
    """Return what a protocol says of itself, or else its class's docstring, unless `dataclass` wrote that."""
    kind = type(protocol)
    docstring = inspect.cleandoc(kind.__doc__ or "")
    return getattr(protocol, "about", "") or ("" if docstring.startswith(f"{kind.__name__}(") else docstring)


def detail(name: str, protocol: Any) -> dict[str, Any]:
    """Return what a protocol does, and its fields that a model file keeps."""
    from imclass.evaluation.ensemble import fields_of

    return {"about": about(protocol), "fields": fields_of(protocol)}


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a table shows of a row."""
    scales = row["scales"]
    shown = None if scales is None else ", ".join(map(str, scales)) or "default"
    return {"name": row["name"], "scales": shown, "summary": row["summary"]}


def run(arguments: Protocols) -> Answer:
    """List protocols."""
    return describe(listing("protocols", arguments.common, protocols), arguments.name, "protocol", columns=columns)
