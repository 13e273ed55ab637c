"""Downloads over https from a local server that misbehaves in many ways."""

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from imclass.store import transfer
from imclass.store.store import Download, Store
from tests.support.https_site import (
    CONTENT,
    OTHER,
    SHA256,
    Answer,
    Handler,
    Site,
    always,
    cut,
    files,
    in_turn,
    put,
    refusal_of,
    send,
    serve_range,
    stall,
)


def test_a_part_is_resumed(site: Site, store: Store, download: Download, trust: ssl.SSLContext) -> None:
    put(store, "set/file.bin.part", CONTENT[:5000])
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert [r["Range"] for r in site.requests] == ["bytes=5000-"]
    assert [r["If-Range"] for r in site.requests] == [None]
    assert list(files(store)) == ["set/file.bin"]


def test_a_server_without_ranges_restarts_the_download(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    put(store, "set/file.bin.part", OTHER[:5000])
    site.answer = always(200, CONTENT)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "odd",
    [
        always(416),
        always(206, CONTENT[5001:], Content_Range=f"bytes 5001-{len(CONTENT) - 1}/{len(CONTENT)}"),
        always(206, CONTENT[5000:]),
    ],
)
def test_an_odd_response_to_a_range_restarts_the_download(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, odd: Answer
) -> None:
    put(store, "set/file.bin.part", CONTENT[:5000])
    site.answer = in_turn(odd, serve_range)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert [r["Range"] for r in site.requests] == ["bytes=5000-", None]


def test_a_lost_connection_is_resumed_where_it_broke(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    site.answer = in_turn(cut(CONTENT, 100_000), serve_range)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert [(r["Range"], r["If-Range"]) for r in site.requests] == [(None, None), ("bytes=100000-", '"one"')]


def test_a_file_that_changed_between_two_connections_is_not_spliced(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    site.answer = in_turn(cut(OTHER, 100_000, '"zero"'), serve_range)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert len(site.requests) == 2


def test_a_weak_etag_is_not_sent(site: Site, store: Store, download: Download, trust: ssl.SSLContext) -> None:
    site.answer = in_turn(cut(CONTENT, 100_000, 'W/"one"'), serve_range)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert site.requests[1]["If-Range"] is None


def test_a_short_stream_is_refused_and_kept(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext
) -> None:
    site.answer = always(200, CONTENT[:100_000], Content_Length="")
    assert "100,000 of 307,200 bytes" in refusal_of(store, download, trust)
    assert files(store) == {"set/file.bin.part": CONTENT[:100_000]}
    assert len(site.requests) == 4
    site.answer = serve_range
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] == "bytes=100000-"


def test_a_long_stream_is_refused_at_once(site: Site, store: Store, download: Download, trust: ssl.SSLContext) -> None:
    def endless(handler: Handler) -> None:
        send(handler, 200, CONTENT, Content_Length="")
        while not handler.server.released.is_set():
            handler.wfile.write(CONTENT)

    site.answer = endless
    assert "more than the expected 307,200 bytes" in refusal_of(store, download, trust)
    assert files(store) == {}


@pytest.mark.parametrize("offered", [CONTENT[:-1], CONTENT + b"x"])
def test_another_size_is_refused_before_the_first_byte(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, offered: bytes
) -> None:
    part = put(store, "set/file.bin.part", CONTENT[:10])
    site.answer = always(200, offered)
    assert f"has {len(offered):,} bytes, but 307,200 were expected" in refusal_of(store, download, trust)
    assert part.read_bytes() == CONTENT[:10]


def test_plain_http_is_refused(plain_site: Site, store: Store, trust: ssl.SSLContext) -> None:
    download = Download("file.bin", f"http://127.0.0.1:{plain_site.port}/", SHA256, len(CONTENT))
    assert "not https" in refusal_of(store, download, trust)
    assert plain_site.requests == []


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_redirect_away_from_https_is_not_followed(
    site: Site, plain_site: Site, store: Store, download: Download, trust: ssl.SSLContext, scheme: str
) -> None:
    site.answer = always(302, Location=f"{scheme}://127.0.0.1:{plain_site.port}/file.bin")
    message = refusal_of(store, download, trust)
    assert f"{scheme}://127.0.0.1" in message
    assert plain_site.requests == [] and files(store) == {}


def test_a_redirect_to_https_is_followed(site: Site, store: Store, download: Download, trust: ssl.SSLContext) -> None:
    put(store, "set/file.bin.part", CONTENT[:5000])
    site.answer = in_turn(always(302, Location="/elsewhere"), serve_range)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert site.requests[1]["Range"] == "bytes=5000-"


def test_an_unknown_certificate_is_refused(site: Site, store: Store, download: Download) -> None:
    assert "certificate is not trusted" in refusal_of(store, download, None)
    assert site.requests == [] and files(store) == {}


def test_the_systems_certificates_are_trusted(
    store: Store, download: Download, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert store.get(download).read_bytes() == CONTENT


def test_a_stall_ends_and_the_bytes_so_far_are_kept(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", 1.0)
    monkeypatch.setattr(transfer, "PAUSES", ())
    site.answer = stall
    assert "no data arrived for 1 seconds" in refusal_of(store, download, trust)
    assert files(store) == {"set/file.bin.part": CONTENT[:100_000]}
    monkeypatch.setattr(transfer, "TIMEOUT", 20.0)
    site.answer = serve_range
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert site.requests[-1]["Range"] == "bytes=100000-"


@pytest.mark.parametrize("status", [203, 403, 404])
def test_a_refusal_is_final(site: Site, store: Store, download: Download, trust: ssl.SSLContext, status: int) -> None:
    site.answer = always(status)
    assert f"answered {status}" in refusal_of(store, download, trust)
    assert len(site.requests) == 1 and files(store) == {}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_transient_error_is_retried(
    site: Site, store: Store, download: Download, trust: ssl.SSLContext, status: int
) -> None:
    site.answer = in_turn(always(status), always(status), serve_range)
    assert store.get(download, context=trust).read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_a_lasting_error_ends_the_download(site: Site, store: Store, download: Download, trust: ssl.SSLContext) -> None:
    site.answer = always(503)
    assert "answered 503" in refusal_of(store, download, trust)
    assert len(site.requests) == 4 and files(store) == {}


def test_an_unreachable_host_is_explained(store: Store, trust: ssl.SSLContext) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so connections are refused
        url = f"https://127.0.0.1:{taken.getsockname()[1]}/"
        assert "refused" in refusal_of(store, Download("file.bin", url, SHA256, len(CONTENT)), trust)
    assert files(store) == {}


def test_an_unknown_name_is_explained(store: Store, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "online?" in refusal_of(store, Download("file.bin", "https://nowhere.test/", SHA256, len(CONTENT)), trust)


def test_a_proxy_from_the_environment_is_used(
    site: Site,
    plain_site: Site,
    store: Store,
    download: Download,
    trust: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{plain_site.port}")
    assert "Tunnel connection failed" in refusal_of(store, download, trust)  # the test server does not support CONNECT
    assert site.requests == []
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert store.get(download, context=trust).read_bytes() == CONTENT
