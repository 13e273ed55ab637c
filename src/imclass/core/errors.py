"""The two ways things go wrong: a mistake the user can mend, and an image that cannot be used."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's: one message that names the file, key or shape and the fix. Exit code 2, no traceback."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop (Ctrl-C, SIGTERM) and has saved; the same command resumes it. Exit code 75."""


class BadImage(Exception):
    """An image that is refused. `code` is a short stable word such as "truncated"; `detail` says what was found.

    Loaders catch it, name the file and leave it out; the file itself is never touched.
    """

    def __init__(self, code: str, path: str, detail: str) -> None:
        super().__init__(code, path, detail)
        self.code, self.path, self.detail = code, path, detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail} ({self.code})"


def nearest(name: str, names: Iterable[str]) -> str:
    """What to try instead of `name`: "; did you mean 'x'?", or the list where it is short, or nothing."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(known)}" if 0 < len(known) <= 40 else ""


def printable(text: str) -> str:
    """`text` on one line and safe for a terminal: control characters and broken UTF-8 shown as escapes."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def harmless(cell: str) -> str:
    """Text that a spreadsheet takes as text: what it would run as a formula gets a leading apostrophe."""
    return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
