"""Device, threads, memory and processes of a run are resolved and checked."""

import mmap
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest
import torch

from imclass.app.cli.main import main
from imclass.core.errors import UserError
from imclass.core.runtime import (
    Runtime,
    apply_runtime,
    check_launched,
    device_of,
    library_versions,
    resolve_runtime,
    world_size,
)


def test_an_unavailable_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"--device cuda: .* use --device cpu"):
        resolve_runtime("cuda")
    assert resolve_runtime("auto").device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_runtime("auto").device == resolve_runtime("cuda").device == "cuda"
    assert resolve_runtime("cpu").device == "cpu"


def test_a_runtime_records_the_threads_and_sets_them_again() -> None:
    torch.set_num_threads(2)
    runtime = resolve_runtime("cpu")
    torch.set_num_threads(1)
    apply_runtime(runtime)
    assert runtime.threads == torch.get_num_threads() == 2
    assert not torch.are_deterministic_algorithms_enabled()  # asked for on a GPU only


def test_a_gpu_gets_deterministic_kernels_but_new_memory_is_not_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, bool]] = []
    switches: Any = torch.utils.deterministic
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, warn_only: asked.append((mode, warn_only)))
    monkeypatch.setattr(switches, "fill_uninitialized_memory", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    apply_runtime(Runtime("cpu", threads=1))
    assert not asked and switches.fill_uninitialized_memory
    apply_runtime(Runtime("cuda", threads=1))
    assert asked == [(True, True)] and not switches.fill_uninitialized_memory


def test_a_runtime_prints_as_one_line() -> None:
    assert str(Runtime("cpu", threads=1)) == "cpu, fp32, 1 thread"
    assert str(Runtime("cuda", threads=4)) == "cuda, fp32, 4 threads"


def test_versions_are_those_of_the_installed_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    found = library_versions()
    assert found["torch"] == metadata.version("torch")
    assert {"python", "imclass", "numpy", "pillow", "safetensors"} <= set(found)
    monkeypatch.setattr("imclass.core.runtime.VERSIONED_PACKAGES", ("a-library-that-is-not-there",))
    assert library_versions()["a-library-that-is-not-there"] == "not installed"


FAULTS = """
import resource, sys
import torch
from imclass.core.runtime import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
turns = []
for turn in range(24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)  # 64 MB, freed at once
    turns.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(turns[12:]))  # the heap takes a few turns, depending on its address, to settle
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)
        for how in ("kept", "released")
    }
    pages = 12 * 2**26 // mmap.PAGESIZE
    assert faults["kept"] < pages / 10 < pages * 0.9 < faults["released"]


def test_devices_have_pytorchs_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [device_of(name) for name in ("auto", "cpu", "cuda", "cuda:1", "mps")] == [
        "cuda", "cpu", "cuda", "cuda:1", "mps",
    ]  # fmt: skip
    with pytest.raises(UserError, match="--device cuda:2: this machine has only 2 CUDA devices that PyTorch can use"):
        device_of("cuda:2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0", "--device 0 is not a device; write cuda:0"),
        ("gpu", "choose auto, cpu, cuda, cuda:N or mps"),
        ("cuda:x", "choose auto, cpu, cuda, cuda:N or mps"),
        ("cpu:1", "choose auto, cpu, cuda, cuda:N or mps"),
        ("cuda", "this machine has no CUDA device"),
        ("cuda:0", "this machine has no CUDA device"),
        ("mps", "use --device cpu"),
    ],
)
def test_an_invalid_device_is_named(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_of("auto") == "cpu"
    with pytest.raises(UserError, match=message):
        device_of(name)


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("", 1), ("3", 3)])
def test_an_empty_world_size_means_one_process(value: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    assert world_size() == count
    monkeypatch.delenv("WORLD_SIZE")
    assert world_size() == 1


@pytest.mark.parametrize("value", ["two", "0", "-1", "1.5"])
@pytest.mark.parametrize("words", ["train mnist-lenet --dry-run", "evaluate lenet-5:none"])
def test_a_world_size_that_is_not_a_number_is_refused(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(UserError, match="Unset the variable"):
        world_size()
    assert main(words.split()) == 2
    assert "bug in imclass" not in capsys.readouterr().err


def test_a_world_size_without_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="RANK is not set"):
        check_launched()
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    check_launched()
