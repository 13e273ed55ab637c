"""Files are downloaded once, files put there by hand are used, and nothing is left of a refused download."""

import contextlib
import hashlib
import os
import shutil
import ssl
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from imclass.core.errors import UserError
from imclass.store.store import Download, Store, default_folder, open_store
from tests.support.https_site import (
    CONTENT,
    OTHER,
    SHA256,
    Handler,
    Site,
    always,
    files,
    in_turn,
    put,
    refusal_of,
    serve_range,
)


def test_a_download_is_complete_and_reported(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    seen: list[tuple[int, int]] = []
    path = store.get(download, lambda held, size: seen.append((held, size)), trust)
    assert path == store.folder / "set" / "file.bin"
    assert files(store) == {"set/file.bin": CONTENT}
    assert path.stat().st_mode & 0o7133 == 0  # not executable, and writable by its owner only
    assert seen == sorted(set(seen)) and len(seen) > 1
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    store.get(download, context=trust)
    assert len(site.requests) == 1  # the second call found it in the store


def test_a_complete_part_needs_no_server(site: Site, store: Store, download: Download, trust: ssl.SSLContext) -> None:
    put(store, "set/file.bin.part", CONTENT)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert site.requests == []


@pytest.mark.parametrize("poison", [OTHER[:5000], OTHER, CONTENT + b"more"])
def test_a_wrong_part_is_detected_and_downloaded_again(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, poison: bytes
) -> None:
    put(store, "set/file.bin.part", poison)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] is None
    assert list(files(store)) == ["set/file.bin"]


