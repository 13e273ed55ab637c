"""Declared libraries, PyTorch, environment variables and proxies are described."""

import sys
from importlib import metadata

import pytest
import torch

from imclass.app.machine import software
from imclass.app.machine.software import (
    Library,
    Torch,
    declared_libraries,
    environment_variables,
    inspect_torch,
    proxy_settings,
    release_numbers,
)


def test_requirements_are_parsed() -> None:
    found = declared_libraries(
        ["torch>=2.11", "numpy", "no-such-thing>=1; extra == 'serve'", 'pytest>=900; extra == "dev"']
    )
    assert [(library.name, library.wanted, library.extra) for library in found] == [
        ("torch", ">=2.11", ""), ("numpy", "", ""), ("no-such-thing", ">=1", "serve"), ("pytest", ">=900", "dev"),
    ]  # fmt: skip
    assert [library.is_satisfied for library in found] == [True, True, False, False]
    assert found[0].version == metadata.version("torch") and found[2].version is None


def test_libraries_are_declared_only_if_imclass_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"torch", "numpy", "rich"} <= {library.name for library in declared_libraries() if not library.extra}

    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(software.metadata, "requires", absent)
    assert declared_libraries() == []


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("2.11", ">=2.11", True), ("2.11.0+cpu", ">=2.11", True), ("2.9.1", ">=2.11", False), ("3", ">=2.11", True),
        ("2", ">=2.0", True), ("2025.0.0", ">=2025.0", True), (None, "", False), ("0.1.dev3", ">=0.1", True),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(version: str | None, wanted: str, fits: bool) -> None:
    assert Library("x", wanted, version).is_satisfied == fits


def test_a_version_without_numbers_is_older_than_any() -> None:
    assert release_numbers("unknown") == () < release_numbers("0.0.1")


def test_torch_is_described() -> None:
    found = inspect_torch()
    assert isinstance(found, Torch) and found.devices[0] == "cpu" and found.seconds == 0
    assert (found.threads, found.cuda) == (torch.get_num_threads(), torch.version.cuda)


def test_devices_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {'AB'[i]}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    found = inspect_torch()
    assert isinstance(found, Torch) and found.devices == ("cpu", "cuda:0 (GPU A)", "cuda:1 (GPU B)", "mps")


def test_a_broken_torch_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = inspect_torch()
    assert isinstance(found, str) and found.startswith("ModuleNotFoundError: ")


def test_variables_and_proxies_are_read_without_passwords() -> None:
    environment = {"OMP_NUM_THREADS": "3", "PATH": "/bin", "HTTPS_PROXY": "http://me:secret@proxy.example:3128/"}
    assert environment_variables(environment) == {"OMP_NUM_THREADS": "3"}
    assert proxy_settings(environment) == {"https_proxy": "proxy.example:3128"}
    assert proxy_settings({"http_proxy": "me:secret@host:1", "no_proxy": "localhost,.example"}) == {
        "http_proxy": "host:1", "no_proxy": "localhost,.example",
    }  # fmt: skip
