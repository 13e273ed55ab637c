"""Problems with the machine or the installation, each with its fix."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imclass.app.machine.hardware import Limits
from imclass.app.machine.software import Library, Torch

MIN_FREE_BYTES = 2**30  # minimum free space; a data set of photos does not fit in less


@dataclass(frozen=True)
class Problem:
    """A problem and its fix."""

    problem: str
    fix: str


@dataclass(frozen=True)
class StoreState:
    """The state of the store: whether it exists and is writable, and its size and free space in bytes."""

    folder: str
    exists: bool
    writable: bool
    size: int
    free: int | None


def problems(
    libraries: Sequence[Library], torch: Torch | str, limits: Limits, store: StoreState, variables: Mapping[str, str]
) -> list[Problem]:
    """Return all problems, with the most serious first."""
    return [
        *library_problems(libraries),
        *torch_problems(torch, limits, variables),
        *store_problems(store),
        *variable_problems(variables),
    ]


def library_problems(libraries: Sequence[Library]) -> Iterator[Problem]:
    """Yield problems with the required libraries. Optional libraries are not checked."""
    if not libraries:
        yield Problem("imclass is not installed as a package, so its dependencies are unknown", "pip install .")
    for library in libraries:
        if not library.extra and not library.is_satisfied:
            state = "not installed" if library.version is None else f"{library.version}, but {library.wanted} is needed"
            yield Problem(f"{library.name} is {state}", f"pip install '{library.name}{library.wanted}'")


def torch_problems(torch: Torch | str, limits: Limits, variables: Mapping[str, str]) -> Iterator[Problem]:
    """Yield problems that prevent PyTorch from working or from running at full speed."""
    if isinstance(torch, str):
        yield Problem(f"torch cannot be imported ({torch})", "reinstall it: pip install --force-reinstall torch")
        return
    if limits.cores is not None and torch.threads > max(1, round(limits.cores)):
        fix = f"set OMP_NUM_THREADS={max(1, round(limits.cores))}"
        yield Problem(f"torch would use {torch.threads} threads, but the container allows {limits.cores:g} cores", fix)
    if shutil.which("nvidia-smi") and torch.cuda is None:
        fix = "install a CUDA build of torch as described at pytorch.org"
        yield Problem("an NVIDIA driver is installed, but torch is built without CUDA", fix)
    if shutil.which("nvidia-smi") and torch.cuda is not None and len(torch.devices) == 1:
        hidden = variables.get("CUDA_VISIBLE_DEVICES")
        fix = "run nvidia-smi; the driver may be too old" if hidden is None else "unset CUDA_VISIBLE_DEVICES"
        yield Problem(f"torch is built for CUDA {torch.cuda} but finds no GPU", fix)


def store_problems(store: StoreState) -> Iterator[Problem]:
    """Yield problems with the store: no write access, or too little free space."""
    if not store.writable:
        fix = "make it writable, or choose another folder with --store or IMCLASS_STORE"
        yield Problem(f"the store {store.folder} cannot be written to", fix)
    elif store.free is not None and store.free < MIN_FREE_BYTES:
        fix = "free some space, or choose a folder on another disk with --store or IMCLASS_STORE"
        yield Problem(f"only {store.free / 2**20:,.0f} MiB are free for the store", fix)


def variable_problems(variables: Mapping[str, str]) -> Iterator[Problem]:
    """Yield problems with environment variables that silently change the behaviour of commands."""
    if variables.get("WORLD_SIZE") not in (None, "", "1"):
        fix = "unset it, unless torchrun set it"
        yield Problem(f"WORLD_SIZE is {variables['WORLD_SIZE']}: evaluate waits for that many processes", fix)
    for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
        if name in variables:
            yield Problem(f"{name}={variables[name]} limits the instructions used", "unset it for full speed")


def describe_store(folder: Path) -> StoreState:
    """Return the state of a store.

    If the folder does not exist yet, its nearest existing parent determines write access and free space.
    """
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    free = shutil.disk_usage(nearest).free
    return StoreState(str(folder), folder.is_dir(), writable, folder_size(folder), free)


def folder_size(folder: Path) -> int:
    """Return the total size of the files in a folder, in bytes. Unreadable files count as 0."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
