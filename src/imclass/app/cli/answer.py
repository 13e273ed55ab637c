"""What verbs answer with, and how it is printed: nothing else of the package writes what a command came to."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from imclass.app.cli.arguments import DONE
from imclass.core.text import printable_text


@dataclass(frozen=True)
class Answer:
    """What a verb came to: the record for `--json`, the text otherwise, the exit code, and notes for standard error.

    `last` is work that waits until the answer is printed, so that a full disk keeps nobody from reading it. A verb that
    prints as it goes has neither record nor text.
    """

    record: Any = None
    text: str = ""
    code: int = DONE
    notes: tuple[str, ...] = ()  # a line each
    last: Callable[[], object] | None = None


def print_answer(answer: Answer, as_json: bool) -> int:
    """Print an answer and return its exit code."""
    for note in answer.notes:
        print(printable_text(note), file=sys.stderr)
    try:
        if as_json and answer.record is not None:
            print_json(answer.record)
        elif not as_json and answer.text:
            print(answer.text)
    finally:  # where nobody reads the answer any more, there are still the files
        if answer.last is not None:
            answer.last()
    return answer.code


def print_json(record: Any) -> None:
    """Print one JSON record on standard output."""
    print(json.dumps(record, indent=2))


def print_line(line: str) -> None:
    """Print a line on standard error: what is about to be done, or what was done on the way."""
    print(printable_text(line), file=sys.stderr)


def print_notes(notes: Iterable[str]) -> None:
    """Print what a user should know before the work, a line each, on standard error."""
    for note in notes:
        print(f"note: {printable_text(note)}", file=sys.stderr)
