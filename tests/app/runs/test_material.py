"""The data of a run: the share of train that chooses the weights, and choices that adapt to the data."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.api import train
from imclass.app.cli.main import main
from imclass.app.runs.material import check_solvable
from imclass.app.settings.configure import configure
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.targets import AnyOf
from imclass.data.arrays import ArrayDataset
from imclass.pipelines.solvers.logistic import LogisticSolver
from imclass.training.events import Evaluated
from imclass.training.state import State
from tests.support.small import digest, provenance, tree

RUN = "train mnist-lenet --data pets --batch 8 --epochs 2 --out run"
# A plugin's recipe with a share for validation
RECIPE = """
from dataclasses import replace
from imclass.recipes.mnist import RECIPES as OURS

RECIPES = {"careful": lambda: replace(OURS["mnist-lenet"](), recipe="careful", validation=0.25)}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_splits(**counts: int) -> Path:
    """Make a tree that has its own splits, with these numbers of images a class."""
    for part, count in counts.items():
        tree(Path("pets") / part, per_class=count)
    return Path("pets")


def scorings(run: str = "run") -> list[tuple[int, str]]:
    """Return epoch and split of each scoring in a run's log."""
    records = map(json.loads, (Path(run) / "log.jsonl").read_text().splitlines())
    return [(r["epoch"], r["split"]) for r in records if r["event"] == "evaluated"]


