"""The installation: declared libraries, PyTorch, and relevant environment variables and proxies."""

import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import urlsplit

VARIABLES = (
    "IMCLASS_STORE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY",
    "CUDA_VISIBLE_DEVICES", "WORLD_SIZE", "MPLBACKEND",
)  # fmt: skip
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True)
class Library:
    """A dependency, with its required version (such as ">=2") and its installed version.

    `version` is None if the library is not installed. `extra` is the extra that includes the library, or "" if imclass
    always requires the library.
    """

    name: str
    wanted: str
    version: str | None
    extra: str = ""

    @property
    def is_satisfied(self) -> bool:
        """Whether the required version or a later one is installed."""
        minimum = self.wanted.removeprefix(">=").strip()
        return self.version is not None and (not minimum or release_numbers(self.version) >= release_numbers(minimum))


@dataclass(frozen=True)
class Torch:
    """Facts about PyTorch: import time, usable devices, kernels, threads and CUDA version.

    `kernels` is the instruction set of the kernels, such as "AVX512". `cuda` is None if PyTorch was built without CUDA.
    """

    seconds: float  # import time; 0 if torch was already imported
    devices: tuple[str, ...]
    kernels: str
    threads: int
    cuda: str | None


def declared_libraries(requirements: list[str] | None = None) -> list[Library]:
    """Return the dependencies that imclass declares. The list is empty if imclass is not installed."""
    if requirements is None:
        try:
            requirements = metadata.requires("imclass") or []
        except metadata.PackageNotFoundError:
            return []
    pattern = re.compile(r"""^([\w.-]+)\s*([^;]*?)\s*(?:;.*extra == ["'](.*)["'].*)?$""")
    libraries = []
    for requirement in requirements:
        name, wanted, extra = pattern.findall(requirement)[0]
        libraries.append(Library(name, wanted, installed_version(name), extra))
    return libraries


def installed_version(name: str) -> str | None:
    """Return the version of a distribution, or None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def release_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers in a version, without trailing zeros: (2, 11) for "2.11.0+cpu"."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, re.sub(r"(\.0+)+$", "", numbers[0]).split("."))) if numbers else ()


def inspect_torch() -> Torch | str:
    """Import PyTorch and return facts about it. If it cannot be imported, return the reason."""
    known, began = "torch" in sys.modules, time.perf_counter()
    try:
        import torch
    except Exception as error:  # OSError for a library that fails to load; anything if the installation is broken
        return f"{type(error).__name__}: {error}"
    seconds = 0.0 if known else time.perf_counter() - began
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    kernels = torch.backends.cpu.get_cpu_capability()
    return Torch(seconds, tuple(devices), kernels, torch.get_num_threads(), torch.version.cuda)


def environment_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables in `VARIABLES` that are set in the environment."""
    return {name: environment[name] for name in VARIABLES if name in environment}


def proxy_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the proxies that are set, without user names or passwords."""
    found = {name: environment.get(name) or environment.get(name.upper()) for name in PROXIES}
    return {name: value if name == "no_proxy" else host_of(value) for name, value in found.items() if value}


def host_of(url: str) -> str:
    """Return the host and port of a URL, without the user name or password."""
    return urlsplit(url if "//" in url else f"//{url}").netloc.rpartition("@")[2]
