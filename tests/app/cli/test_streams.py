"""Standard streams that are closed, full or read by nobody: a command does its work and keeps its exit code."""

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from imclass.app.cli.streams import LossyStream, flush, interject, safe_streams

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")


def code_of(command: str) -> int:
    """Return the exit code of a shell command in which $I is the command line."""
    imclass = f"{shlex.quote(sys.executable)} -m imclass"
    return subprocess.run(["bash", "-c", f"I='{imclass}'; {command}"], capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("$I recipes mnist-lenet <&- >&- 2>&-", 0),
        ("$I recipes nothing 2>&-", 2),
        pytest.param("$I recipes nothing 2>/dev/full", 2, marks=needs_full),
        pytest.param("$I recipes mnist-lenet >/dev/full", 2, marks=needs_full),
        ("set -o pipefail; $I recipes mnist-lenet | true", 0),
        ("set -o pipefail; $I recipes nothing 2>&1 | true", 2),
    ],
)
def test_the_exit_code_is_that_of_the_work(command: str, code: int) -> None:
    assert code_of(command) == code


@pytest.mark.parametrize(
    ("terminal", "kind", "text"),
    [(False, "xterm", b"bara line\n"), (True, "xterm", b"bar\r\x1b[2Ka line\r\n"), (True, "dumb", b"bara line\r\n")],
)
def test_a_line_at_once_takes_the_place_of_a_bar(
    terminal: bool, kind: str, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.openpty() if terminal else os.pipe()
    with open(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", LossyStream(stream))
        monkeypatch.setenv("TERM", kind)
        stream.write("bar")
        stream.flush()
        stream.write("what is held back")
        interject("a line")
        found = b""
        while len(found) < len(text) and (piece := os.read(reading, 100)):  # a terminal may pass it on in pieces
            found += piece
        assert found == text
    os.close(reading)


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_a_line_at_once_may_be_lost(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    interject("a line")


class Broken(io.StringIO):
    """A stream that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    flush = close = lambda self: None  # type: ignore[assignment]


def test_what_cannot_be_written_to_standard_error_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    with pytest.raises(BrokenPipeError):  # the twin: the stream does fail
        print("lost", file=sys.stderr)
    assert main(["recipes", "nothing"]) == 2
    assert isinstance(sys.stderr, Broken)  # as it was


def test_what_can_be_written_is(capsys: pytest.CaptureFixture[str]) -> None:
    stream = LossyStream(sys.stderr)
    print("a line", file=stream, flush=True)
    assert capsys.readouterr().err == "a line\n" and stream.isatty() is False


def test_a_stream_that_nobody_reads_is_led_to_nowhere() -> None:
    """Python tries to write once more what a stream holds back when it exits, and would then exit with 120."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        stream.write("lost")
        flush(stream)
        stream.flush()  # this one has nothing to fail on


def test_closed_streams_are_open_and_their_numbers_taken(tmp_path: Path) -> None:
    program = """
import os, sys
from imclass.app.cli.streams import safe_streams
with safe_streams():
    print("lost")
    print("lost", file=sys.stderr)
    handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    os.write(handle, str(handle).encode())
assert sys.stdout is None
"""
    path = tmp_path / "numbers"
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {path} <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", shell], check=False).returncode == 0
    assert int(path.read_text()) > 2


def test_names_that_are_no_text_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    with safe_streams():
        print("caf\u00e9 \udcff")
    narrow.flush()
    assert narrow.buffer.getvalue() == b"caf\\xe9 \\udcff\n"  # type: ignore[attr-defined]
