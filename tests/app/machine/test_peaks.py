"""The memory of this process: its peak during a call, what it holds, and what is free."""

import mmap
import sys
from pathlib import Path

import pytest

from imclass.app.machine import peaks
from imclass.app.machine.hardware import Limits, Memory
from imclass.app.machine.peaks import free_memory, held_memory, peak_of, peak_since_start, status_bytes

SIZE = 64 << 20


def allocate() -> None:
    """Fill 64 MiB and return them to the system. Memory from malloc might be kept."""
    with mmap.mmap(-1, SIZE) as memory:
        memory.write(b"1" * SIZE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_peak_is_that_of_the_call() -> None:
    allocate()
    before = held_memory("cpu")
    assert peak_of(lambda: None, "cpu") < before + SIZE // 2  # the first call does not count
    assert peak_of(allocate, "cpu") >= before + 0.9 * SIZE
    assert peak_since_start() >= before


def test_entries_of_the_status_are_bytes(tmp_path: Path) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "status").write_text("VmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    assert (status_bytes("VmHWM", tmp_path), status_bytes("VmRSS", tmp_path)) == (2 << 20, 1 << 20)
    assert status_bytes("VmSwap", tmp_path) is None


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held = held_memory("cpu")
    monkeypatch.setattr(peaks, "read_limits", lambda: Limits(None, held + SIZE))
    monkeypatch.setattr(peaks, "read_memory", lambda: Memory(None, 8 * SIZE))
    monkeypatch.setattr(peaks, "held_memory", lambda device: held)
    assert free_memory("cpu") == SIZE
    monkeypatch.setattr(peaks, "read_limits", lambda: Limits(None, None))
    assert free_memory("cpu") == 8 * SIZE
    monkeypatch.setattr(peaks, "read_memory", lambda: Memory(None, None))
    assert free_memory("cpu") is None
