"""What verbs answer with, and how it is printed."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imclass.app.cli.arguments import DONE, SOME_REFUSED, Common
from imclass.core.text import printable


@dataclass(frozen=True)
class Told:
    """What the verb prints, and whether images were refused."""

    record: dict[str, Any]
    text: str
    refused: bool


def show(record: Any) -> None:
    """One JSON record on standard output."""
    print(json.dumps(record, indent=2))


def say(notes: Iterable[str]) -> None:
    """Print what a user should know before the work, a line each, on standard error."""
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def tell(told: Told | None, common: Common) -> int:
    """Print what a verb has to tell; processes other than the first have nothing."""
    if told is None:
        return DONE
    show(told.record) if common.json else print(told.text)
    return SOME_REFUSED if told.refused else DONE
