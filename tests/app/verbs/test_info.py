"""`info`: what a model file holds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imclass.core.files import file_digest
from imclass.core.model_file import Metrics
from imclass.evaluation.ensemble import Ensemble, Member
from imclass.evaluation.unpack import save
from tests.support.command import shown, text
from tests.support.small import untrained


def test_a_model_file_tells_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    classifier = untrained(path, recipe={"seed": 3}, metrics={"test": Metrics({"top1": 0.5}, 1, 2)}, chosen="last step")
    record = shown(capsys, "info", str(path))
    assert record["file"] == str(path) and record["sha256"] == file_digest(path)
    assert record["parameters"] == sum(p.numel() for p in classifier.network.parameters())
    assert (record["kind"], record["classes"], record["link"]) == ("network", ["cat", "dog"], "softmax")
    assert record["body"]["network"] == "lenet-5" and record["body"]["preprocess"]["resize"] == "squash"
    assert record["trained"]["chosen"] == "last step" and record["trained"]["recipe"] == {"seed": 3}
    assert shown(capsys, "info", str(tmp_path)) == record  # a run's directory stands for its model
    assert "trained.metrics.test.measures.top1: 0.5" in text(capsys, "info", str(path)).splitlines()


def test_it_says_how_many_images_a_model_was_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    classifier = untrained(path)
    assert shown(capsys, "info", str(path))["trained_on"] is None
    assert "trained on" not in text(capsys, "info", str(path))
    replace(classifier, trained_on=np.arange(1200, dtype=np.uint64)).save(path)
    assert shown(capsys, "info", str(path))["trained_on"] == 1200
    assert text(capsys, "info", str(path)).splitlines()[-1] == "trained on 1,200 images"
    members = [replace(classifier, trained_on=np.arange(n, dtype=np.uint64)) for n in (5, 8)]
    save(path, Ensemble(tuple(map(Member, members))))
    assert shown(capsys, "info", str(path))["trained_on"] == 8  # an image counts once
