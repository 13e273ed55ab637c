"""The table of published weights, and finding, downloading and verifying its files."""

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import OpenerDirector

import pytest

from imclass.core.errors import UserError
from imclass.models.classifier import networks
from imclass.models.entry import NetworkEntry
from imclass.models.foreign import published
from imclass.models.foreign.inputs import INPUTS
from imclass.models.foreign.published import PUBLISHED_WEIGHTS, obtain_file
from imclass.store import store as store_module
from imclass.store.store import Store

ENTRIES: dict[str, NetworkEntry] = networks().entries
CONTENT = bytes(range(256)) * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = replace(
    PUBLISHED_WEIGHTS["resnet-18:torchvision"], url=f"https://example.org/some-{DIGEST[:8]}.pth", sha256=DIGEST[:8]
)  # fmt: skip


@pytest.mark.parametrize("key", PUBLISHED_WEIGHTS)
def test_an_entry_refers_to_existing_names(key: str) -> None:
    file = PUBLISHED_WEIGHTS[key]
    entry = ENTRIES[file.network]
    assert file.naming in entry.foreign
    assert file.inputs in INPUTS
    assert file.url.startswith("https://") or file.source
    assert entry.classes == {"imagenet": 1000, "cifar10": 10}[file.classes]
    assert 50 < file.top1 < (file.top5 or 100) <= 100
    assert re.fullmatch(r"[0-9a-f]{8}([0-9a-f]{56})?|", file.sha256)
    assert file.sha256[:8] in file.file or not file.url


def test_every_torchvision_network_that_we_have_is_in_the_table() -> None:
    theirs = {name for name, entry in ENTRIES.items() if "torchvision" in entry.foreign}
    assert {f"{name}:torchvision" for name in theirs} <= set(PUBLISHED_WEIGHTS)
    assert len({(file.network, file.name) for file in published.WEIGHT_FILES}) == len(published.WEIGHT_FILES)


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"did you mean 'resnet-50-v1\.5:torchvision'"):
        published.published_file("resnet-50:torchvision")
    with pytest.raises(UserError, match="did you mean 'vgg-d:torchvision'"):
        published.published_file("vgg16:torchvision")
    with pytest.raises(UserError, match="did you mean 'googlenet:bvlc'"):
        published.published_file("googlenet:blvc")
    with pytest.raises(UserError, match="there are: resnet-18:torchvision"):
        published.published_file("resnet-18:zzz")


def put(store: Store, name: str, content: bytes = CONTENT) -> Path:
    path = store.folder / "weights" / FILE.network / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", [FILE.file, "torchvision.pth", "torchvision.npz", "torchvision.PTH"])
def test_a_file_put_there_by_hand_is_used(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path, offline=True)
    path = put(store, name)
    assert obtain_file(FILE, store) == path


def test_a_wrong_file_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = put(store, FILE.file, b"another")
    with pytest.raises(UserError, match=f"is not resnet-18:torchvision: its SHA-256 .* instead of {DIGEST[:8]}"):
        obtain_file(FILE, store)
    assert path.read_bytes() == b"another"
    assert obtain_file(replace(FILE, sha256=""), store) == path  # without a known SHA-256 any file will do


def test_without_network_or_address_the_error_names_the_path_for_the_file(tmp_path: Path) -> None:
    where = f"as {tmp_path}/weights/resnet-18/{FILE.file} .its SHA-256 begins with {DIGEST[:8]}."
    with pytest.raises(UserError, match=f"--offline forbids downloading it. By hand: save {FILE.url} {where}"):
        obtain_file(FILE, Store(tmp_path, offline=True))
    with pytest.raises(
        UserError, match=r"cannot be downloaded directly. By hand: save BVLC's .*bvlc_googlenet_fp16.npz"
    ):
        obtain_file(PUBLISHED_WEIGHTS["googlenet:bvlc"], Store(tmp_path))
    assert list(tmp_path.iterdir()) == []


class Wire:
    """A stand-in for the socket of a response."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.content)


class Server(OpenerDirector):
    """A server that answers every request with the content of `answer` and this length, or as `answer` raises."""

    def __init__(self, answer: Callable[[], bytes], length: str | None = str(len(CONTENT))) -> None:
        super().__init__()
        self.answer = answer
        self.length = length
        self.requests: list[str] = []

    def open(self, fullurl: Any, data: Any = None, timeout: float | None = None) -> Any:
        self.requests.append(fullurl.get_method())
        head = b"HTTP/1.1 200 OK\r\n" + (f"Content-Length: {self.length}\r\n".encode() if self.length else b"")
        response = HTTPResponse(Wire(head + b"\r\n" + self.answer()), method=fullurl.get_method())  # type: ignore[arg-type]
        response.begin()
        return response


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    def make(content: bytes = CONTENT, **options: Any) -> Server:
        server = Server(lambda: content, **options)
        monkeypatch.setattr(store_module, "secure_opener", lambda context: server)
        return server

    return make


def test_a_download_with_the_right_sha256_is_kept(serve: Callable[..., Server], tmp_path: Path) -> None:
    server, seen = serve(), list[tuple[int, int]]()
    path = obtain_file(FILE, Store(tmp_path), lambda held, size: seen.append((held, size)))
    assert path == tmp_path / "weights" / "resnet-18" / FILE.file
    assert path.read_bytes() == CONTENT and seen[-1] == (len(CONTENT), len(CONTENT))
    assert obtain_file(FILE, Store(tmp_path)) == path
    assert server.requests == ["HEAD", "GET"]


def test_a_download_with_another_sha256_is_not_kept(serve: Callable[..., Server], tmp_path: Path) -> None:
    serve(bytes(len(CONTENT)))
    with pytest.raises(
        UserError, match=f"SHA-256 of the received file begins with .*, but {DIGEST[:8]} is expected. By hand: save"
    ):
        obtain_file(FILE, Store(tmp_path))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_wrong_partial_download_is_replaced(serve: Callable[..., Server], tmp_path: Path) -> None:
    serve()
    put(Store(tmp_path), f"{FILE.file}.part", bytes(100))
    assert obtain_file(FILE, Store(tmp_path)).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [None, "0", "99999999999", "many"])
def test_a_file_of_implausible_size_is_not_downloaded(
    length: str | None, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(length=length)
    with pytest.raises(UserError, match="could not be downloaded"):
        obtain_file(FILE, Store(tmp_path))
    assert server.requests == ["HEAD"]


def test_a_server_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse() -> bytes:
        raise HTTPError(FILE.url, 404, "not here", Message(), None)

    monkeypatch.setattr(store_module, "secure_opener", lambda context: Server(refuse))
    with pytest.raises(UserError, match=r"from https://example.org/.*: the server answered 404. By hand: save"):
        obtain_file(FILE, Store(tmp_path))
    with pytest.raises(UserError, match="the URL is not https"):
        obtain_file(replace(FILE, url="http://example.org/a.pth"), Store(tmp_path))
