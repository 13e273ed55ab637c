"""An atomic write leaves a complete new file or the old one."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from imclass.core import files
from imclass.core.files import atomic_writer, write_file

# ---- atomic writes


def test_write_file_creates_and_replaces(tmp_path: Path) -> None:
    write_file(tmp_path / "a.txt", "né")
    write_file(tmp_path / "a.txt", b"\xff\x00")
    assert (tmp_path / "a.txt").read_bytes() == b"\xff\x00"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_file(path, "old")
    with pytest.raises(error), atomic_writer(path) as file:
        file.write(b"half of the n")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_plain_write_would_lose_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError), path.open("wb") as file:
        file.write(b"half of the n")
        raise ValueError
    assert path.read_text() != "old"


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.txt"
    write_file(path, "old")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, "new" * 1000)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_write_that_does_not_fit_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_file(path, "old")

    def on_a_full_device(handle: int, mode: str) -> IO[Any]:
        os.close(handle)
        return Path("/dev/full").open(mode)

    monkeypatch.setattr(os, "fdopen", on_a_full_device)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, "new" * 1000)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def trace(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            calls.append(name)
            return real(*args)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, trace(name, getattr(os, name)))
    write_file(tmp_path / "a.txt", "new")
    assert calls == ["fsync", "replace", "fsync"]


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert files.file_digest(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
