"""Runs on uneven classes: weights, a sampler and costs, the measure that chooses, and lists of images."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from imclass.app.api import train
from imclass.app.cli.main import main
from imclass.app.text.training import training_summary
from imclass.core.model_file import read_model
from imclass.training.events import StepEnd
from tests.support.small import digest, save_untrained, tree

COMMAND = "train mnist-lenet --validation 0.25 --epochs 2 --batch 8 --out run --data"
LIST = "image,labels\npets/cat/000.png,cat\npets/cat/001.png,dog;cat\npets/cat/002.png,dog\npets/cat/003.png,dog\n"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write 24 cats and 4 dogs."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", 4)
    tree(tmp_path / "pets", 24, ("cat",))
    return tmp_path


def run(words: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> tuple[str, str]:
    """Run a command. Return its output and its messages."""
    assert main(shlex.split(words)) == code
    out, err = capsys.readouterr()
    return out, err


def settings(**choices: Any) -> dict[str, Any]:
    return {"data": "pets", "epochs": 2, "batch": 8, "workers": 0, "pictures": False, **choices}


def test_each_way_of_balancing_gives_another_model(tmp_path: Path) -> None:
    choices: list[dict[str, Any]] = [{}, {"balance": "weights"}, {"balance": "sampler"}, {"override": {"costs.dog": 5}}]
    found = set()
    for number, choice in enumerate(choices):
        list(train("mnist-lenet", tmp_path / str(number), **settings(epochs=1), **choice))
        found.add(digest(tmp_path / str(number)))
    assert len(found) == 4


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    more: dict[str, Any] = {"balance": "sampler", "override": {"costs.dog": 2}}
    list(train("mnist-lenet", tmp_path / "whole", **settings(), **more))
    events = train("mnist-lenet", tmp_path / "part", **settings(save_every=0), **more)
    next(event for event in events if isinstance(event, StepEnd) and event.at.step == 5)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    list(train("mnist-lenet", tmp_path / "part", **settings(workers=1, memory=0), **more))
    assert digest(tmp_path / "part") == digest(tmp_path / "whole")


def test_with_balance_the_balanced_accuracy_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    """Check the choice, and that the settings are part of the config."""
    out, err = run(f"{COMMAND} pets --balance weights --costs.dog 5", capsys)
    events = map(json.loads, Path("run/log.jsonl").read_text().splitlines())
    shares = [event["balanced"] for event in events if event["event"] == "evaluated" and event["split"] == "validation"]
    chosen = f"best balanced accuracy on validation ({100 * max(shares):.2f}%)"
    assert len(shares) == 2 and f"finished: run/model.safetensors ({chosen}" in out and "count equally" not in err
    trained = read_model(Path("run/model.safetensors"))[1].trained
    assert trained is not None and trained.chosen.startswith(chosen)
    recorded = json.loads(Path("run/config.json").read_text())["training"]
    assert recorded["balance"] == "weights" and recorded["costs"] == {"dog": 5.0}
    _, err = run(f"{COMMAND} pets --costs.dog 4", capsys, 2)
    assert "balance: weights before, none now" in err and "costs.dog: 5.0 before, 4.0 now" in err


def test_uneven_classes_are_noted_and_their_balanced_accuracy_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(f"{COMMAND} pets", capsys)
    assert "'cat' has 14 training images, and 'dog' only 2; with --balance weights, both count equally" in err
    test = next(line for line in out.splitlines() if line.startswith("test"))
    assert "top-1 " in test and ", balanced accuracy " in test and "(best on validation (" in out
    assert "Balanced accuracy" in Path("run/report.html").read_text()
    record = json.loads(run("evaluate run --json", capsys)[0])
    assert 0 <= record["balanced"] == record["rows"][0]["balanced"] <= 1 and "macro_f1" in record
    Path("copy").mkdir()
    Path("copy/model.safetensors").write_bytes(Path("run/model.safetensors").read_bytes())
    out, _ = run("evaluate run copy --weights none", capsys)
    assert "\nbalanced accuracy " in out and ", macro F1 " in out
    assert out.splitlines()[0].startswith("run") and ", balanced accuracy " in out.splitlines()[0]


def test_even_classes_are_not_noted(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("pets"), 20, ("dog",))
    assert "--balance" not in run(f"{COMMAND} pets --dry-run", capsys)[1]
    scores = {"test": {"top1": 0.5, "balanced": 0.4, "loss": 1.0, "evaluated": 6, "total": 6}}
    record = {"metrics": scores, "chosen": "last step", "chosen_on": "", "refused": [], "model": "m"}
    assert "balanced accuracy" not in training_summary(record)
    shown = "top-1 50.00%, balanced accuracy 40.00%, cross-entropy"
    assert shown in training_summary(record, ["test"])
    assert shown in training_summary(record | {"chosen": "best balanced accuracy on validation (1%)"})


def test_a_solver_in_a_run_with_a_sampler_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    save_untrained(Path("first.safetensors"))
    words = "train probe --data pets --init first.safetensors --precision fp32 --dry-run --balance"
    note = "the solver of stage probe uses each image once, so it weights classes instead"
    assert note in run(f"{words} sampler", capsys)[1] and note not in run(f"{words} weights", capsys)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pets --costs.dgo 5", "--costs.dgo: pets has no class 'dgo'; did you mean 'dog'?"),
        ("pets --costs.dog 0", "--costs.dog is 0.0; it must be above 0"),
        ("pets --costs.dog much", "--costs.dog is 'much'; it must be a finite number"),
        ("pets --balance often", "--balance is 'often'; it must be one of 'none', 'weights', 'sampler'"),
        ("pets --class-weights balanced", "--balance weights gives rare classes more weight in the loss"),
        ("list.csv --balance weights", "--balance needs images with one label each, but the images of list.csv may"),
        ("list.csv --balance sampler", "use --validation 0.2, which fits a threshold for each class"),
        ("list.csv --costs.dog 5", "--costs needs images with one label each"),
    ],
)
def test_a_mistake_is_found_before_work_starts(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.csv").write_text(LIST)
    assert message in run(f"{COMMAND} {words}", capsys, 2)[1] and not Path("run").exists()


def test_the_name_of_a_class_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    tree(Path("pets"), 4, ("my-dog_2.x",))
    out, _ = run(f"{COMMAND} pets --costs.my-dog_2.x 5 --dry-run --json", capsys)
    assert json.loads(out)["training"]["costs"] == {"my-dog_2.x": 5.0}


def test_a_list_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{path} {int(path.parent.name == 'dog')}" for path in sorted(Path("pets").rglob("*.png"))]
    Path("list.txt").write_text("\n".join(lines))
    out, _ = run("data check list.txt --json", capsys)
    assert '"0"' in out and '"1"' in out
    run(f"{COMMAND} list.txt --dry-run", capsys)
