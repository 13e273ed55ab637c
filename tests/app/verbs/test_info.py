"""`info`: what a model file holds."""

from pathlib import Path

import pytest

from imclass.core.files import file_digest
from tests.support.command import shown, text
from tests.support.small import untrained


def test_a_model_file_tells_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    classifier = untrained(path, recipe={"seed": 3}, metrics={"test": {"top1": 0.5}}, chosen="last step")
    record = shown(capsys, "info", str(path))
    assert record["file"] == str(path) and record["sha256"] == file_digest(path)
    assert record["parameters"] == sum(p.numel() for p in classifier.network.parameters())
    assert (record["network"], record["classes"], record["chosen"]) == ("lenet-5", ["cat", "dog"], "last step")
    assert record["preprocess"]["resize"] == "squash" and record["recipe"] == {"seed": 3}
    assert shown(capsys, "info", str(tmp_path)) == record  # a run's directory stands for its model
    assert "metrics.test.top1: 0.5" in text(capsys, "info", str(path)).splitlines()
