"""The answers that verbs return, and the functions that print them."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from imclass.app.cli.arguments import DONE
from imclass.core.text import printable_text


@dataclass(frozen=True)
class Answer:
    """The result of a verb: a record for `--json`, text for people, an exit code, and notes for standard error.

    `last` is a function that writes the verb's files. It is called after the answer has been printed, so that the
    answer appears even if the disk is full. If a verb prints its output while it runs, its answer has no record and
    no text.
    """

    record: Any = None
    text: str = ""
    code: int = DONE
    notes: tuple[str, ...] = ()  # one line each
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
    finally:  # the files are written even if standard output was closed early
        if answer.last is not None:
            answer.last()
    return answer.code


def print_json(record: Any) -> None:
    """Print a record as JSON on standard output."""
    print(json.dumps(record, indent=2))


def print_line(line: str) -> None:
    """Print a progress line on standard error."""
    print(printable_text(line), file=sys.stderr)


def print_notes(notes: Iterable[str]) -> None:
    """Print notes on standard error, one line each."""
    for note in notes:
        print(f"note: {printable_text(note)}", file=sys.stderr)
