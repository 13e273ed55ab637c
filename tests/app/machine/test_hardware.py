"""Processor, memory and limits are read from files of /proc and /sys and from the output of sysctl."""

from pathlib import Path

import pytest

from imclass.app.machine import hardware
from imclass.app.machine.hardware import Limits, Memory, read_limits, read_memory, read_processor

EPYC = "model name\t: AMD EPYC 9R45\nflags\t\t: fpu avx2 avx512f avx512_bf16\n\nprocessor\t: 1\nflags\t: fpu\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd sve i8mm bf16\nCPU implementer\t: 0x41\n"
M2 = "machdep.cpu.brand_string: Apple M2\nhw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_SME: 0\n"
M2 += "hw.optional.AdvSIMD: 1\nhw.memsize: 17179869184\n"
INTEL_MAC = "machdep.cpu.brand_string: Intel(R) Core(TM) i7\nmachdep.cpu.features: FPU FMA\n"
INTEL_MAC += "machdep.cpu.leaf7_features: AVX2 BMI1\n"
GIB = 2**30


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("cpuinfo", "model", "flags", "bfloat16"),
    [
        (EPYC, "AMD EPYC 9R45", ("avx2", "avx512f", "avx512_bf16"), True),
        (EPYC.replace(" avx512_bf16", ""), "AMD EPYC 9R45", ("avx2", "avx512f"), False),
    ],
)
def test_linux_is_read_from_proc(
    cpuinfo: str, model: str, flags: tuple[str, ...], bfloat16: bool, tmp_path: Path
) -> None:
    found = read_processor(plant(tmp_path, {"proc/cpuinfo": cpuinfo}), "linux")
    assert (found.model, found.flags, found.has_bfloat16) == (model, flags, bfloat16)
    assert 1 <= found.usable <= found.cores


def test_arm_names_features_but_no_model(tmp_path: Path) -> None:
    found = read_processor(plant(tmp_path, {"proc/cpuinfo": GRAVITON}), "linux")
    assert found.flags == ("asimd", "sve", "bf16", "i8mm") and found.model and found.has_bfloat16


@pytest.mark.parametrize(
    ("sysctl", "model", "flags"),
    [(M2, "Apple M2", ("asimd", "bf16")), (INTEL_MAC, "Intel(R) Core(TM) i7", ("avx2", "fma")), ("", None, ())],
)
def test_macos_is_read_from_sysctl(
    sysctl: str, model: str | None, flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "sysctl_output", lambda: sysctl)
    found = read_processor(tmp_path, "darwin")
    assert found.flags == flags and (model is None or found.model == model)
    assert read_memory(tmp_path, "darwin") == Memory(16 * GIB if "memsize" in sysctl else None, None)


def test_a_machine_without_sysctl_yields_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert hardware.sysctl_output() == ""


def test_memory_is_read_from_proc(tmp_path: Path) -> None:
    assert read_memory(tmp_path, "linux") == Memory(None, None)
    plant(tmp_path, {"proc/meminfo": "MemTotal:       8388608 kB\nMemFree:  1 kB\nMemAvailable:    1048576 kB\n"})
    assert read_memory(tmp_path, "linux") == Memory(8 * GIB, GIB)


V2 = {"proc/self/cgroup": "0::/system.slice/job\n"}
V1 = {"proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n"}
GROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Limits(None, None)),
        ({"proc/self/cgroup": "nonsense\n\n::"}, Limits(None, None)),
        (V2, Limits(None, None)),
        (V2 | {f"{GROUP}/system.slice/job/cpu.max": "150000 100000\n"}, Limits(1.5, None)),
        (V2 | {f"{GROUP}/system.slice/job/cpu.max": "max 100000\n"}, Limits(None, None)),
        (V2 | {f"{GROUP}/cpu.max": "100000 100000\n", f"{GROUP}/memory.max": "1073741824\n"}, Limits(1.0, GIB)),
        (
            V2
            | {f"{GROUP}/system.slice/cpu.max": "50000 100000", f"{GROUP}/system.slice/job/cpu.max": "200000 100000"},
            Limits(0.5, None),  # the outer group allows less
        ),
        (
            V1
            | {
                f"{GROUP}/cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "200000\n",
                f"{GROUP}/cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000\n",
                f"{GROUP}/memory/docker/ab/memory.limit_in_bytes": "1073741824\n",
            },
            Limits(2.0, GIB),
        ),
        (
            V1  # a container mounts its groups at the root, and "no limit" is a number
            | {
                f"{GROUP}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                f"{GROUP}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                f"{GROUP}/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "proc/meminfo": "MemTotal:       8388608 kB\n",
            },
            Limits(None, None),
        ),
    ],
)
def test_the_tightest_limit_of_all_groups_counts(files: dict[str, str], expected: Limits, tmp_path: Path) -> None:
    assert read_limits(plant(tmp_path, files)) == expected


def test_this_machine_is_described() -> None:
    assert read_processor().model and (read_memory().total or 1) > 0 and read_limits() is not None
