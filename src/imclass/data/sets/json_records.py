"""A reader for the lists of records in a large JSON file, which has only a small part of the file in memory."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imclass.core.errors import UserError

CHUNK = 1 << 22  # characters read at a time
MAX_VALUE = 1 << 26  # characters of one record
SPACE = re.compile(r"[ \t\n\r]*")


@dataclass
class JsonText:
    """The text of a JSON file, read in chunks. `position` is that of the next value in `text`."""

    path: Path
    file: io.TextIOBase
    text: str = ""
    position: int = 0
    is_complete: bool = False  # whether the end of the file has been read
    decoder: json.JSONDecoder = field(default_factory=json.JSONDecoder)

    def error(self, why: str) -> UserError:
        """Return the error for a file that is not what was expected."""
        return UserError(f"{self.path} is not the expected JSON file ({why}); replace it with the published file")

    def extend(self) -> None:
        """Read another chunk, and drop the text before `position`."""
        try:
            chunk = self.file.read(CHUNK)
        except UnicodeDecodeError:
            raise self.error("it is not UTF-8 text") from None
        self.text = self.text[self.position :] + chunk
        self.position = 0
        self.is_complete = not chunk

    def peek(self) -> str:
        """Return the next character that is not white space, or "" at the end of the file."""
        while True:
            found = SPACE.match(self.text, self.position)
            self.position = found.end() if found else self.position
            if self.position < len(self.text) or self.is_complete:
                return self.text[self.position : self.position + 1]
            self.extend()

    def take(self, expected: str) -> str:
        """Skip the next character and return it. Raise `UserError` unless it is one of those `expected`."""
        letter = self.peek()
        if not letter or letter not in expected:
            found = f"it has {letter!r}" if letter else "it ends"
            raise self.error(f"{found} where {' or '.join(map(repr, expected))} should be")
        self.position += 1
        return letter

    def value(self) -> Any:
        """Return the next value."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
                # A number that is cut off by the end of a chunk is a number, too: "12" and "1." of "12.5" and "1.5".
                if self.is_complete or self.text[end : end + 1] not in ("", ".", "e", "E"):
                    self.position = end
                    return value
            except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError
                if self.is_complete or not isinstance(error, json.JSONDecodeError):
                    raise self.error(str(error)) from None
            if len(self.text) - self.position > MAX_VALUE:
                raise self.error(f"a value has more than {MAX_VALUE:,} characters")
            self.extend()


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records in each list of a JSON object, with the key of the list. Other values are skipped.

    If the file is not such an object, raise a `UserError` that names it.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from records_in(JsonText(path, file))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; make the file readable") from None


def records_in(text: JsonText) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records in each list of the object in `text`, with the key of the list."""
    text.take("{")
    while text.peek() != "}":
        key = text.value()
        text.take(":")
        if text.peek() == "[":
            for record in items_in(text):
                if not isinstance(record, dict):
                    raise text.error(f"{key!r} contains {str(record)[:20]!r}, which is not a record")
                yield str(key), record
        else:
            text.value()
        if text.peek() != "}":
            text.take(",")
            if text.peek() != '"':
                raise text.error("a comma is not followed by a key")


def items_in(text: JsonText) -> Iterator[Any]:
    """Yield the items of the list that begins in `text`."""
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    yield text.value()
    while text.take(",]") == ",":
        yield text.value()
