"""The machine at hand: which device, how many threads, which versions; chosen once and said."""

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

import torch
from torch import distributed

from imclass.core.errors import UserError

TRIM_THRESHOLD, MMAP_THRESHOLD, MAX_THRESHOLD = -1, -3, 2**31 - 1  # mallopt(3)
VERSIONED_PACKAGES = ("imclass", "torch", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class Arithmetic:
    """Numbers and memory order of a network's activations: N C H W, or channels last."""

    precision: str = "fp32"  # or bf16
    layout: str = "nchw"  # or nhwc

    def __str__(self) -> str:
        return self.precision + (", channels last" if self.layout == "nhwc" else "")

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.layout == "nhwc" else torch.contiguous_format


DEFAULT_ARITHMETIC = Arithmetic()


@dataclass(frozen=True)
class Runtime:
    """What a run uses. Resolved once, kept in its checkpoints and taken from there on resume."""

    device: str = "cpu"
    threads: int = 1
    arithmetic: Arithmetic = Arithmetic()

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{self.device}, {self.arithmetic}, {threads}"


def resolve_runtime(device: str) -> Runtime:
    """Return what a run uses on the device of this name; raise `UserError` where that is not there."""
    return Runtime(device_of(device), torch.get_num_threads())


def device_of(name: str) -> str:
    """Return the PyTorch device that a user names: cpu, cuda, cuda:N or mps, or for "auto" CUDA where there is one."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = name.partition(":")
    if name.isdecimal():
        raise UserError(f"--device {name} is not a device; name it cuda:{name}")
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise UserError(f"--device {name} is not a device; give auto, cpu, cuda, cuda:N or mps")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: PyTorch cannot use a Metal device here; take --device cpu")
    count = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= count:
        there = f"only {count} CUDA device{'s' if count != 1 else ''}" if count else "no CUDA device"
        raise UserError(f"--device {name}: this machine has {there} that PyTorch can use; take --device cpu")
    return name


def apply_runtime(runtime: Runtime) -> None:
    """Set the thread count (it decides the order of sums, so the bits); on a GPU ask for repeatable kernels.

    A CPU's kernels for these networks are repeatable as they are, and to ask for it costs a second of imports.
    """
    torch.set_num_threads(runtime.threads)
    torch.set_flush_denormal(True)
    keep_memory()
    if runtime.device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def keep_memory() -> bool:
    """Let glibc keep what is freed, from now until the process ends; false where another C library is at work.

    It gives large blocks back to the system, and every page of them costs a fault when it is asked for again: many
    thousands in each step of a network with large maps.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return allocator is not None and all(
        allocator(option, MAX_THRESHOLD) for option in (TRIM_THRESHOLD, MMAP_THRESHOLD)
    )


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generator that dropout on `device` draws from, and no other.

    `torch.manual_seed` records a stack trace for each absent accelerator: a millisecond, a fifth of a small net's step.
    """
    if device.type == "mps":
        torch.mps.manual_seed(seed)
        return
    generator = torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
    generator.manual_seed(seed)


@dataclass(frozen=True)
class Processes:
    """The processes that share one piece of work: this one alone, or all that torchrun started."""

    rank: int = 0
    count: int = 1

    def share(self, n: int) -> range:
        """Which of n things are this process's: consecutive ones. Together the shares are each thing exactly once."""
        return range(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def gather_objects(self, mine: Any) -> list[Any]:
        """What every process has to tell, by rank, in the first process; nothing in the others."""
        if self.count == 1:
            return [mine]
        everyones: list[Any] | None = [None] * self.count if self.rank == 0 else None
        distributed.gather_object(mine, everyones)
        return everyones or []


def world_size() -> int:
    """Return how many processes torchrun started, 1 where it started none; raise `UserError` for another value."""
    value = os.environ.get("WORLD_SIZE") or "1"
    if not value.isdecimal() or int(value) < 1:
        raise UserError(
            f"the environment variable WORLD_SIZE is {value!r}; torchrun sets it to a number of processes, so unset it"
        )
    return int(value)


def check_launched() -> None:
    """Raise `UserError` where WORLD_SIZE stands without the variables that torchrun sets with it."""
    lacking = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if lacking:
        raise UserError(
            f"the environment variable WORLD_SIZE is {os.environ['WORLD_SIZE']!r} and {lacking[0]} is not set; "
            "torchrun sets both, so start this with torchrun, or unset WORLD_SIZE"
        )


@contextlib.contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started (it sets WORLD_SIZE), over gloo, for the time of a block."""
    if world_size() == 1:
        yield Processes()
        return
    check_launched()
    distributed.init_process_group("gloo", timeout=timedelta(days=7))  # the first may be done long before the last
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the bits."""
    found = {"python": platform.python_version()}
    for name in VERSIONED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