def test_validation_is_scored_each_epoch_and_test_once(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("pets"), per_class=20)
    assert main(shlex.split(f"{RUN} --validation 0.25")) == 0
    assert scorings() == [(0, "validation"), (1, "validation"), (2, "test")]
    printed = capsys.readouterr().out
    assert "validation, used to choose the weights: top-1" in printed and "8 of 8 evaluated" in printed
    header = provenance(Path("run"))
    assert header.data is not None and header.data.cut.validation == 0.25
    assert header.data.splits == ("train", "validation", "test")
    assert header.chosen.startswith("best on validation") and header.chosen_on == "validation"
    assert set(header.metrics) == {"validation", "test"}
    assert main(["evaluate", "run", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["data"].startswith("split test of") and record["top1"] == header.metrics["test"].measures["top1"]
    assert "chosen on these images" not in record["data"]


def test_without_a_share_test_is_scored_each_epoch_and_not_again() -> None:
    tree(Path("pets"), per_class=20)
    events = list(train("mnist-lenet", "run", data="pets", batch=8, epochs=2))
    seen = [event for event in events if isinstance(event, Evaluated)]
    assert [event.split for event in seen] == ["test", "test"]
    kept = provenance(Path("run")).metrics
    assert kept["test"].measures["loss"] == seen[-1].result.measures["loss"] and kept["test"].total == 8


def test_the_kept_weights_are_those_that_are_scored_on_test() -> None:
    tree(Path("pets"), per_class=20)
    events = [e for e in train("mnist-lenet", "run", data="pets", batch=8, epochs=4, validation=0.25)]
    seen = [event for event in events if isinstance(event, Evaluated)]
    assert [event.split for event in seen] == ["validation"] * 4 + ["test"]
    best = max(event.result.measures["top1"] for event in seen[:-1])
    kept = provenance(Path("run")).metrics
    assert (
        kept["validation"].measures["top1"] == best
        and kept["test"].measures["loss"] == seen[-1].result.measures["loss"]
    )


def test_scores_from_before_a_kill_are_in_the_log_once() -> None:
    tree(Path("pets"), per_class=20)
    command = shlex.split(f"{RUN} --validation 0.25")
    assert main(command) == 0
    before, header = digest(Path("run")), provenance(Path("run"))
    Path("run/model.safetensors").unlink()  # as if the process had been killed before the model was written
    assert main(command) == 0
    assert scorings() == [(0, "validation"), (1, "validation"), (2, "test")]
    assert digest(Path("run")) == before and provenance(Path("run")).metrics == header.metrics


def test_another_share_is_another_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("pets"), per_class=20)
    assert main(shlex.split(f"{RUN} --validation 0.25")) == 0
    assert main(shlex.split(f"{RUN} --validation 0.5")) == 2
    assert "validation: 0.25 before, 0.5 now" in capsys.readouterr().err


def test_a_tree_s_validation_split_is_reported_if_it_has_no_test_split(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_splits(train=20, val=5)
    assert main(shlex.split(f"{RUN} --validation 0.25")) == 0
    printed = capsys.readouterr()
    assert "pets has a validation split but no test split: the validation split is reported as test" in printed.err
    assert "25% of train is held out for validation" in printed.err
    assert "test: top-1" in printed.out and scorings()[-1] == (2, "test")
    page = Path("run/report.html").read_text()
    assert "held-out folder" in page and "chosen on these images" not in page
    assert main(["evaluate", "run", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["data"].startswith("split test of") and record["total"] == 10


def test_a_tree_with_both_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    make_splits(train=20, val=5, test=5)
    assert main(shlex.split(f"{RUN} --validation 0.25")) == 2
    errors = capsys.readouterr().err
    assert "pets comes with a validation split and a test split, so --validation 0.25 cannot be used" in errors
    assert not Path("run").exists()
    with pytest.raises(UserError, match="cannot be used"):
        train("mnist-lenet", "run", data="pets", batch=8, validation=0.25)
    Path("plugins").mkdir()
    Path("plugins/careful.py").write_text(RECIPE)
    recipe = "train careful --plugins plugins --data pets --batch 8 --epochs 1 --out careful"
    assert main(shlex.split(recipe)) == 0
    errors = capsys.readouterr().err
    assert "pets comes with a validation split, which is used instead of the recipe's 25% of train" in errors
    record = json.loads(Path("careful/config.json").read_text())
    assert record["training"]["validation"] == 0.0 and scorings("careful") == [(0, "validation"), (1, "test")]
    assert main(shlex.split(recipe)) == 0  # it is the same run


def test_a_report_on_images_that_chose_the_weights_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_splits(train=20)
    monkeypatch.setattr(State, "describe_chosen", lambda self, leg: "other words")  # the remarks do not depend on them
    assert main(shlex.split(f"{RUN} --validation 0.25")) == 0
    assert provenance(Path("run")).chosen_on == "validation"
    assert "validation, used to choose the weights: top-1" in capsys.readouterr().out
    page = Path("run/report.html").read_text()
    assert "The weights were chosen on these images" in page
    assert "25% of each class, " in page
    capsys.readouterr()
    assert main(["evaluate", "run", "--json"]) == 0
    assert "the weights were chosen on these images" in json.loads(capsys.readouterr().out)["data"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--validation 1", "--validation is 1.0; it must be at least 0 and below 1"),
        ("--validation -.1", "--validation is -0.1; it must be at least 0 and below 1"),
        ("--validation", "--validation needs a value"),
        ("--schedule.kind plateau", "hold out part of train with --validation 0.1"),
    ],
)
def test_an_impossible_share_is_refused(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("pets"))
    assert main(shlex.split(f"{RUN} {words}")) == 2
    assert message in capsys.readouterr().err


def test_one_image_a_class_leaves_nothing_for_validation(capsys: pytest.CaptureFixture[str]) -> None:
    make_splits(train=1)
    words: Any = f"{RUN} --validation 0.5 --batch 1"
    assert main(shlex.split(words)) == 2
    assert "one training image per class, which leaves nothing for validation" in capsys.readouterr().err


def notes(capsys: pytest.CaptureFixture[str], words: str) -> str:
    """Return the notes of a dry run."""
    assert main(shlex.split(f"train {words} --data pets --dry-run")) == 0
    return capsys.readouterr().err


def test_a_recipe_s_batch_is_reduced_to_few_images_and_a_user_s_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("pets"), per_class=10)
    assert "note: the recipe's batch of 64 is reduced to 16, the number of training images" in notes(
        capsys, "mnist-lenet"
    )
    assert main(shlex.split("train mnist-lenet --data pets --batch 17 --dry-run")) == 2
    message = "--batch 17 is larger than the number of training images (16); choose a smaller batch"
    assert message in capsys.readouterr().err
    assert main(shlex.split("train mnist-lenet --data pets --stages.0.batch 17 --dry-run")) == 2
    assert main(shlex.split("train mnist-lenet --data pets --epochs 1 --out few")) == 0
    record = json.loads(Path("few/config.json").read_text())
    assert record["training"]["stages"][0]["batch"] == 16
    capsys.readouterr()
    assert main(shlex.split("train mnist-lenet --data pets --epochs 1 --out few")) == 0  # the same run


def test_choices_that_are_likely_to_give_poor_results_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("pets"), per_class=10)
    long = "mnist-lenet --batch 4 --epochs 3 --schedule.warmup"
    assert "the warm-up takes 5 of 12 steps" in notes(capsys, f"{long} 5")
    assert "--schedule.warmup 1 would take a tenth" in notes(capsys, f"{long} 13")
    assert "warm-up" not in notes(capsys, f"{long} 4")
    assert "warm-up" not in notes(capsys, f"{long} 13 --schedule.warmup-share 0.3")
    few = (
        "16 training images are few for a network with random weights. Start from trained weights with "
        "--init googlenet:bvlc, other weights from `imclass weights`, or one of your models"
    )
    assert few in notes(capsys, long.removesuffix(" --schedule.warmup"))
    assert main(shlex.split("train mnist-lenet --dry-run")) == 0
    assert "few" not in capsys.readouterr().err


def test_a_solver_needs_images_with_a_class() -> None:
    origin = Origin("photos", "/photos", "published")
    marks = AnyOf(np.zeros((3, 2), np.int8))
    train = ArrayDataset(np.zeros((3, 4, 4, 1), np.uint8), marks, ("cat", "dog"), ("train",), "train", origin)
    config = replace(configure("mnist-lenet"), data="photos", init="old.safetensors", grow=True)
    with pytest.raises(UserError, match=r"^photos has training images of no class, and the solver logistic needs"):
        check_solvable(LogisticSolver(), config, train)
