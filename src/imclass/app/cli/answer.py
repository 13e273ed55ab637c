"""What verbs answer with, and how it is printed."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imclass.app.cli.arguments import DONE, SOME_REFUSED, Common
from imclass.app.text.columns import plain, table
from imclass.core.errors import UserError
from imclass.core.text import nearest


@dataclass(frozen=True)
class Listing:
    """Rows of a table, more on each entry by name, and files that could not be imported."""

    rows: list[dict[str, Any]]
    details: Callable[[str], dict[str, Any]]
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """What the verb prints, and whether images were refused."""

    record: dict[str, Any]
    text: str
    refused: bool


def show(record: Any) -> None:
    """One JSON record on standard output."""
    print(json.dumps(record, indent=2))


def tell(told: Told | None, common: Common) -> int:
    """Print what a verb has to tell; processes other than the first have nothing."""
    if told is None:
        return DONE
    show(told.record) if common.json else print(told.text)
    return SOME_REFUSED if told.refused else DONE


def listed(found: Listing, name: str | None, what: str, common: Common, acts: Sequence[str] = ()) -> int:
    """A table of all, or one entry in detail; an unknown name may have been meant for one of `acts`."""
    for failure in found.failures:
        print(f"note: not usable: {failure}", file=sys.stderr)
    if name is None:
        show(found.rows) if common.json else print(table(found.rows))
        return DONE
    chosen = next((row for row in found.rows if row["name"] == name), None)
    if chosen is None:
        raise UserError(f"no {what} is named {name!r}{nearest(name, [*(row['name'] for row in found.rows), *acts])}")
    detail = chosen | found.details(name)
    show(detail) if common.json else print(plain(detail))
    return DONE
