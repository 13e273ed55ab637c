"""A local https server whose responses a test chooses, and helpers for the store that downloads from it."""

import hashlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from imclass.core.errors import UserError
from imclass.store.store import Download, Store

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
    """A server on 127.0.0.1 whose response a test chooses; it records the headers of all requests."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Message] = []
        self.answer: Answer = serve_range
        self.released = threading.Event()  # ends handlers that stall
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # in many tests the client hangs up


def send(handler: Handler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        if value:  # a header with an empty value is not sent
            handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def always(status: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda handler: send(handler, status, body, **headers)


def in_turn(*answers: Answer) -> Answer:
    waiting = list(answers)
    return lambda handler: (waiting.pop(0) if len(waiting) > 1 else waiting[0])(handler)


def serve_range(handler: Handler) -> None:
    """Respond like a correct server: with the requested part if the ETag matches, else with the whole file."""
    requested, condition = handler.headers["Range"], handler.headers["If-Range"]
    if requested is None or condition not in (None, '"one"'):
        return send(handler, 200, CONTENT, ETag='"one"')
    start = int(requested.removeprefix("bytes=").removesuffix("-"))
    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    send(handler, 206, CONTENT[start:], ETag='"one"', Content_Range=span)


def cut(body: bytes, after: int, etag: str = '"one"') -> Answer:
    """Return a response that ends early, although its header promises all of `body`."""
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


def put(store: Store, name: str, content: bytes) -> Path:
    path = store.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files(store: Store) -> dict[str, bytes]:
    """Return all files of the store with their content."""
    return {p.relative_to(store.folder).as_posix(): p.read_bytes() for p in store.folder.rglob("*") if p.is_file()}


def refusal_of(store: Store, download: Download, trust: ssl.SSLContext | None) -> str:
    """Return the message of a failed download, which describes how to get the file by hand."""
    with pytest.raises(UserError) as caught:
        store.get(download, context=trust)
    message = str(caught.value)
    target = store.folder / download.path
    assert not target.exists()
    assert all(fact in message for fact in (download.url, str(target), f"{download.size:,} bytes", download.sha256))
    return message
