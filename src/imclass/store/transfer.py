"""Bytes over https into an open file: resumed, retried where that helps, never more than asked for.

What it cannot mend it raises as `Failed`; `store` says what that means for the user.
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
MAX_DOWNLOAD_BYTES = 2 << 30  # bytes of a file whose size was not known before; torchvision's VGG-E has 575 million
TRANSIENT_STATUSES = (408, 416, 429)  # HTTP statuses worth another attempt, beside every 5xx


class TransferError(Exception):
    """Why a download did not come; `again` where another attempt may mend it."""

    def __init__(self, why: str, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


@dataclass
class Transfer:
    """An open file on its way to holding all `size` bytes of what is at `url`; only `etag` changes."""

    url: str
    size: int  # bytes
    file: io.BufferedRandom
    opener: urllib.request.OpenerDirector
    report: Callable[[int, int], None]  # bytes held so far, bytes in all
    etag: str = ""  # of the answer that the last bytes came with

    @property
    def held(self) -> int:
        """Bytes so far; the file then stands at its end."""
        return self.file.seek(0, os.SEEK_END)

    def restart(self) -> None:
        """Forget what is held."""
        self.file.seek(0)
        self.file.truncate()

    def complete(self) -> None:
        """`size` bytes, in as many attempts as allowed; otherwise `Failed`, and what has come is kept."""
        for pause in (*PAUSES, None):
            try:
                return self.attempt()
            except TransferError as failed:
                if pause is None or not failed.again:
                    raise
            time.sleep(pause)

    def attempt(self) -> None:
        """All that is missing, in one connection."""
        if self.held > self.size:
            self.restart()
        if self.held < self.size:
            with self.send_request() as response:
                self.accept(response)
                self.receive(response)

    def send_request(self) -> HTTPResponse:
        """The server's answer to a request for what is missing."""
        request = urllib.request.Request(self.url, headers={"User-Agent": "imclass"})
        if held := self.held:
            request.add_header("Range", f"bytes={held}-")
            # What an earlier process left has no ETag; if it is of another file, the SHA-256 tells and all starts anew.
            if self.etag:
                request.add_header("If-Range", self.etag)
        try:
            response: HTTPResponse = self.opener.open(request, timeout=TIMEOUT)
            return response
        except HTTPError as error:
            error.close()
            if error.code == 416:
                self.restart()
            again = error.code >= 500 or error.code in TRANSIENT_STATUSES
            raise TransferError(
                f"the server answered {error.code} {printable_text(str(error.reason))}", again
            ) from None
        except (OSError, HTTPException) as error:
            raise connection_failure(error) from None

    def accept(self, response: HTTPResponse) -> None:
        """Make the .part fit the answer: go on from its end, or start anew; `Failed` where the sizes cannot fit."""
        held, size = self.held, self.size
        if response.status == 206:
            span = re.fullmatch(r"bytes (\d{1,20})-\d+/(?:\d+|\*)", response.headers.get("Content-Range", ""))
            if span is None or int(span[1]) != held:
                self.restart()
                raise TransferError("the server sent another part of the file than was asked for", again=True)
        elif response.status != 200:
            raise TransferError(f"the server answered {response.status}")
        start = held if response.status == 206 else 0
        if response.length is not None and start + response.length != size:
            raise TransferError(f"the server's file has {start + response.length:,} bytes, and {size:,} are expected")
        if start == 0:
            self.restart()
        etag = response.headers.get("ETag", "")
        self.etag = "" if etag.startswith("W/") else etag  # RFC 9110, 13.1.5: no weak ones in If-Range

    def receive(self, response: HTTPResponse) -> None:
        """Append what comes, never more than `size` bytes in all."""
        held, size, told = self.held, self.size, response.length is not None
        while held < size or not told:
            try:
                block = response.read1(BLOCK)
            except (OSError, HTTPException) as error:
                raise connection_failure(error) from None
            if not block:
                break
            held += len(block)
            if held > size:
                self.restart()
                raise TransferError(f"the server sends more than the {size:,} bytes expected")
            self.file.write(block)
            self.report(held, size)
        if held < size:
            raise TransferError(f"the connection ended after {held:,} of {size:,} bytes", again=True)

    def digest(self) -> str:
        """SHA-256 of all that is held, read back from the file."""
        self.file.flush()
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()


class SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https and nowhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request, or `Failed`."""
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise TransferError(f"the server redirects to {printable_text(newurl)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def secure_opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """What sends requests: proxies from the environment, certificates as `context` says."""
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), SecureRedirects())


def connection_failure(error: Exception) -> TransferError:
    """What a broken connection means to the user, and whether to try again."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = printable_text(cause.verify_message)
        return TransferError(
            f"its certificate is not trusted ({why}); if a proxy signs here, set SSL_CERT_FILE to its own"
        )
    if isinstance(cause, TimeoutError):
        return TransferError(f"nothing came for {TIMEOUT:g} seconds", again=True)
    if isinstance(cause, socket.gaierror):
        return TransferError("its name could not be looked up; is this machine connected?")
    lost = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError, HTTPException)
    return TransferError(f"the connection failed ({printable_text(str(cause))})", again=isinstance(cause, lost))


def remote_size(url: str, send: urllib.request.OpenerDirector) -> int:
    """Return the bytes of the file at `url`, as its server says; raise `Failed` for none or more than `LARGEST`."""
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
            f"the server says that the file has {size:,} bytes, and up to {MAX_DOWNLOAD_BYTES:,} are believed"
        )
    return size
