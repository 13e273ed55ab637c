"""Processor, memory and container limits, from /proc and /sys on Linux and from sysctl on macOS.

Tests can pass another folder as the root of the file system. If a file is missing or cannot be read, the result is None
or an empty value, so that unusual machines can be described too.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
# Flags by which oneDNN chooses its kernels, for x86, Linux on Arm, and macOS on Arm.
FLAGS = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "sve", "sve2", "bf16", "i8mm", "sme",
)  # fmt: skip
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
SYSCTL = ("machdep.cpu", "hw.optional", "hw.memsize")


@dataclass(frozen=True)
class Processor:
    """A processor: its model, its cores, and any flags listed in `FLAGS`."""

    model: str
    flags: tuple[str, ...]
    cores: int
    usable: int  # cores that this process may run on

    @property
    def has_bfloat16(self) -> bool:
        """Whether the processor multiplies bfloat16 numbers in hardware."""
        return any(flag in self.flags for flag in BFLOAT16)


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes. A value is None if the system does not report it."""

    total: int | None
    available: int | None


@dataclass(frozen=True)
class Limits:
    """The limits of a container or service: cores (possibly a fraction) and memory in bytes. None means no limit."""

    cores: float | None
    memory: int | None


def read_processor(root: Path = ROOT, system: str = sys.platform) -> Processor:
    """Return the processor of this machine."""
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    if system == "darwin":
        model, words = mac_processor(sysctl_output())
    else:
        model, words = linux_processor(file_text(root, "proc/cpuinfo"))
    return Processor(model or platform.processor() or "unknown", tuple(f for f in FLAGS if f in words), cores, usable)


def linux_processor(cpuinfo: str) -> tuple[str, set[str]]:
    """Return the model and flags of the first processor in /proc/cpuinfo. Arm flags are listed as "Features"."""
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", cpuinfo, re.MULTILINE)
    return model[1].strip() if model else "", set(flags[1].split()) if flags else set()


def mac_processor(sysctl: str) -> tuple[str, set[str]]:
    """Return the processor's model and flags from sysctl's output. Arm flags are renamed to their Linux names."""
    model = re.search(r"^machdep\.cpu\.brand_string: (.+)$", sysctl, re.MULTILINE)
    listed = re.findall(r"^machdep\.cpu\.(?:leaf7_)?features: (.+)$", sysctl, re.MULTILINE)
    optional = re.findall(r"^hw\.optional\.(?:arm\.FEAT_)?(\w+): 1$", sysctl, re.MULTILINE)
    words = {word.lower() for word in [*" ".join(listed).split(), *optional]}
    if "advsimd" in words or "neon" in words:
        words.add("asimd")
    return model[1].strip() if model else "", words


def sysctl_output() -> str:
    """Return sysctl's output about the processor and memory, or "" if sysctl fails."""
    try:
        done = subprocess.run(["sysctl", *SYSCTL], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def read_memory(root: Path = ROOT, system: str = sys.platform) -> Memory:
    """Return the main memory of this machine."""
    if system == "darwin":
        size = re.search(r"^hw\.memsize: (\d+)$", sysctl_output(), re.MULTILINE)
        return Memory(int(size[1]) if size else None, None)
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", file_text(root, "proc/meminfo"), re.MULTILINE))
    total, available = (kilobytes.get(name) for name in ("MemTotal", "MemAvailable"))
    return Memory(total and int(total) * 1024, available and int(available) * 1024)


def read_limits(root: Path = ROOT) -> Limits:
    """Return the strictest limits set by this process's control group and by all groups that contain it.

    Control groups have two versions. In version 2, there is a single tree of groups. In version 1, there is a tree for
    each kind of resource. A machine may use both.
    """
    quotas: list[float] = []
    sizes: list[int] = []
    for kinds, group in control_groups(file_text(root, "proc/self/cgroup")):
        if not kinds:
            for folder in folders_up(root / "sys/fs/cgroup", group):
                quotas += parse_quota(*(file_text(folder, "cpu.max").split() or ["max"]))
                sizes += parse_number(file_text(folder, "memory.max"))
        if "cpu" in kinds:
            for folder in folders_up(root / "sys/fs/cgroup" / ",".join(kinds), group):
                quotas += parse_quota(file_text(folder, "cpu.cfs_quota_us"), file_text(folder, "cpu.cfs_period_us"))
        if "memory" in kinds:
            for folder in folders_up(root / "sys/fs/cgroup/memory", group):
                sizes += parse_number(file_text(folder, "memory.limit_in_bytes"))
    total = read_memory(root, "linux").total
    sizes = [size for size in sizes if total is None or size < total]  # version 1 reports 2^63 - 4096 for "no limit"
    return Limits(min(quotas, default=None), min(sizes, default=None))


def control_groups(listing: str) -> Iterator[tuple[list[str], PurePosixPath]]:
    """Yield the controllers and the group's path for each line of /proc/self/cgroup. Version 2 lists no controllers."""
    for line in listing.splitlines():
        _, _, rest = line.partition(":")
        kinds, _, group = rest.partition(":")
        yield kinds.split(",") if kinds else [], PurePosixPath(group)


def folders_up(mount: Path, group: PurePosixPath) -> Iterator[Path]:
    """Yield the folder of a group, then the folders of all groups that contain it.

    In a container, the mounted tree may start at the container's group. The group's path then does not exist below the
    mount, and only the mount itself is yielded.
    """
    for inner in (group, *group.parents):
        if (folder := mount / str(inner).lstrip("/")).is_dir():
            yield folder


def parse_quota(allowed: str, period: str = "") -> list[float]:
    """Return a list with the number of cores that a quota allows, or [] if there is no limit ("max" or -1)."""
    both = [*parse_number(allowed), *parse_number(period)]
    return [both[0] / both[1]] if len(both) == 2 and both[1] else []


def parse_number(text: str) -> list[int]:
    """Return a list with the number in a text, or [] if the text is not a number."""
    return [int(text)] if text.strip().isdecimal() else []


def file_text(folder: Path, name: str) -> str:
    """Return the text of a file, or "" if it cannot be read."""
    try:
        return (folder / name).read_text(errors="replace")
    except OSError:
        return ""
