"""The machine at hand: which device, how many threads, which versions; chosen once and said."""

import os
import platform
from dataclasses import dataclass
from importlib import metadata

import torch

from imclass.core.errors import UserError
from imclass.core.precision import Arithmetic

VERSIONED = ("imclass", "torch", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class Runtime:
    """What a run uses. Resolved once, kept in its checkpoints and taken from there on resume."""

    device: str = "cpu"
    threads: int = 1
    arithmetic: Arithmetic = Arithmetic()

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{self.device}, {self.arithmetic}, {threads}"


def resolve(device: str) -> Runtime:
    """The device asked for, or the best there is; a device that is not there is a `UserError`."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no CUDA device that PyTorch can use; take --device cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Runtime(device, torch.get_num_threads())


def apply(runtime: Runtime) -> None:
    """Set the thread count (it decides the order of sums, so the bits); on a GPU ask for repeatable kernels.

    A CPU's kernels for these networks are repeatable as they are, and to ask for it costs a second of imports.
    """
    torch.set_num_threads(runtime.threads)
    torch.set_flush_denormal(True)
    if runtime.device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generator that dropout on `device` draws from, and no other.

    `torch.manual_seed` records a stack trace for each absent accelerator: a millisecond, a fifth of a small net's step.
    """
    generator = torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
    generator.manual_seed(seed)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the bits."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
