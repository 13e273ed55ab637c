"""Tests are isolated: shapes are checked, and neither the network nor the user's home can be reached."""

import os
import socket
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from imclass.core import runtime
from imclass.core.contracts import ViewProtocol
from imclass.core.preprocess import Preprocess


def test_a_wrong_shape_is_detected_at_the_call() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="image"):
        Preprocess(size=4, scale=4)(np.zeros((8, 8), np.uint8))


def test_a_remote_host_cannot_be_reached() -> None:
    with pytest.raises(AssertionError, match=r"192\.0\.2\.1"), socket.socket() as plug:
        plug.connect(("192.0.2.1", 80))
    with pytest.raises(AssertionError, match="example"):
        socket.getaddrinfo("example.com", 80)


def test_this_machine_can_be_reached() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(("localhost", server.getsockname()[1])) as plug:
            assert plug.getpeername()[0] == "127.0.0.1"


def test_home_and_store_are_empty() -> None:
    assert list(Path.home().iterdir()) == []
    assert Path(os.environ["IMCLASS_STORE"]).is_relative_to(Path.home())


@pytest.mark.parametrize("time", ["first", "second"])
def test_switches_of_torch_are_restored(time: str) -> None:
    assert torch.get_num_threads() == 1
    assert not torch.are_deterministic_algorithms_enabled()
    runtime.apply_runtime(runtime.Runtime("cpu", threads=2))
    torch.use_deterministic_algorithms(True)
    assert torch.get_num_threads() == 2 and torch.are_deterministic_algorithms_enabled()


def test_a_view_protocol_is_matched_by_its_methods() -> None:
    class Center:
        name = "center"

        def scales_for(self, preprocess: object) -> tuple[int, ...]:
            return ()

        def check(self, classifier: object) -> None: ...

        def __call__(self, classifier: object, images: object) -> None: ...

    assert isinstance(Center(), ViewProtocol)
    assert not isinstance(object(), ViewProtocol)
