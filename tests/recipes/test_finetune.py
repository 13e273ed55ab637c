"""The recipes finetune and probe, run from the command line with a tiny network."""

import json
import re
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from imclass.core.model_file import read_model
from imclass.models.classifier import load_network_classifier
from tests.support.command import json_output
from tests.support.small import provenance, save_untrained, tree

QUICK = ("--precision", "fp32", "--workers", "0")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with photos of three classes and a model of other classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMCLASS_STORE", str(tmp_path / "store"))
    tree(tmp_path / "photos", 20, ("cat", "emu", "owl"))
    save_untrained(tmp_path / "mine.safetensors")
    return tmp_path


def train(recipe: str, *words: str, data: str = "photos", code: int = 0) -> None:
    """Train from the model in the folder, and check the exit code."""
    assert main(["train", recipe, "--data", data, "--init", "mine.safetensors", *QUICK, *words]) == code


def test_finetune_fits_the_last_layer_then_trains_all(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json_output(
        capsys, "train", "finetune", "--data", "photos", "--init", "mine.safetensors", *QUICK, "--epochs", "2",
        "--batch", "8", "--out", "run", "--solver.folds", "3",
    )  # fmt: skip
    assert set(record["metrics"]) == {"validation", "test"}
    config = json.loads((place / "run" / "config.json").read_text())["training"]
    assert [stage["epochs"] for stage in config["stages"]] == [1, 2]
    assert [(stage["solver"] or {}).get("folds") for stage in config["stages"]] == [3, None]
    assert config["validation"] == 0.2
    legs = [load_network_classifier(leg) for leg in sorted((place / "run" / "legs").iterdir())]
    probe, whole = (leg.trained.metrics["validation"].numbers["top1"] for leg in legs if leg.trained)
    assert whole >= probe  # the weights of the first leg could be chosen
    trained = provenance(place / "run")
    (chosen,) = trained.solved.values()
    assert (list(trained.solved), chosen.solver, chosen.images) == (["01-probe"], "logistic", 39)
    assert chosen.facts.keys() == {"strength", "scaling", "folds"} and chosen.facts["folds"] == 3
    assert legs[0].trained and legs[0].trained.solved == trained.solved
    assert re.search(
        r"^best on validation \([\d.]+%\), (after epoch [12] of|at the start of) stage all", trained.chosen
    )
    assert trained.recipe["stages"][0]["solver"]["kind"] == "logistic" and trained.init is not None
    solved = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()]
    (solved,) = (event for event in solved if event["event"] == "solved")
    assert solved["facts"]["folds"] == 3 and solved["images"] == 39


def test_support_vector_machines_fit_the_last_layer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("probe", "--solver.kind", "linear-svm", "--solver.grid", "0.001", "0.01", "--out", "run")
    assert "linear-svm was fitted to the features of 48 images: scale " in capsys.readouterr().err
    events = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()]
    (solved,) = (event for event in events if event["event"] == "solved")
    assert set(solved["facts"]) == {"scale", "strength", "scaling", "folds", "losses"}
    assert set(solved["facts"]["losses"]) == {"0.001", "0.01"} and solved["facts"]["folds"] == 5
    solver = provenance(place / "run").recipe["stages"][0]["solver"]
    assert solver == {"kind": "linear-svm", "grid": [0.001, 0.01], "folds": 5, "scaling": "auto"}


def test_a_finished_run_with_other_settings_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("probe", "--out", "run")
    train("probe", "--out", "run")
    train("probe", "--out", "run", "--stages.0.solver.folds", "2", code=2)
    assert "solver.folds: 5 before, 2 now" in capsys.readouterr().err
    assert read_model(place / "run" / "model.safetensors")[1].classes == ("cat", "emu", "owl")


def test_a_dry_run_shows_the_solver(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "finetune", "--data", "photos", "--init", "mine.safetensors", "--dry-run")
    record = json_output(capsys, *words, "--stages.0.solver.grid", "0.01", "0.1")
    first, second = record["training"]["stages"]
    assert (first["solver"]["grid"], first["optimiser"]) == ([0.01, 0.1], None)
    assert second["solver"] is None and second["optimiser"]["kind"] == "sgd"
    assert not (place / "store").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--solver.kind", "magic"), "no solver is named 'magic'"),
        (("--solver.kind", "network-features"), "no solver is named 'network-features'"),
        (("--solver.folds", "0"), "--stages.0.solver.folds is 0; it must be at least 1"),
        (("--solver.kind", "linear-svm", "--solver.folds", "1"), "--stages.0.solver.folds is 1; it must be at least 2"),
        (("--solver.grid", "1", "0.1"), "one or more strengths in ascending order"),
        (("--stages.0.epochs", "2"), "--stages.0.epochs is 2; it must be 1 in a stage of kind solve"),
        (("--stages.1.kind", "solve"), "--stages.1.optimiser is sgd; it must be left out in a stage of kind solve"),
    ],
)
def test_unsuitable_settings_of_a_solver_are_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train("finetune", "--out", "run", *words, code=2)
    assert message in capsys.readouterr().err


def test_few_photos_of_a_class_leave_only_the_first_stage(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(place / "few", 5, ("cat", "emu"))
    train("finetune", "--out", "run", data="few")
    note = "few has fewer than 5 training images of 'cat', 'emu', too few to hold out some for validation"
    assert f"{note}, so only the last layer is fitted and all is skipped" in capsys.readouterr().err
    assert not (place / "run" / "legs").exists() and (place / "run" / "model.safetensors").is_file()
