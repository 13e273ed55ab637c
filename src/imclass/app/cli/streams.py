"""Handling of standard streams that are closed, have lost their reader, or write to a full disk."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

CLEAR_LINE = "\r\x1b[2K"  # go to the first column and erase the line


class LossyStream:
    """A text stream that discards all text after a write has failed, so that the failure does not end training."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text. If that fails, discard all further text."""
        try:
            self.stream.write(text)
        except OSError:
            silence(self.stream)
        return len(text)

    def flush(self) -> None:
        """Flush the stream. If that fails, discard all further text."""
        flush(self.stream)


def flush(stream: Any) -> None:
    """Flush a stream. If it cannot be written to, silence it."""
    try:
        stream.flush()
    except OSError:
        silence(stream)


def interject(line: str) -> None:
    """Write a line to standard error without buffering. Signal handlers may call this function even during a `print`.

    On a terminal, the line overwrites the progress bar, which is then redrawn on the next line.
    """
    with contextlib.suppress(OSError, AttributeError):  # stderr may be closed, or not a file, as in notebooks
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        os.write(sys.stderr.fileno(), f"{CLEAR_LINE if live else ''}{line}\n".encode())


def silence(stream: Any) -> None:
    """Redirect a stream to the null device. Otherwise a failed flush at exit would change Python's exit code."""
    with contextlib.suppress(OSError):  # not a file, as in notebooks
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, stream.fileno())
        os.close(handle)


def reopen_closed() -> None:
    """Open the null device in place of each closed standard stream, so that no other file receives its output."""
    handle = os.open(os.devnull, os.O_RDWR)
    while handle <= 2:
        handle = os.dup(handle)  # the lowest free number
    os.close(handle)


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Make `print` work within the block even if streams are closed, stderr fails, or a file name is not valid text."""
    reopen_closed()
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        out, err = sys.stdout or nowhere, sys.stderr or nowhere
        for stream in (out, err):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # file names need not be valid text
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(LossyStream(err)))
        yield
