"""The verb `protocols`: the test protocols there are."""

import inspect
import sys
from typing import Any

from imclass.app.cli.answer import Listing, listed
from imclass.app.cli.arguments import Protocols
from imclass.app.cli.checks import context_of
from imclass.core.codec import to_json
from imclass.core.tables import Found
from imclass.evaluation.score import protocols as all_protocols
from imclass.store.context import Context


def protocols(context: Context) -> Listing:
    """Return the protocols: name, fields with their defaults, and the first line of the class's docstring."""
    found: Found = all_protocols(context)
    rows = [
        {"name": name, "fields": fields_of(protocol), "summary": docstring(type(protocol)).split("\n")[0]}
        for name, protocol in found.entries.items()
    ]
    return Listing(rows, lambda name: detail(found[name]), found.failures)


def fields_of(protocol: Any) -> dict[str, Any]:
    """Return the fields of a protocol that is a dataclass, and their values; an empty one follows the model."""
    fields = to_json(protocol)
    return fields if isinstance(fields, dict) else {}


def docstring(kind: type) -> str:
    """Return a class's own docstring; the one that `dataclass` writes describes nothing."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return "" if text.startswith(f"{kind.__name__}(") else text


def detail(protocol: Any) -> dict[str, Any]:
    """Return what a protocol does, and its family with the paper, which the file's docstring gives."""
    kind = type(protocol)
    return {"about": docstring(kind), "family": inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")}


def run(own: Protocols) -> int:
    """List protocols."""
    return listed(protocols(context_of(own.common)), own.name, "protocol", own.common)
