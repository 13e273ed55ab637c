"""What is missing or in the way on a machine, each with the fix."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imclass.app.machine.hardware import Limits
from imclass.app.machine.software import Library, Torch

MIN_FREE_BYTES = 2**30  # bytes of free disk space that no data set of photos fits in


@dataclass(frozen=True)
class Problem:
    """Something missing or in the way, and what to do."""

    problem: str
    fix: str


@dataclass(frozen=True)
class StoreState:
    """The store: whether it exists and can be written to, the bytes in it and those free beside it."""

    folder: str
    exists: bool
    writable: bool
    size: int
    free: int | None


def problems(
    found: Sequence[Library], torch: Torch | str, limits: Limits, place: StoreState, variables: Mapping[str, str]
) -> list[Problem]:
    """Return all of them, the gravest first."""
    return [
        *library_problems(found),
        *torch_problems(torch, limits, variables),
        *store_problems(place),
        *variable_problems(variables),
    ]


def library_problems(found: Sequence[Library]) -> Iterator[Problem]:
    """Yield what is wrong with the installed libraries; extras are a matter of choice."""
    if not found:
        yield Problem("imclass is not installed, so its dependencies are unknown", "pip install .")
    for library in found:
        if not library.extra and not library.is_satisfied:
            state = "not installed" if library.version is None else f"{library.version}, and {library.wanted} is needed"
            yield Problem(f"{library.name} is {state}", f"pip install '{library.name}{library.wanted}'")


def torch_problems(torch: Torch | str, limits: Limits, variables: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what keeps PyTorch from working, or from the speed that the machine has."""
    if isinstance(torch, str):
        yield Problem(f"torch cannot be imported ({torch})", "install it again: pip install --force-reinstall torch")
        return
    if limits.cores is not None and torch.threads > max(1, round(limits.cores)):
        fix = f"set OMP_NUM_THREADS={max(1, round(limits.cores))}"
        yield Problem(f"torch would use {torch.threads} threads, and {limits.cores:g} cores are allowed", fix)
    if shutil.which("nvidia-smi") and torch.cuda is None:
        fix = "install a build of torch with CUDA, as pytorch.org describes"
        yield Problem("there is an NVIDIA driver, and this torch is built without CUDA", fix)
    if shutil.which("nvidia-smi") and torch.cuda is not None and len(torch.devices) == 1:
        hidden = variables.get("CUDA_VISIBLE_DEVICES")
        fix = "run nvidia-smi; the driver may be too old" if hidden is None else "unset CUDA_VISIBLE_DEVICES"
        yield Problem(f"torch is built for CUDA {torch.cuda} and finds no GPU", fix)


def store_problems(place: StoreState) -> Iterator[Problem]:
    """Yield what keeps files out of the store."""
    if not place.writable:
        fix = "make it writable, or name another with --store or IMCLASS_STORE"
        yield Problem(f"the store {place.folder} cannot be written to", fix)
    elif place.free is not None and place.free < MIN_FREE_BYTES:
        fix = "make room, or name another disk with --store or IMCLASS_STORE"
        yield Problem(f"{place.free / 2**20:,.0f} MiB are free for the store", fix)


def variable_problems(variables: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the variables that change what commands do without anyone asking on the command line."""
    if variables.get("WORLD_SIZE") not in (None, "", "1"):
        fix = "unset it, unless torchrun has set it"
        yield Problem(f"WORLD_SIZE is {variables['WORLD_SIZE']}: evaluate waits for that many processes", fix)
    for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
        if name in variables:
            yield Problem(f"{name}={variables[name]} limits the processor's instructions", "unset it for full speed")


def describe_store(folder: Path) -> StoreState:
    """Return the state of a store; where it does not exist yet, that of the nearest folder above it."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    free = shutil.disk_usage(nearest).free
    return StoreState(str(folder), folder.is_dir(), writable, folder_size(folder), free)


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder; what cannot be read counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
