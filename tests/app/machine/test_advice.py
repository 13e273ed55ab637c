"""Each problem is found with its fix, and a sound machine has no problems."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imclass.app.machine import advice
from imclass.app.machine.advice import StoreState, describe_store, problems
from imclass.app.machine.hardware import Limits
from imclass.app.machine.software import Library, Torch

STORE = StoreState("/store", True, True, 10, 2**40)
TORCH = Torch(1.0, ("cpu",), "AVX2", 4, None)
SOUND: dict[str, Any] = {
    "libraries": [Library("torch", ">=2.11", "2.13.0"), Library("onnx", ">=1", None, "export")],
    "torch": TORCH,
    "limits": Limits(4.0, None),
    "store": STORE,
    "variables": {"OMP_NUM_THREADS": "4", "WORLD_SIZE": "1"},
}


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice.shutil, "which", lambda name: None)


def test_a_sound_machine_has_no_problem() -> None:
    assert problems(**SOUND) == []


@pytest.mark.parametrize(
    ("changed", "problem", "fix"),
    [
        ({"libraries": []}, "imclass is not installed", "pip install ."),
        ({"libraries": [Library("rich", ">=14", None)]}, "rich is not installed", "pip install 'rich>=14'"),
        ({"libraries": [Library("torch", ">=2.11", "2.5")]}, "2.5, but >=2.11 is needed", "pip install 'torch>=2.11'"),
        ({"torch": "OSError: no libgomp"}, "torch cannot be imported (OSError: no libgomp)", "pip install"),
        ({"limits": Limits(1.5, None)}, "4 threads, but the container allows 1.5 cores", "OMP_NUM_THREADS=2"),
        ({"limits": Limits(0.2, None)}, "allows 0.2 cores", "OMP_NUM_THREADS=1"),
        ({"store": replace(STORE, writable=False)}, "the store /store cannot be written to", "--store"),
        ({"store": replace(STORE, free=2**20)}, "only 1 MiB are free", "free some space"),
        ({"variables": {"WORLD_SIZE": "4"}}, "WORLD_SIZE is 4", "unset it"),
        ({"variables": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}, "ONEDNN_MAX_CPU_ISA=AVX2 limits", "unset it"),
    ],
)
def test_each_problem_has_a_fix(changed: dict[str, Any], problem: str, fix: str) -> None:
    (found,) = problems(**SOUND | changed)
    assert problem in found.problem and fix in found.fix


@pytest.mark.parametrize(
    ("torch", "variables", "fix"),
    [
        (TORCH, {}, "a CUDA build of torch"),
        (replace(TORCH, cuda="12.8"), {}, "nvidia-smi"),
        (replace(TORCH, cuda="12.8"), {"CUDA_VISIBLE_DEVICES": ""}, "unset CUDA_VISIBLE_DEVICES"),
        (replace(TORCH, cuda="12.8", devices=("cpu", "cuda:0 (A)")), {}, None),
    ],
)
def test_a_driver_without_a_gpu_is_found(
    torch: Torch, variables: dict[str, str], fix: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    found = problems(**SOUND | {"torch": torch, "variables": variables})
    assert len(found) == (0 if fix is None else 1) and all(fix in problem.fix for problem in found if fix)


def test_describing_a_store_does_not_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = describe_store(tmp_path / "a" / "b")
    assert (absent.exists, absent.writable, absent.size) == (False, True, 0) and (absent.free or 0) > 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.pth").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("nowhere")
    assert describe_store(tmp_path).size == 5 + len("nowhere")
    monkeypatch.setattr(advice.os, "access", lambda path, mode: False)
    assert not describe_store(tmp_path).writable
    assert not describe_store(tmp_path / "weights" / "a.pth" / "store").writable
