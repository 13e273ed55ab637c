"""Standard streams that can be closed, full, or read by nobody: none of that ends a command before its work is done."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

CLEAR_LINE = "\r\x1b[2K"  # to the first column, and an empty line


class LossyStream:
    """A text stream that drops what cannot be written: a line of progress is not worth a training."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write `text`, or nothing from now on."""
        try:
            self.stream.write(text)
        except OSError:
            silence(self.stream)
        return len(text)

    def flush(self) -> None:
        """Write what is held back, or nothing from now on."""
        flush(self.stream)


def flush(stream: Any) -> None:
    """Flush a stream; silence one that cannot be written."""
    try:
        stream.flush()
    except OSError:
        silence(stream)


def interject(line: str) -> None:
    """Write a line to standard error at once, past all buffers: safe in a signal handler, amid a `print` or a bar.

    On a terminal it takes the place of the line that the cursor is in, a bar's, which is drawn again below.
    """
    with contextlib.suppress(OSError, AttributeError):  # it may be closed, or have no file, as in notebooks
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        os.write(sys.stderr.fileno(), f"{CLEAR_LINE if live else ''}{line}\n".encode())


def silence(stream: Any) -> None:
    """Lead a stream to the null device: Python tries once more at exit, and would complain and change the exit code."""
    with contextlib.suppress(OSError):  # a stream without a file, as notebooks have
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, stream.fileno())
        os.close(handle)


def reopen_closed() -> None:
    """Open the null device for each closed standard stream, else a file of ours would get its number and its output."""
    handle = os.open(os.devnull, os.O_RDWR)
    while handle <= 2:
        handle = os.dup(handle)  # the lowest number that is free
    os.close(handle)


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Let `print` work, for the time of a block, with closed streams, any name of a file, and an unwritable stderr."""
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
