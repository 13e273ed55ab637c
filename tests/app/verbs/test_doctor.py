"""The verb `doctor` describes a machine as JSON and as text, even where something is wrong."""

from importlib import metadata
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from tests.support.command import json_output, text


def test_the_record_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json_output(capsys, "doctor", "--store", str(tmp_path / "new"))
    assert record["imclass"] == metadata.version("imclass")
    assert record["processor"]["cores"] >= 1 and record["torch"]["devices"][0] == "cpu"
    assert {"torch", "numpy"} <= {library["name"] for library in record["libraries"] if library["fits"]}
    assert (record["store"]["folder"], record["store"]["exists"]) == (str(tmp_path / "new"), False)
    assert set(record["limits"]) == {"cores", "memory"} and "IMCLASS_STORE" in record["environment"]
    assert list(tmp_path.iterdir()) == []


def test_the_text_fits_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("IMCLASS_STORE", "store")
    lines = text(capsys, "doctor").splitlines()
    assert all(len(line) <= 80 or " " not in line.strip() or "/" in line for line in lines)  # a path is never broken
    assert {"imclass", "processor", "memory", "torch", "devices", "store"} <= {line.split(" ")[0] for line in lines}
    assert "- WORLD_SIZE is 2: evaluate waits for that many processes." in "\n".join(lines)


def test_a_store_that_is_a_file_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store").touch()
    record = json_output(capsys, "doctor", "--store", str(tmp_path / "store"))
    assert f"the store {tmp_path / 'store'} is a file" in [item["problem"] for item in record["missing"]]
    assert main(["models", "--store", str(tmp_path / "store")]) == 2  # an error for any other verb
