"""Transfers of files over https, with resumption, retries and a size limit.

A transfer that fails permanently raises `TransferError`, which the store converts to a `UserError` with advice.
"""

import hashlib
import io
import os
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from imclass.core.text import printable_text

TIMEOUT = 30.0  # seconds without a byte before a connection counts as stalled
PAUSES = (1.0, 2.0, 4.0)  # seconds before each further attempt
BLOCK = 1 << 16  # bytes
MAX_DOWNLOAD_BYTES = 2 << 30  # bytes, for files whose size only the server states; torchvision's VGG-E has 575 million
TRANSIENT_STATUSES = (408, 416, 429)  # HTTP statuses worth another attempt, besides every 5xx


class TransferError(Exception):
    """The reason for a failed download. `retry` is true if another attempt may succeed."""

    def __init__(self, reason: str, retry: bool = False) -> None:
        super().__init__(reason)
        self.retry = retry


@dataclass
class Transfer:
    """A transfer of `size` bytes from `url` to an open file. Only `etag` changes after construction."""

    url: str
    size: int  # bytes
    file: io.BufferedRandom
    opener: urllib.request.OpenerDirector
    report: Callable[[int, int], None]  # called with the bytes received so far and the bytes in total
    etag: str = ""  # of the response that contained the last bytes

    @property
    def held(self) -> int:
        """Return the number of bytes received so far, and move to the end of the file."""
        return self.file.seek(0, os.SEEK_END)

    def restart(self) -> None:
        """Discard the bytes received so far."""
        self.file.seek(0)
        self.file.truncate()

    def complete(self) -> None:
        """Fetch all missing bytes, with retries. If that fails, keep the received bytes and raise `TransferError`."""
        for pause in (*PAUSES, None):
            try:
                return self.attempt()
            except TransferError as failed:
                if pause is None or not failed.retry:
                    raise
            time.sleep(pause)

    def attempt(self) -> None:
        """Fetch all missing bytes over one connection."""
        if self.held > self.size:
            self.restart()
        if self.held < self.size:
            with self.send_request() as response:
                self.accept(response)
                self.receive(response)

    def send_request(self) -> HTTPResponse:
        """Request the missing bytes and return the server's response."""
        request = urllib.request.Request(self.url, headers={"User-Agent": "imclass"})
        if held := self.held:
            request.add_header("Range", f"bytes={held}-")
            # The ETag of bytes left by an earlier process is unknown. If the server's file has changed since, the
            # SHA-256 does not match, and the transfer is restarted.
            if self.etag:
                request.add_header("If-Range", self.etag)
        try:
            response: HTTPResponse = self.opener.open(request, timeout=TIMEOUT)
            return response
        except HTTPError as error:
            error.close()
            if error.code == 416:
                self.restart()
            retry = error.code >= 500 or error.code in TRANSIENT_STATUSES
            reason = f"the server answered {error.code} {printable_text(str(error.reason))}"
            raise TransferError(reason, retry) from None
        except (OSError, HTTPException) as error:
            raise connection_failure(error) from None

    def accept(self, response: HTTPResponse) -> None:
        """Prepare the file for a response, which either continues at the end of the file or starts over.

        Raise `TransferError` for a response that does not match the request or the expected size.
        """
        held, size = self.held, self.size
        if response.status == 206:
            span = re.fullmatch(r"bytes (\d{1,20})-\d+/(?:\d+|\*)", response.headers.get("Content-Range", ""))
            if span is None or int(span[1]) != held:
                self.restart()
                raise TransferError("the server did not send the part of the file that was requested", retry=True)
        elif response.status != 200:
            raise TransferError(f"the server answered {response.status}")
        start = held if response.status == 206 else 0
        if response.length is not None and start + response.length != size:
            raise TransferError(f"the server's file has {start + response.length:,} bytes, but {size:,} were expected")
        if start == 0:
            self.restart()
        etag = response.headers.get("ETag", "")
        self.etag = "" if etag.startswith("W/") else etag  # RFC 9110, 13.1.5 forbids weak ETags in If-Range

    def receive(self, response: HTTPResponse) -> None:
        """Append the body of a response to the file. Raise `TransferError` if the body is too long or ends early."""
        held, size = self.held, self.size
        states_length = response.length is not None
        # Without a stated length, reading continues to the end of the body, which may turn out to be too long.
        while held < size or not states_length:
            try:
                block = response.read1(BLOCK)
            except (OSError, HTTPException) as error:
                raise connection_failure(error) from None
            if not block:
                break
            held += len(block)
            if held > size:
                self.restart()
                raise TransferError(f"the server sent more than the expected {size:,} bytes")
            self.file.write(block)
            self.report(held, size)
        if held < size:
            raise TransferError(f"the connection ended after {held:,} of {size:,} bytes", retry=True)

    def digest(self) -> str:
        """Return the SHA-256 of the bytes received so far, which are read back from the file."""
        self.file.flush()
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()


class SecureRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect handler that follows only redirects to https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect. Raise `TransferError` if its URL is not https."""
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise TransferError(f"the server redirects to {printable_text(newurl)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def secure_opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Return an opener that uses the proxies set in the environment and trusts the certificates in `context`."""
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), SecureRedirects())


def connection_failure(error: Exception) -> TransferError:
    """Return the error for a failed connection. Its `retry` depends on the cause."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = printable_text(cause.verify_message)
        return TransferError(
            f"the server's certificate is not trusted ({why}); behind a proxy that re-signs connections, set "
            "SSL_CERT_FILE to the proxy's certificate"
        )
    if isinstance(cause, TimeoutError):
        return TransferError(f"no data arrived for {TIMEOUT:g} seconds", retry=True)
    if isinstance(cause, socket.gaierror):
        return TransferError("the server's name could not be resolved (is this machine online?)")
    lost = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError, HTTPException)
    return TransferError(f"the connection failed ({printable_text(str(cause))})", retry=isinstance(cause, lost))


def remote_size(url: str, send: urllib.request.OpenerDirector) -> int:
    """Return the size in bytes of the file at `url`, as reported by the server.

    Raise `TransferError` if the server reports no size or a size above `MAX_DOWNLOAD_BYTES`.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "imclass"}, method="HEAD")
    try:
        with send.open(request, timeout=TIMEOUT) as response:
            size = int(response.headers.get("Content-Length") or 0)
    except HTTPError as error:
        error.close()
        raise TransferError(f"the server answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise connection_failure(error) from None
    if not 0 < size <= MAX_DOWNLOAD_BYTES:
        raise TransferError(
            f"the server reports a size of {size:,} bytes; it must be between 1 and {MAX_DOWNLOAD_BYTES:,}"
        )
    return size
