"""The batches that are left in an epoch: for a GPU, a thread prepares them in pinned memory, with the same contents."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from imclass.core.config import Model
from imclass.core.runtime import Runtime
from imclass.data.augment.flip import Flip
from imclass.training.events import RunPosition
from imclass.training.loop import remaining_batches
from imclass.training.parallel import SingleProcess
from imclass.training.plan import Leg
from imclass.training.state import State
from tests.support.legs import leg_of, noise

HERE = RunPosition(epoch=2, batch=1, step=9)  # the second of four batches


@pytest.fixture
def pin_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the function that pins a tensor, which needs a GPU, and return the names of the threads that call it."""
    threads: list[str] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        threads.append(threading.current_thread().name)
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    return threads


def leg() -> Leg:
    return leg_of(noise(30, 28, 1), Model("lenet-5"), 28, "grey", micro_batches=2, augment=(Flip(),))


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_a_gpu_gets_the_same_batches_from_another_thread(device: str, pin_threads: list[str]) -> None:
    found = list(remaining_batches(leg(), State(Runtime(device), at=HERE), SingleProcess()))
    expected = list(leg().loader.batches(2, skip=1))
    assert [len(batch) for batch in found] == [8, 8, 6]
    for one, other in zip(found, expected, strict=True):
        assert one.count == other.count == 2 and list(one.parts) == list(other.parts)
        for number, part in one.parts.items():
            assert torch.equal(part.images, other.parts[number].images)
            assert np.array_equal(part.ids, other.parts[number].ids)
    assert len(pin_threads) == (0 if device == "cpu" else 6)
    assert threading.current_thread().name not in pin_threads


def test_the_next_batch_is_prepared_while_the_last_is_used(pin_threads: list[str]) -> None:
    batches = remaining_batches(leg(), State(Runtime("cuda")), SingleProcess())
    next(batches)
    end = time.monotonic() + 10
    while len(pin_threads) < 4 and time.monotonic() < end:
        time.sleep(0.001)
    assert len(pin_threads) == 4  # both parts of two batches, and no more
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("imclass")]


def test_the_time_that_a_step_waits_is_measured_by_the_one_who_waits(
    pin_threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow down the thread for the first batch only; the others are ready before they are needed."""
    state = State(Runtime("cuda"))
    slow = replace(leg(), loader=leg().loader)
    draw = type(slow.loader).parts_of

    def delay(*arguments: object) -> object:
        time.sleep(0 if pin_threads else 0.05)
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(slow.loader), "parts_of", delay)
    waits = []
    for batch in remaining_batches(slow, state, SingleProcess()):
        waits.append(batch.waited)
        time.sleep(0.02)
    assert waits[0] > 0.04 and max(waits[1:]) < 0.04
