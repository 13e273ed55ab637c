"""With standard streams that are closed, full or without a reader, a command works and keeps its exit code."""

import contextlib
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
    """Return the exit code of a shell command in which $I stands for imclass."""
    imclass = f"{shlex.quote(sys.executable)} -m imclass"
    return subprocess.run(["bash", "-c", f"I='{imclass}'; {command}"], capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with the index of the recipes, with which a command does not import PyTorch."""
    store = tmp_path_factory.mktemp("indexed") / "store"
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(io.StringIO()):
        patched.setenv("IMCLASS_STORE", str(store))
        assert main(["recipes"]) == 0
    return store


def test_pytorch_can_be_imported_without_streams() -> None:
    assert code_of("$I recipes mnist-lenet <&- >&- 2>&-") == 0


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
def test_the_exit_code_is_that_of_the_work(
    command: str, code: int, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMCLASS_STORE", str(index))
    assert code_of(command) == code


@pytest.mark.parametrize(
    ("terminal", "kind", "text"),
    [(False, "xterm", b"bara line\n"), (True, "xterm", b"bar\r\x1b[2Ka line\r\n"), (True, "dumb", b"bara line\r\n")],
)
def test_an_interjected_line_replaces_a_bar(
    terminal: bool, kind: str, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.openpty() if terminal else os.pipe()
    with open(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", LossyStream(stream))
        monkeypatch.setenv("TERM", kind)
        stream.write("bar")
        stream.flush()
        stream.write("buffered text")
        interject("a line")
        found = b""
        while len(found) < len(text) and (piece := os.read(reading, 100)):  # a terminal may pass it on in pieces
            found += piece
        assert found == text
    os.close(reading)


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_an_interjected_line_may_be_lost(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    interject("a line")


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    flush = close = lambda self: None  # type: ignore[assignment]


def test_an_unwritable_standard_error_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    with pytest.raises(BrokenPipeError):  # the stream does fail
        print("lost", file=sys.stderr)
    assert main(["recipes", "nothing"]) == 2
    assert isinstance(sys.stderr, Broken)  # it is restored


def test_a_lossy_stream_passes_text_through(capsys: pytest.CaptureFixture[str]) -> None:
    stream = LossyStream(sys.stderr)
    print("a line", file=stream, flush=True)
    assert capsys.readouterr().err == "a line\n" and stream.isatty() is False


def test_a_stream_without_a_reader_is_redirected() -> None:
    """Check that the buffered text is dropped: Python writes it again at exit, and would then exit with 120."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        stream.write("lost")
        flush(stream)
        stream.flush()  # nothing is left to fail


def test_closed_streams_are_opened_so_that_no_file_takes_their_numbers(tmp_path: Path) -> None:
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


def test_undecodable_names_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    with safe_streams():
        print("caf\u00e9 \udcff")
    narrow.flush()
    assert narrow.buffer.getvalue() == b"caf\\xe9 \\udcff\n"  # type: ignore[attr-defined]
