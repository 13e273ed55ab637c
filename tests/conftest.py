"""What every test stands on: shapes checked at run time, one thread, an empty home, and no network.

The order of this file matters: threads are counted when torch is first imported, and shapes are checked only in modules
that are imported after the hook is in place.
"""

import os
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".pytest_cache"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["MPLCONFIGDIR"] = str(CACHE / "matplotlib")  # its list of fonts takes seconds to make, so it is kept

import contextlib  # noqa: E402
import itertools  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402

import jaxtyping  # noqa: E402

jaxtyping.install_import_hook("imclass", "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402

LOOPBACK = ("127.", "localhost", "::1")
# Tests that run in the background or under nohup find these ignored, and training leaves an ignored signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that makes an empty folder; `mktemp` would look through all earlier ones each time."""
    folder, numbers = tmp_path_factory.mktemp("homes"), itertools.count()

    def make() -> Path:
        home = folder / str(next(numbers))
        home.mkdir()
        return home

    return make


@pytest.fixture(autouse=True)
def no_environment(homes: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the user's settings, caches or data reaches a test, and nothing of a test reaches them."""
    empty_home = homes()
    for name in [n for n in os.environ if n.startswith("XDG_") or n == "COLUMNS" or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(empty_home))
    monkeypatch.setenv("IMCLASS_STORE", str(empty_home / "store"))
    yield
    with contextlib.suppress(OSError):  # where the test has put something there
        empty_home.rmdir()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections leave this machine only by mistake; sockets to itself and local ones stay open."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            refuse_remote(address[0])
        connect(self, address)

    def looked_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_remote(host)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)


def refuse_remote(host: object) -> None:
    """An `AssertionError` unless `host` is this machine."""
    if host is not None and not str(host).startswith(LOOPBACK):
        raise AssertionError(f"a test tried to reach {host}; tests use local servers and recorded files")


@pytest.fixture(autouse=True)
def settled_torch() -> Iterator[None]:
    """Each test starts with one thread and leaves torch's global switches as they were."""
    torch.set_num_threads(1)
    deterministic, denormal = torch.are_deterministic_algorithms_enabled(), False
    yield
    # Only where a test has changed it, because the setter imports the compiler, which takes seconds.
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)
    torch.set_flush_denormal(denormal)
