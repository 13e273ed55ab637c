"""The verb `protocols`: the test protocols there are."""

import inspect
import sys
from typing import Any

from imclass.app.cli.arguments import Protocols
from imclass.app.cli.lists import Listing, answer, describe_all, listing
from imclass.core.codec import to_json
from imclass.store.context import Context


def protocols(context: Context) -> Listing:
    """Return the protocols: name, fields with their values, and the first line of the class's docstring."""
    from imclass.evaluation.score import protocols as all_protocols

    return describe_all(all_protocols(context), row, detail)


def row(name: str, protocol: Any) -> dict[str, Any]:
    """Return what the list gives of a protocol."""
    return {"fields": fields_of(protocol), "summary": docstring(type(protocol)).split("\n")[0]}


def fields_of(protocol: Any) -> dict[str, Any]:
    """Return the fields of a protocol that is a dataclass, and their values; an empty one follows the model."""
    fields = to_json(protocol)
    return fields if isinstance(fields, dict) else {}


def docstring(kind: type) -> str:
    """Return a class's own docstring; the one that `dataclass` writes describes nothing."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return "" if text.startswith(f"{kind.__name__}(") else text


def detail(name: str, protocol: Any) -> dict[str, Any]:
    """Return what a protocol does, and its family with the paper, which the file's docstring gives."""
    kind = type(protocol)
    return {"about": docstring(kind), "family": inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")}


def run(own: Protocols) -> int:
    """List protocols."""
    return answer(listing("protocols", own.common, protocols), own.name, "protocol", own.common)
