"""A local https server whose answers a test chooses, and the store that asks it."""

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
