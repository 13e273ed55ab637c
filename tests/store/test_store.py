"""The store against a local https server that misbehaves in every way, and files put there by hand."""

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import os
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from imclass.core.errors import UserError
from imclass.store import transfer
from imclass.store.store import Download, Store, default_folder, open_store

CONTENT = bytes(range(256)) * 1200  # several blocks
OTHER = bytes(reversed(CONTENT))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    server: "Site"

    def do_GET(self) -> None:
        self.server.requests.append(self.headers)
        self.server.answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        pass


Answer = Callable[[Handler], None]


class Site(http.server.ThreadingHTTPServer):
    """A server on 127.0.0.1 whose answer a test chooses; it remembers the headers of what it was asked."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Message] = []
        self.answer: Answer = ranged
        self.released = threading.Event()  # lets go of handlers that stall
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is what many tests are about


def send(handler: Handler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        if value:  # an empty one is left out
            handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def always(status: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda handler: send(handler, status, body, **headers)


def in_turn(*answers: Answer) -> Answer:
    waiting = list(answers)
    return lambda handler: (waiting.pop(0) if len(waiting) > 1 else waiting[0])(handler)


def ranged(handler: Handler) -> None:
    """What a good server does: the part that was asked for, if the ETag still holds."""
    asked, condition = handler.headers["Range"], handler.headers["If-Range"]
    if asked is None or condition not in (None, '"one"'):
        return send(handler, 200, CONTENT, ETag='"one"')
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    send(handler, 206, CONTENT[start:], ETag='"one"', Content_Range=span)


def cut(body: bytes, after: int, etag: str = '"one"') -> Answer:
    """The first bytes of an answer that promises them all."""
    return lambda handler: send(handler, 200, body[:after], ETag=etag, Content_Length=str(len(body)))


def stall(handler: Handler) -> None:
    send(handler, 200, CONTENT[:100_000], Content_Length=str(len(CONTENT)))
    handler.wfile.flush()
    handler.server.released.wait(20)


def serve(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    site.released.set()
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that it signed itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def site(certificate: Path) -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serve(Site(context))


@pytest.fixture
def plain_site() -> Iterator[Site]:
    yield from serve(Site(None))


@pytest.fixture
def trust(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def wanted(site: Site) -> Download:
    return Download("set/file.bin", f"https://127.0.0.1:{site.port}/file.bin", SHA256, len(CONTENT))


def put(store: Store, name: str, content: bytes) -> Path:
    path = store.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files(store: Store) -> dict[str, bytes]:
    """Every file of the store with its content."""
    return {p.relative_to(store.folder).as_posix(): p.read_bytes() for p in store.folder.rglob("*") if p.is_file()}


def refused(store: Store, wanted: Download, trust: ssl.SSLContext | None) -> str:
    """The message with which `get` refuses; it tells what to put where, and the final name is not there."""
    with pytest.raises(UserError) as caught:
        store.get(wanted, context=trust)
    message = str(caught.value)
    target = store.folder / wanted.path
    assert not target.exists()
    assert all(said in message for said in (wanted.url, str(target), f"{wanted.size:,} bytes", wanted.sha256))
    return message


def test_a_download_arrives_whole_and_is_reported(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext
) -> None:
    seen: list[tuple[int, int]] = []
    path = store.get(wanted, lambda held, size: seen.append((held, size)), trust)
    assert path == store.folder / "set" / "file.bin"
    assert files(store) == {"set/file.bin": CONTENT}
    assert path.stat().st_mode & 0o7133 == 0  # nobody else writes, nobody executes
    assert seen == sorted(set(seen)) and len(seen) > 1
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    store.get(wanted, context=trust)
    assert len(site.requests) == 1  # the second time it was there


def test_a_part_is_resumed(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    put(store, "set/file.bin.part", CONTENT[:5000])
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert [r["Range"] for r in site.requests] == ["bytes=5000-"]
    assert [r["If-Range"] for r in site.requests] == [None]
    assert list(files(store)) == ["set/file.bin"]


def test_a_whole_part_needs_no_server(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    put(store, "set/file.bin.part", CONTENT)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert site.requests == []


@pytest.mark.parametrize("poison", [OTHER[:5000], OTHER, CONTENT + b"more"])
def test_a_poisoned_part_is_found_and_fetched_anew(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, poison: bytes
) -> None:
    put(store, "set/file.bin.part", poison)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] is None
    assert list(files(store)) == ["set/file.bin"]


def test_a_server_without_ranges_starts_the_part_anew(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext
) -> None:
    put(store, "set/file.bin.part", OTHER[:5000])
    site.answer = always(200, CONTENT)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "odd",
    [
        always(416),
        always(206, CONTENT[5001:], Content_Range=f"bytes 5001-{len(CONTENT) - 1}/{len(CONTENT)}"),
        always(206, CONTENT[5000:]),
    ],
)
def test_an_odd_answer_to_a_range_starts_the_part_anew(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, odd: Answer
) -> None:
    put(store, "set/file.bin.part", CONTENT[:5000])
    site.answer = in_turn(odd, ranged)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert [r["Range"] for r in site.requests] == ["bytes=5000-", None]


def test_a_lost_connection_is_taken_up_where_it_broke(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext
) -> None:
    site.answer = in_turn(cut(CONTENT, 100_000), ranged)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert [(r["Range"], r["If-Range"]) for r in site.requests] == [(None, None), ("bytes=100000-", '"one"')]


def test_a_file_that_changed_between_two_connections_is_not_spliced(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext
) -> None:
    site.answer = in_turn(cut(OTHER, 100_000, '"zero"'), ranged)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert len(site.requests) == 2


def test_a_weak_etag_is_not_asked_for(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    site.answer = in_turn(cut(CONTENT, 100_000, 'W/"one"'), ranged)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert site.requests[1]["If-Range"] is None


def test_a_wrong_hash_leaves_nothing(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    site.answer = always(200, OTHER)
    message = refused(store, wanted, trust)
    assert hashlib.sha256(OTHER).hexdigest()[:12] in message and SHA256[:12] in message
    assert files(store) == {}
    assert len(site.requests) == 1


def test_a_short_stream_is_refused_and_kept(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    site.answer = always(200, CONTENT[:100_000], Content_Length="")
    assert "100,000 of 307,200 bytes" in refused(store, wanted, trust)
    assert files(store) == {"set/file.bin.part": CONTENT[:100_000]}
    assert len(site.requests) == 4
    site.answer = ranged
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] == "bytes=100000-"


def test_a_long_stream_is_refused_at_once(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    def endless(handler: Handler) -> None:
        send(handler, 200, CONTENT, Content_Length="")
        while not handler.server.released.is_set():
            handler.wfile.write(CONTENT)

    site.answer = endless
    assert "more than the 307,200 bytes" in refused(store, wanted, trust)
    assert files(store) == {}


@pytest.mark.parametrize("offered", [CONTENT[:-1], CONTENT + b"x"])
def test_another_size_is_refused_before_a_byte(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, offered: bytes
) -> None:
    part = put(store, "set/file.bin.part", CONTENT[:10])
    site.answer = always(200, offered)
    assert f"has {len(offered):,} bytes, and 307,200 are expected" in refused(store, wanted, trust)
    assert part.read_bytes() == CONTENT[:10]


def test_http_is_not_spoken(plain_site: Site, store: Store, trust: ssl.SSLContext) -> None:
    wanted = Download("file.bin", f"http://127.0.0.1:{plain_site.port}/", SHA256, len(CONTENT))
    assert "not https" in refused(store, wanted, trust)
    assert plain_site.requests == []


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_redirect_away_from_https_is_not_followed(
    site: Site, plain_site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, scheme: str
) -> None:
    site.answer = always(302, Location=f"{scheme}://127.0.0.1:{plain_site.port}/file.bin")
    message = refused(store, wanted, trust)
    assert f"{scheme}://127.0.0.1" in message
    assert plain_site.requests == [] and files(store) == {}


def test_a_redirect_to_https_is_followed(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    put(store, "set/file.bin.part", CONTENT[:5000])
    site.answer = in_turn(always(302, Location="/elsewhere"), ranged)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert site.requests[1]["Range"] == "bytes=5000-"


def test_an_unknown_certificate_is_refused(site: Site, store: Store, wanted: Download) -> None:
    assert "certificate is not trusted" in refused(store, wanted, None)
    assert site.requests == [] and files(store) == {}


def test_the_system_s_certificates_count(
    store: Store, wanted: Download, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert store.get(wanted).read_bytes() == CONTENT


def test_a_stall_ends_and_what_came_is_kept(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", 1.0)
    monkeypatch.setattr(transfer, "PAUSES", ())
    site.answer = stall
    assert "nothing came for 1 seconds" in refused(store, wanted, trust)
    assert files(store) == {"set/file.bin.part": CONTENT[:100_000]}
    monkeypatch.setattr(transfer, "TIMEOUT", 20.0)
    site.answer = ranged
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] == "bytes=100000-"


@pytest.mark.parametrize("status", [203, 403, 404])
def test_a_refusal_is_final(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, status: int) -> None:
    site.answer = always(status)
    assert f"answered {status}" in refused(store, wanted, trust)
    assert len(site.requests) == 1 and files(store) == {}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_trouble_is_tried_again(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, status: int
) -> None:
    site.answer = in_turn(always(status), always(status), ranged)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_a_lasting_trouble_ends(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    site.answer = always(503)
    assert "answered 503" in refused(store, wanted, trust)
    assert len(site.requests) == 4 and files(store) == {}


def test_an_unreachable_host_is_explained(store: Store, trust: ssl.SSLContext) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        url = f"https://127.0.0.1:{taken.getsockname()[1]}/"
        assert "refused" in refused(store, Download("file.bin", url, SHA256, len(CONTENT)), trust)
    assert files(store) == {}


def test_an_unknown_name_is_explained(store: Store, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "connected?" in refused(store, Download("file.bin", "https://nowhere.test/", SHA256, len(CONTENT)), trust)


def test_a_proxy_of_the_environment_is_asked(
    site: Site, plain_site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{plain_site.port}")
    assert "Tunnel connection failed" in refused(store, wanted, trust)  # our server knows no CONNECT
    assert site.requests == []
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert store.get(wanted, context=trust).read_bytes() == CONTENT


def test_offline_asks_nobody(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    offline = Store(store.folder, offline=True)
    assert "--offline" in refused(offline, wanted, trust)
    assert site.requests == [] and not store.folder.exists()
    put(store, "set/file.bin", CONTENT)
    assert offline.get(wanted, context=trust).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_used(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    path = put(store, "set/file.bin", CONTENT)
    upper = Download(wanted.path, wanted.url, SHA256.upper(), wanted.size)
    assert store.get(wanted, context=trust) == store.get(upper, context=trust) == path
    assert site.requests == []


@pytest.mark.parametrize("content", [OTHER, CONTENT[:-1], b""])
def test_a_wrong_file_put_there_by_hand_is_named_and_left_alone(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, content: bytes
) -> None:
    path = put(store, "set/file.bin", content)
    with pytest.raises(UserError) as caught:
        store.get(wanted, context=trust)
    digest = hashlib.sha256(content).hexdigest()
    assert all(said in str(caught.value) for said in (str(path), digest[:12], SHA256[:12], "move it away", wanted.url))
    assert path.read_bytes() == content
    assert site.requests == []


def test_a_folder_or_a_dead_link_in_the_file_s_place_is_named(
    store: Store, wanted: Download, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    path = store.folder / "set" / "file.bin"
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="is not a file"):
        store.get(wanted, context=trust)
    path.rmdir()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is not a file"):
        store.get(wanted, context=trust)
    assert path.is_symlink() and not (tmp_path / "nowhere").exists()


def test_a_part_that_is_a_link_is_not_written_through(
    store: Store, wanted: Download, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"precious")
    (store.folder / "set").mkdir(parents=True)
    (store.folder / "set" / "file.bin.part").symlink_to(mine)
    refused(store, wanted, trust)
    assert mine.read_bytes() == b"precious"


def test_two_at_once_fetch_it_once(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    waited = threading.Event()

    def slow(handler: Handler) -> None:
        waited.wait(20)  # until the other one has found the lock taken
        ranged(handler)

    site.answer = slow
    found: list[bytes] = []
    got = [
        threading.Thread(target=lambda: found.append(store.get(wanted, lambda *_: waited.set(), trust).read_bytes()))
        for _ in range(4)
    ]
    for thread in got:
        thread.start()
    for thread in got:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(site.requests) == 1
    assert files(store) == {"set/file.bin": CONTENT}


def test_without_the_lock_they_would_have_fetched_it_twice(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    both = threading.Barrier(2, timeout=20)

    def together(handler: Handler) -> None:
        both.wait()
        ranged(handler)

    site.answer = together

    def get() -> None:
        with contextlib.suppress(UserError):
            store.get(wanted, context=trust)

    got = [threading.Thread(target=get) for _ in range(2)]
    for thread in got:
        thread.start()
    for thread in got:
        thread.join()
    assert len(site.requests) == 2


def test_who_fails_lets_the_next_one_try(site: Site, store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    site.answer = in_turn(always(200, OTHER), ranged)
    outcomes: list[str] = []

    def get() -> None:
        try:
            outcomes.append(store.get(wanted, context=trust).name)
        except UserError:
            outcomes.append("refused")

    got = [threading.Thread(target=get) for _ in range(3)]
    for thread in got:
        thread.start()
    for thread in got:
        thread.join()
    assert sorted(outcomes) == ["file.bin", "file.bin", "refused"]
    assert files(store) == {"set/file.bin": CONTENT}


def test_what_is_put_there_by_hand_meanwhile_is_kept(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext
) -> None:
    def meanwhile(handler: Handler) -> None:
        put(store, "set/file.bin", b"the user's")
        ranged(handler)

    site.answer = meanwhile
    with pytest.raises(UserError, match="not the file expected"):
        store.get(wanted, context=trust)
    assert files(store) == {"set/file.bin": b"the user's"}


def test_an_interrupted_download_keeps_its_part(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext
) -> None:
    def stop(held: int, size: int) -> None:
        if held > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get(wanted, stop, trust)
    (part,) = files(store).values()
    assert len(part) > 100_000 and CONTENT.startswith(part)
    assert store.get(wanted, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] == f"bytes={len(part)}-"


def test_a_disk_too_small_is_said_before_a_byte(
    site: Site, store: Store, wanted: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1234))
    message = refused(store, wanted, trust)
    assert "307,200 bytes and 1,234 are free" in message and "--store" in message
    assert site.requests == [] and files(store) == {}


def test_a_disk_that_fills_up_is_said(
    store: Store, wanted: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in refused(store, wanted, trust)
    assert files(store) == {"set/file.bin.part": CONTENT}


def test_a_file_in_the_folder_s_place_is_said(store: Store, wanted: Download, trust: ssl.SSLContext) -> None:
    put(store, "set", b"a file")
    assert "could not be written" in refused(store, wanted, trust)
    assert files(store) == {"set": b"a file"}


@pytest.mark.parametrize("path", ["", ".", "..", "../out", "/etc/passwd", "set/../../out"])
def test_a_place_outside_the_store_is_refused(store: Store, wanted: Download, path: str) -> None:
    with pytest.raises(UserError, match="no place in the store"):
        store.get(Download(path, wanted.url, SHA256, len(CONTENT)))
    with pytest.raises(UserError, match="no place in the store"):
        store.find("set", path)


def test_find_takes_the_first_that_exists(store: Store) -> None:
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


def test_a_store_is_opened_without_being_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
