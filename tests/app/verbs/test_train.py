"""`train`: refused images counted at the end, and why training stops by itself."""

import json
import shlex
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from tests.support.small import trained_on, tree


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand beside a model that was trained on the folder "pets", and another folder."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    tree(tmp_path / "others", per_class=5)
    assert main(shlex.split("train mnist-lenet --data pets --split-seed 3 --epochs 1 --batch 8 --out run")) == 0
    return tmp_path


def test_refusals_are_told_at_the_end_and_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = sorted(set((place / "pets").rglob("*.png")) - trained_on(place / "pets"))[0]
    bad.write_bytes(b"")
    words = shlex.split("train mnist-lenet --data pets --split-seed 3 --epochs 1 --batch 8 --out refusing")
    capsys.readouterr()
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "; 3 of 4 evaluated, 1 refused" in told and "refused in all: 1 file\n" in told
    assert main(words) == 1  # finished, and its refusals are no fewer
    assert "; 3 of 4 evaluated, 1 refused" in capsys.readouterr().out
    assert main([*words[:-1], "run"]) == 0  # the twin: finished before there was anything to refuse


DIVERGING = "train mnist-lenet --data pets --epochs 1 --batch 1 --schedule.rate 1e6 --schedule.kind constant --out bad"


def test_training_that_diverges_stops_with_the_step_and_its_images(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(DIVERGING)) == 2
    told = capsys.readouterr().err.partition("imclass: ")[2]
    assert "is not finite, so training stopped" in told and "Lower --schedule.rate" in told
    assert told.count(".png") == 1
    assert not (place / "bad" / "model.safetensors").exists()


def test_steps_that_diverge_may_be_passed_over(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*shlex.split(DIVERGING), "--nonfinite", "skip"])
    assert "training stopped" not in capsys.readouterr().err
    events = [json.loads(line) for line in (place / "bad" / "log.jsonl").read_text().splitlines()]
    assert any(event["event"] == "non_finite" and event["action"] == "skip" for event in events)
    assert max(event["step"] for event in events) == 16
