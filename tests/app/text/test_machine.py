"""The findings of `doctor` as text."""

from typing import Any

import pytest

from imclass.app.text.machine import machine_text
from imclass.core.text import size_text

RECORD: dict[str, Any] = {
    "imclass": "0.1.0",
    "python": {"version": "3.12.1", "executable": "/usr/bin/python3"},
    "system": "Linux",
    "processor": {"model": "P", "flags": ["avx2"], "cores": 8, "usable": 4, "bfloat16": False},
    "memory": {"total": 8 * 2**30, "available": 2**30},
    "limits": {"cores": 1.5, "memory": 2**30},
    "torch": {"seconds": 1.25, "devices": ["cpu", "mps"], "kernels": "AVX2", "threads": 1, "cuda": None},
    "libraries": [
        {"name": "torch", "wanted": ">=2", "version": "2.13", "extra": "", "fits": True},
        {"name": "onnx", "wanted": ">=1", "version": "1.2", "extra": "export", "fits": True},
        {"name": "onnxscript", "wanted": ">=1", "version": None, "extra": "export", "fits": False},
    ],
    "store": {"folder": "/store", "exists": True, "writable": False, "size": 100, "free": 2**21},
    "environment": {"OMP_NUM_THREADS": "1"},
    "proxies": {},
    "missing": [{"problem": "a\x1b[31m b", "fix": "do it"}],
}


def test_every_fact_has_a_line() -> None:
    assert machine_text(RECORD).splitlines() == [
        "imclass      0.1.0, Python 3.12.1 (/usr/bin/python3)",
        "system       Linux",
        "processor    P: avx2",
        "bfloat16     emulated: --precision bf16 will not be faster",
        "cores        8, 4 for this process; container quota: 1.5 cores",
        "memory       8.0 GiB, 1.0 GiB available; container limit: 1.0 GiB",
        "torch        1 thread, AVX2 kernels, built without CUDA; imported in 1.2 s",
        "devices      cpu, mps",
        "libraries    torch 2.13",
        "  [export]   onnx 1.2; missing: onnxscript; pip install 'imclass[export]'",
        "store        /store: 100 bytes, not writable, 2.0 MiB free",
        "environment  OMP_NUM_THREADS=1",
        "proxies      none",
        "",
        "To fix:",
        "- a\\x1b[31m b. Fix: do it",
    ]


def test_unknown_facts_are_marked() -> None:
    less: dict[str, Any] = {
        "imclass": None, "libraries": [], "environment": {}, "missing": [], "torch": {"problem": "OSError: no libgomp"},
        "memory": {"total": None, "available": None}, "limits": {"cores": None, "memory": None},
    }  # fmt: skip
    lines = machine_text(RECORD | less).splitlines()
    assert lines[0].startswith("imclass      not installed, ")
    assert "torch        cannot be imported: OSError: no libgomp" in lines
    assert "memory       unknown; container limit: none" in lines and lines[-1] == "Nothing is missing."


def test_lines_end_between_libraries_and_not_inside() -> None:
    many = [{"name": f"library-{i}", "wanted": "", "version": f"1.{i}", "extra": "", "fits": True} for i in range(20)]
    lines = [line for line in machine_text(RECORD | {"libraries": many}).splitlines() if "library-" in line]
    assert len(lines) > 2 and all(len(line) <= 80 for line in lines)
    assert all(line.startswith("  " + " " * 11 + "library-") for line in lines[1:])


@pytest.mark.parametrize(
    ("number", "text"), [(None, "unknown"), (0, "0 bytes"), (2**20, "1.0 MiB"), (3 * 2**29, "1.5 GiB")]
)
def test_sizes_have_units(number: int | None, text: str) -> None:
    assert size_text(number) == text
