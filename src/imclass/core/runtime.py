"""The device, threads, processes and library versions of a run, resolved once and recorded."""

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
    """The precision of a network, and the memory layout of its activations (N C H W, or channels last)."""

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
    """The device, threads and arithmetic of a run, saved in checkpoints and restored when the run resumes."""

    device: str = "cpu"
    threads: int = 1
    arithmetic: Arithmetic = Arithmetic()

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device}, {self.arithmetic}, {threads}"


def resolve_runtime(device: str) -> Runtime:
    """Return the runtime for a --device value. Raise `UserError` if the device is not available."""
    return Runtime(device_of(device), torch.get_num_threads())


def device_of(name: str) -> str:
    """Return the PyTorch device for `name`: cpu, cuda, cuda:N, mps, or auto (CUDA if available, else the CPU)."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = name.partition(":")
    if name.isdecimal():
        raise UserError(f"--device {name} is not a device; write cuda:{name}")
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise UserError(f"--device {name} is not a device; choose auto, cpu, cuda, cuda:N or mps")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: PyTorch cannot use a Metal device here; use --device cpu")
    count = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= count:
        available = {0: "no CUDA device", 1: "only 1 CUDA device"}.get(count, f"only {count} CUDA devices")
        raise UserError(f"--device {name}: this machine has {available} that PyTorch can use; use --device cpu")
    return name


def apply_runtime(runtime: Runtime) -> None:
    """Set the number of threads and, on a GPU, ask for deterministic kernels.

    On a CPU the kernels of these networks are deterministic anyway, and requesting determinism would cost a second of
    import time.
    """
    torch.set_num_threads(runtime.threads)  # decides the order of summation, and so the exact bits of results
    torch.set_flush_denormal(True)
    keep_memory()
    if runtime.device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # PyTorch would also fill each new tensor with NaN, which takes time and only matters to a kernel that reads
        # memory before it is written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextlib.contextmanager
def one_thread_each() -> Iterator[int]:
    """Let threads that are created in this block use one thread for each operation of PyTorch.

    Yield the number of threads that PyTorch used before, which it uses again afterwards. Threads with an image each
    are faster than one image after the other with all threads, above all if other programs use the processor: the
    threads of an operation wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def release_memory() -> bool:
    """Return freed memory to the system, in spite of `keep_memory`. With any other C library than glibc, return False.

    Between tasks of different kinds, memory that one of them has freed in small pieces is of no use to the next.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))


def keep_memory() -> bool:
    """Make glibc keep freed memory until the process ends. With any other C library, return False.

    By default glibc returns large blocks to the system. When such a block is allocated again, each of its pages costs a
    page fault: many thousands in each step of a network with large feature maps.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return allocator is not None and all(
        allocator(option, MAX_THRESHOLD) for option in (TRIM_THRESHOLD, MMAP_THRESHOLD)
    )


def reseed(seed: int, device: torch.device) -> None:
    """Seed only the random generator that dropout uses on `device`.

    `torch.manual_seed` would also record a stack trace for each absent accelerator. That takes a millisecond, which is
    a fifth of a training step of a small network.
    """
    if device.type == "mps":
        torch.mps.manual_seed(seed)
        return
    generator = torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
    generator.manual_seed(seed)


@dataclass(frozen=True)
class Processes:
    """The processes that share a piece of work: either this process alone, or all processes started by torchrun."""

    rank: int = 0
    count: int = 1

    def share(self, n: int) -> range:
        """Return this process's share of n items, as a range. Together, the shares cover each item exactly once."""
        return range(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def gather_objects(self, mine: Any) -> list[Any]:
        """Gather one object from each process. Rank 0 receives them in rank order; other ranks get an empty list."""
        if self.count == 1:
            return [mine]
        gathered: list[Any] | None = [None] * self.count if self.rank == 0 else None
        distributed.gather_object(mine, gathered)
        return gathered or []


def world_size() -> int:
    """Return WORLD_SIZE, the number of processes that torchrun started, or 1 if unset. Raise `UserError` if invalid."""
    value = os.environ.get("WORLD_SIZE") or "1"
    if not value.isdecimal() or int(value) < 1:
        raise UserError(
            f"the environment variable WORLD_SIZE is {value!r}; it must be the number of processes, which torchrun "
            "sets. Unset the variable"
        )
    return int(value)


def check_launched() -> None:
    """Raise `UserError` if WORLD_SIZE is set without the other variables that torchrun sets."""
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"the environment variable WORLD_SIZE is {os.environ['WORLD_SIZE']!r}, but {missing[0]} is not set. "
            "torchrun sets both, so start this command with torchrun, or unset WORLD_SIZE"
        )


@contextlib.contextmanager
def join_processes() -> Iterator[Processes]:
    """Connect the processes started by torchrun, with the gloo backend, until the block ends."""
    if world_size() == 1:
        yield Processes()
        return
    check_launched()
    distributed.init_process_group("gloo", timeout=timedelta(days=7))  # one process may finish long before another
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that affect the exact bits of a result."""
    versions = {"python": platform.python_version()}
    for name in VERSIONED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