def test_a_wrong_hash_leaves_nothing_behind(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    site.answer = always(200, OTHER)
    message = refusal_of(store, download, trust)
    assert hashlib.sha256(OTHER).hexdigest()[:12] in message and SHA256[:12] in message
    assert files(store) == {}
    assert len(site.requests) == 1


def test_an_offline_store_sends_no_requests(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    offline = Store(store.folder, offline=True)
    assert "--offline" in refusal_of(offline, download, trust)
    assert site.requests == [] and not store.folder.exists()
    put(store, "set/file.bin", CONTENT)
    assert offline.get(download, context=trust).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_used(site: Site, store: Store, download: Download, trust: ssl.SSLContext) -> None:
    path = put(store, "set/file.bin", CONTENT)
    upper = Download(download.path, download.url, SHA256.upper(), download.size)
    assert store.get(download, context=trust) == store.get(upper, context=trust) == path
    assert site.requests == []


@pytest.mark.parametrize("content", [OTHER, CONTENT[:-1], b""])
def test_a_wrong_file_put_there_by_hand_is_named_and_kept(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, content: bytes
) -> None:
    path = put(store, "set/file.bin", content)
    with pytest.raises(UserError) as caught:
        store.get(download, context=trust)
    digest = hashlib.sha256(content).hexdigest()
    facts = (str(path), digest[:12], SHA256[:12], "out of the way to download the file again", download.url)
    assert all(fact in str(caught.value) for fact in facts)
    assert path.read_bytes() == content
    assert site.requests == []


def test_a_folder_or_a_dead_link_in_place_of_the_file_is_named(
    store: Store, download: Download, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    path = store.folder / "set" / "file.bin"
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="is not a file"):
        store.get(download, context=trust)
    path.rmdir()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is not a file"):
        store.get(download, context=trust)
    assert path.is_symlink() and not (tmp_path / "nowhere").exists()


def test_a_part_that_is_a_link_is_not_written_through(
    store: Store, download: Download, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"precious")
    (store.folder / "set").mkdir(parents=True)
    (store.folder / "set" / "file.bin.part").symlink_to(mine)
    refusal_of(store, download, trust)
    assert mine.read_bytes() == b"precious"


def test_concurrent_calls_download_a_file_once(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    waited = threading.Event()

    def slow(handler: Handler) -> None:
        waited.wait(20)  # until another thread has found the file locked
        serve_range(handler)

    site.answer = slow
    found: list[bytes] = []
    got = [
        threading.Thread(target=lambda: found.append(store.get(download, lambda *_: waited.set(), trust).read_bytes()))
        for _ in range(4)
    ]
    for thread in got:
        thread.start()
    for thread in got:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(site.requests) == 1
    assert files(store) == {"set/file.bin": CONTENT}


def test_without_the_lock_concurrent_calls_would_download_it_twice(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    both = threading.Barrier(2, timeout=20)

    def together(handler: Handler) -> None:
        both.wait()
        serve_range(handler)

    site.answer = together

    def get() -> None:
        with contextlib.suppress(UserError):
            store.get(download, context=trust)

    got = [threading.Thread(target=get) for _ in range(2)]
    for thread in got:
        thread.start()
    for thread in got:
        thread.join()
    assert len(site.requests) == 2


def test_a_failed_call_lets_the_next_one_try(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    site.answer = in_turn(always(200, OTHER), serve_range)
    outcomes: list[str] = []

    def get() -> None:
        try:
            outcomes.append(store.get(download, context=trust).name)
        except UserError:
            outcomes.append("refused")

    got = [threading.Thread(target=get) for _ in range(3)]
    for thread in got:
        thread.start()
    for thread in got:
        thread.join()
    assert sorted(outcomes) == ["file.bin", "file.bin", "refused"]
    assert files(store) == {"set/file.bin": CONTENT}


def test_a_file_put_there_by_hand_during_a_download_is_kept(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    def meanwhile(handler: Handler) -> None:
        put(store, "set/file.bin", b"the user's")
        serve_range(handler)

    site.answer = meanwhile
    with pytest.raises(UserError, match="not the expected file"):
        store.get(download, context=trust)
    assert files(store) == {"set/file.bin": b"the user's"}


def test_an_interrupted_download_keeps_its_part(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    def stop(held: int, size: int) -> None:
        if held > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get(download, stop, trust)
    (part,) = files(store).values()
    assert len(part) > 100_000 and CONTENT.startswith(part)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] == f"bytes={len(part)}-"


def test_a_disk_that_is_too_small_is_reported_before_the_first_byte(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1234))
    message = refusal_of(store, download, trust)
    assert "307,200 bytes, and only 1,234 bytes are free" in message and "--store" in message
    assert site.requests == [] and files(store) == {}


def test_a_disk_that_fills_up_is_reported(
    store: Store, download: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in refusal_of(store, download, trust)
    assert files(store) == {"set/file.bin.part": CONTENT}


def test_a_file_in_place_of_the_folder_is_reported(store: Store, download: Download, trust: ssl.SSLContext) -> None:
    put(store, "set", b"a file")
    assert "could not be written" in refusal_of(store, download, trust)
    assert files(store) == {"set": b"a file"}


@pytest.mark.parametrize("path", ["", ".", "..", "../out", "/etc/passwd", "set/../../out"])
def test_a_path_outside_the_store_is_refused(store: Store, download: Download, path: str) -> None:
    with pytest.raises(UserError, match="not a path inside the store"):
        store.get(Download(path, download.url, SHA256, len(CONTENT)))
    with pytest.raises(UserError, match="not a path inside the store"):
        store.find("set", path)


def test_find_returns_the_first_path_that_exists(store: Store) -> None:
    assert store.find("a", "b") is None
    second = put(store, "b/file", b"")
    assert store.find("a", "b/file") == second
    first = put(store, "a", b"")
    assert store.find("a", "b/file") == first
    assert store.find("b") == store.folder / "b"


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.setenv("IMCLASS_STORE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_folder() == tmp_path / ".cache" / "imclass"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == tmp_path / ".cache" / "imclass"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert default_folder() == tmp_path / "caches" / "imclass"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_folder() == tmp_path / "Library" / "Caches" / "imclass"


def test_opening_a_store_does_not_create_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "default"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store() == Store(tmp_path / "default")
    assert open_store(Path("~/mine"), offline=True) == Store(tmp_path / "mine", offline=True)
    monkeypatch.chdir(tmp_path)
    assert open_store(Path("here")).folder == tmp_path / "here"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not a folder"):
        open_store(tmp_path / "file")
