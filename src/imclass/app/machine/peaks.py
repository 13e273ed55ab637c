"""The memory of this process: how much it holds, its peak during a call, and how much more it could use."""

import contextlib
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from imclass.app.machine.hardware import ROOT, file_text, read_limits, read_memory

RESET_PEAK = "5"  # written to clear_refs: see proc_pid_clear_refs(5)


def peak_of(call: Callable[[], object], device: str) -> int:
    """Call a function, and return the peak memory of the process during the call, in bytes.

    On a GPU, this is the memory allocated there. If the system cannot reset the peak of the main memory, the result is
    the peak since the process began.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    call()
    return status_bytes("VmHWM") or peak_since_start()


def held_memory(device: str) -> int:
    """Return the memory that the process holds now, in bytes."""
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated(device)
    return status_bytes("VmRSS") or peak_since_start()


def free_memory(device: str) -> int | None:
    """Return how much more memory the process could use, in bytes, or None if the system does not report it."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    available, limit = read_memory().available, read_limits().memory
    rest = None if limit is None else max(0, limit - held_memory("cpu"))
    known = [amount for amount in (available, rest) if amount is not None]
    return min(known, default=None)


def status_bytes(name: str, root: Path = ROOT) -> int | None:
    """Return an entry of /proc/self/status in bytes, or None if the system has no such file."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", file_text(root, "proc/self/status"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def peak_since_start() -> int:
    """Return the peak memory of the process since it began, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
