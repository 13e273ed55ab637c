"""Tests are isolated: shapes are checked, and neither the network nor the user's home can be reached."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import jaxtyping
import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import Float

from imclass.core import runtime
from imclass.core.contracts import ViewProtocol
from imclass.core.preprocess import Preprocess
from tests.support.typed import check_types, names_axes


def test_a_wrong_shape_is_detected_at_the_call() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="image"):
        Preprocess(size=4, scale=4)(np.zeros((8, 8), np.uint8))


def test_a_wrong_type_is_detected_without_arrays() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="runtime"):
        runtime.apply_runtime("cpu")  # type: ignore[arg-type]
    with pytest.raises(jaxtyping.TypeCheckError, match="threads"):
        runtime.Runtime("cpu", threads="2")  # type: ignore[arg-type]


def test_axes_of_the_same_name_are_compared() -> None:
    @check_types(typechecker=beartype)
    def add(x: Float[np.ndarray, "N"], y: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
        return np.concatenate((x, y))[: len(x) if len(x) < 3 else None]

    assert add(np.zeros(2), np.zeros(2)).shape == (2,)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameters"):
        add(np.zeros(2), np.zeros(3))
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        add(np.zeros(3), np.zeros(3))


def test_axes_of_a_dataclass_are_compared() -> None:
    @check_types(typechecker=beartype)
    @dataclass
    class Pair:
        x: Float[np.ndarray, "N"]
        y: Float[np.ndarray, "N"] | None = None

    assert Pair(np.zeros(2), np.zeros(2)).y is not None
    with pytest.raises(jaxtyping.TypeCheckError):
        Pair(np.zeros(2), np.zeros(3))


Row: TypeAlias = Float[np.ndarray, "N"]


@pytest.mark.parametrize(
    "annotation",
    [
        Row,
        Row | None,
        list[Row],
        dict[str, tuple[Row, ...]],
        Callable[[Row], None],
        Callable[..., Row],
        Annotated[Row, "a note"],
        "Row",
        list["Row"],  # a name may stand for anything
    ],
)
def test_arrays_are_found_in_annotations(annotation: Any) -> None:
    assert names_axes(annotation)


@pytest.mark.parametrize(
    "annotation", [None, int, int | None, np.ndarray, Literal["N"], Callable[[int], str], Callable[..., int], type[Any]]
)
def test_other_annotations_have_no_axes(annotation: Any) -> None:
    assert not names_axes(annotation)


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
