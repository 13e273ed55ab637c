"""Set-up of all tests: shapes are checked at run time, with one thread, an empty home and no network.

The order of this file matters. Torch reads the number of threads when it is first imported, and shapes are checked only
in modules that are imported after the hook is installed.
"""

import os
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".pytest_cache"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["MPLCONFIGDIR"] = str(CACHE / "matplotlib")  # its list of fonts takes seconds to build, so it is kept

import contextlib  # noqa: E402
import itertools  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402

from tests.support.typed import install_checks  # noqa: E402

install_checks("imclass")

import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from PIL.PngImagePlugin import PngInfo  # noqa: E402

LOOPBACK = ("127.", "localhost", "::1")
# In the background or under nohup these signals are ignored, and training leaves ignored signals alone.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that makes an empty folder. `mktemp` would scan all earlier ones each time."""
    folder, numbers = tmp_path_factory.mktemp("homes"), itertools.count()

    def make() -> Path:
        home = folder / str(next(numbers))
        home.mkdir()
        return home

    return make


@pytest.fixture(autouse=True)
def no_environment(homes: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the user's settings, caches and data apart from those of a test."""
    empty_home = homes()
    for name in [n for n in os.environ if n.startswith("XDG_") or n == "COLUMNS" or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(empty_home))
    monkeypatch.setenv("IMCLASS_STORE", str(empty_home / "store"))
    yield
    with contextlib.suppress(OSError):  # raised if the test has written something there
        empty_home.rmdir()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines; sockets to this one still work."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            refuse_remote(address[0])
        connect(self, address)

    def resolve_locally(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_remote(host)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)
    monkeypatch.setattr(socket, "getaddrinfo", resolve_locally)


def refuse_remote(host: object) -> None:
    """Raise `AssertionError` unless `host` is this machine."""
    if host is not None and not str(host).startswith(LOOPBACK):
        raise AssertionError(f"a test tried to reach {host}; tests use local servers and recorded files")


@pytest.fixture(autouse=True)
def settled_torch() -> Iterator[None]:
    """Start each test with one thread, and restore torch's global switches after it."""
    torch.set_num_threads(1)
    deterministic, denormal = torch.are_deterministic_algorithms_enabled(), False
    yield
    # The setter imports the compiler, which takes seconds, so it is called only if a test has changed the switch.
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)
    torch.set_flush_denormal(denormal)


@pytest.fixture(autouse=True)
def small_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a picture of one pixel instead of the learning curves, which take longer to draw than a test trains.

    Tests marked `draws_curves` draw them. So do the commands that run in processes of their tests.
    """
    if request.node.get_closest_marker("draws_curves") is None:
        from imclass.app.draw import curves

        monkeypatch.setattr(curves, "curves_png", write_pixel)


def write_pixel(history: object, path: Path, parts: object = ()) -> None:
    """Write a PNG of one pixel with the mark of our pictures."""
    from imclass.app.draw.canvas import SOFTWARE_NAME
    from imclass.core.files import atomic_writer

    mark = PngInfo()
    mark.add_text("Software", SOFTWARE_NAME)
    with atomic_writer(path) as file:
        Image.new("L", (1, 1)).save(file, "PNG", pnginfo=mark)
