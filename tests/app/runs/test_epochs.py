"""Stages whose length is given in minutes: measured once, kept with the run, and never measured again on resume."""

import json
from pathlib import Path
from typing import Any

import pytest

from imclass.app.cli.main import main
from imclass.app.runs import epochs as resolving
from imclass.app.runs.epochs import epochs_within
from imclass.app.runs.pace import Pace
from tests.support.small import provenance, save_untrained, tree

RUN = ["train", "mnist-lenet", "--data", "pets", "--batch", "8", "--minutes", "2", "--out"]
TWO_STAGES = ["train", "finetune", "--data", "pets", "--init", "mine.safetensors", "--precision", "fp32"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos and a model, on a machine where an epoch takes 40 s and opening takes 30 s."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    tree(tmp_path / "pets")
    set_pace(monkeypatch, Pace(opening=30.0, step=15.0, scoring=10.0))
    return tmp_path


def set_pace(monkeypatch: pytest.MonkeyPatch, found: Pace) -> None:
    monkeypatch.setattr(resolving, "measure_pace", lambda *_: found)


def config_in(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def test_minutes_are_resolved_once_and_kept(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*RUN, "run"]) == 0
    note = "stage lenet-5: 2 epochs of about 40 s fit into 2 minutes (2 steps of 15 s, 10 s of scoring)"
    assert note in capsys.readouterr().err
    record = config_in(place / "run")
    (stage,) = record["training"]["stages"]
    assert record["resolved"] == {"stages.0.epochs": 2} and (stage["epochs"], stage["minutes"]) == (30, 2.0)
    events = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("epoch_end") == 2
    rates = [event["rate"] for event in events if event["event"] == "step_end"]
    assert len(rates) == 4 and rates[-1] < 0.5 * max(rates)  # the schedule knows the length
    assert provenance(place / "run").recipe["stages"][0]["epochs"] == 2

    monkeypatch.setattr(resolving, "measure_pace", lambda *_: pytest.fail("it was measured again"))
    assert main([*RUN, "run"]) == 0  # finished
    (place / "run" / "model.safetensors").unlink()
    assert main([*RUN, "run", "--keep-checkpoints"]) == 0  # killed before its first checkpoint
    assert config_in(place / "run")["resolved"] == {"stages.0.epochs": 2}
    assert main([*RUN[:-2], "3", "--out", "run"]) == 2
    assert "stages.0.minutes: 2.0 before, 3.0 now" in capsys.readouterr().err


def test_a_changed_data_set_is_measured_again_before_the_first_result(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*RUN, "run"]) == 0
    (place / "run" / "model.safetensors").unlink()
    tree(place / "pets", 20)
    set_pace(monkeypatch, Pace(0.0, 15.0, 10.0))
    assert main([*RUN, "run"]) == 0
    assert config_in(place / "run")["resolved"] == {"stages.0.epochs": 1}


def test_a_new_run_with_the_config_of_another_is_measured(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*RUN, "run"]) == 0
    set_pace(monkeypatch, Pace(0.0, 1.0, 58.0))
    assert main(["train", "--config", "run", "--out", "other"]) == 0
    assert config_in(place / "other")["resolved"] == {"stages.0.epochs": 2}


def test_all_folds_have_the_epochs_of_the_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Pace(0.0, 15.0, 10.0), Pace(0.0, 1.0, 1.0)]
    monkeypatch.setattr(resolving, "measure_pace", lambda *_: found.pop(0))
    assert main([*RUN, "run", "--crossval", "2", "--minutes", "1.5"]) == 0
    folders = [place / "run", *sorted((place / "run" / "folds").iterdir())]
    assert len(folders) == 3 and len(found) == 1  # measured once
    assert [config_in(folder)["resolved"] for folder in folders] == [{"stages.0.epochs": 2}] * 3


def test_one_epoch_is_trained_even_if_it_takes_longer(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_pace(monkeypatch, Pace(0.0, 900.0, 0.0))
    assert main([*RUN, "run"]) == 0
    assert "1 epoch of about 30 min, which is longer than --minutes 2" in capsys.readouterr().err
    assert config_in(place / "run")["resolved"] == {"stages.0.epochs": 1}


def test_the_short_option_applies_to_stages_that_descend(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(place / "pets", 20)
    save_untrained(place / "mine.safetensors")
    for words in (["--minutes", "2"], ["--stages.1.minutes", "2"]):
        out = words[0].strip("-")
        assert main([*TWO_STAGES, *words, "--batch", "8", "--patience", "0", "--out", out]) == 0
        record = config_in(place / out)
        assert [stage["minutes"] for stage in record["training"]["stages"]] == [0, 2.0]
        assert record["resolved"] == {"stages.1.epochs": 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--minutes", "5", "--epochs", "3"],
            "--epochs and minutes 5 both set the length of stage 1; leave out",
        ),
        (["--minutes", "5", "--stages.1.epochs", "3"], "leave out --stages.1.epochs, or add --stages.1.minutes 0"),
        (["--stages.0.minutes", "5"], "--stages.0.minutes is 5.0; it must be 0 in a stage of kind solve"),
        (["--minutes", "-1"], "minutes is -1.0; it must be at least 0"),
    ],
)
def test_unsuitable_lengths_are_refused(
    words: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_untrained(place / "mine.safetensors")
    assert main([*TWO_STAGES, *words, "--out", "run"]) == 2
    assert message in capsys.readouterr().err and not (place / "run").exists()


def test_minutes_of_zero_leave_the_epochs() -> None:
    assert main([*RUN, "run", "--minutes", "0", "--epochs", "1"]) == 0
    assert config_in(Path("run"))["resolved"] == {}


@pytest.mark.parametrize(("seconds", "expected"), [(90.0, 2), (80.0, 2), (79.0, 1), (-5.0, 1)])
def test_whole_epochs_fit(seconds: float, expected: int) -> None:
    assert epochs_within(seconds, 40.0) == expected
