"""`imclass benchmark`: entries are checked, trained once and compared with the best."""

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import imclass
from imclass.app.acts import outcome
from imclass.app.benchmark.standings import describe_config
from imclass.app.cli import main as command_line
from imclass.app.cli.main import main
from imclass.app.draw.canvas import is_our_picture
from imclass.app.report.write import PAGE
from imclass.app.runs import train as training_runs
from imclass.app.verbs import benchmark as verb
from imclass.core.errors import Interrupted
from imclass.evaluation.measures.comparison import mcnemar_p_value
from imclass.evaluation.measures.intervals import wilson_interval
from imclass.evaluation.results import read_row
from imclass.recipes.finetune import probe
from imclass.recipes.pipelines import folder_deep_svm
from imclass.store.context import open_context
from tests.app.series.test_crossval import Nothing
from tests.support.command import json_output
from tests.support.small import tree

LENET = "mnist-lenet --epochs 1 --batch 8 --pictures false"
BOW = "bow=folder-bow-spm --parts.words.words 3 --pictures false --parts.dense-sift.step 16"
ENTRIES = (LENET, BOW, "constant=mnist-lenet --epochs 1 --batch 8 --schedule.rate 1e-9 --pictures false")
ALL = [*ENTRIES, "--data", "pets", "--out", "all"]


@pytest.fixture(autouse=True)
def no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what a run writes for people."""
    quicken(monkeypatch)


def quicken(patch: pytest.MonkeyPatch) -> None:
    for name in ("Curves", "TensorBoard"):
        patch.setattr(training_runs, name, Nothing)
    patch.setattr(outcome, "write_report", lambda *given: None)
    patch.setattr(verb, "progress_consumer", Nothing)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the finished benchmark of two networks and a pipeline."""
    folder = tmp_path_factory.mktemp("benchmark")
    tree(folder / "pets" / "train", 8, side=32)
    tree(folder / "pets" / "test", 9, side=32)
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch)
        patch.chdir(folder)
        assert main(["benchmark", *ALL]) == 0
        yield folder


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    return home


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the message of a benchmark that cannot begin."""
    capsys.readouterr()
    assert main(["benchmark", *words]) == 2
    return capsys.readouterr().err


def test_every_entry_has_its_accuracy_interval_test_and_time(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json_output(capsys, "benchmark", *ALL)
    found = {one["name"]: one for one in record["standings"]}
    assert set(found) == {"mnist-lenet", "bow", "constant"}
    shares = [one["top1"] for one in record["standings"]]
    assert shares == sorted(shares, reverse=True) and record["standings"][0]["against_best"] is None
    right = {}
    for name, one in found.items():
        row = read_row(place / "all" / name / "scores" / "test.npz")
        right[name] = row.evaluation.scores.argmax(1) == row.evaluation.targets.numpy()
        assert one["top1"] == right[name].mean() and one["images"] == 18
        assert one["top1_interval"] == list(wilson_interval(int(right[name].sum()), 18))
        assert one["training_seconds"] > 0 and one["evaluation_seconds"] > 0 and one["sessions"] == 1
    best = right[record["standings"][0]["name"]]
    for one in record["standings"][1:]:
        this = right[one["name"]]
        alone = int((best & ~this).sum()), int((this & ~best).sum())
        assert one["against_best"]["p_value"] == mcnemar_p_value(*alone)
        assert one["against_best"]["difference"] == pytest.approx(this.mean() - best.mean())
    assert found["mnist-lenet"]["parameters"] == 43_746 and found["bow"]["kind"] == "pipeline"
    assert found["bow"]["what"] == "dense-sift + pyramid + words + normalise + linear-svm"


def test_finished_entries_are_not_trained_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (place / "all" / "benchmark.json").read_bytes()
    capsys.readouterr()
    assert main(["benchmark", *ALL]) == 0
    shown = capsys.readouterr()
    assert "2 of 3: bow is finished" in shown.err and "training mnist" not in shown.err
    assert shown.out.splitlines()[0].split() == (
        ["entry", "top-1", "95%", "interval", "training", "parameters", "model", "minus", "best", "p", "what"]
    )
    assert (place / "all" / "benchmark.json").read_bytes() == before
    assert not (place / "all" / ".computed").exists()


def test_the_markdown_and_the_picture_are_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", *ALL]) == 0
    page = (place / "all" / "benchmark.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and len({row.count("|") for row in rows}) == 1
    assert f"    {shlex.join(['imclass', 'benchmark', *ALL])}\n" in page
    assert "Measured on: " in page and "torch " in page and "![top-1 and training time](benchmark.png)" in page
    assert is_our_picture(place / "all" / "benchmark.png")


def test_a_finished_run_is_an_entry_with_the_time_of_its_log(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json_output(capsys, "benchmark", "all/bow", "net=all/mnist-lenet", "--out", "two")
    found = {one["name"]: one for one in record["standings"]}
    assert set(found) == {"bow", "net"}
    assert all(one["training_seconds"] > 0 and one["sessions"] == 0 for one in found.values())
    shutil.rmtree(place / "two")


def test_an_interrupted_entry_goes_on_and_its_sessions_add_up(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["benchmark", LENET, "--data", "pets", "--out", "stopped"]
    run_job = verb.run_job

    def stop(job: Any, show: Any, watching: Any) -> None:
        raise Interrupted("stopped at step 1; saved")

    monkeypatch.setattr(verb, "run_job", stop)
    assert main(words) == 75
    assert f"To resume: imclass {shlex.join(words)}" in capsys.readouterr().err
    monkeypatch.setattr(verb, "run_job", run_job)
    record = json_output(capsys, *words)
    assert record["standings"][0]["sessions"] == 2
    assert main(words) == 0
    assert "include all sessions of runs that were interrupted (mnist-lenet)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["folder-fischer"], "no recipe is named 'folder-fischer'; did you mean 'folder-fisher'?"),
        ([LENET, "b=mnist-lenet --epoch 3"], "unknown option --epoch; did you mean '--epochs'?"),
        ([LENET, "b=mnist-lenet --epochs 0"], "epochs is 0"),
        ([LENET, LENET], "two entries are called 'mnist-lenet'; give one of them a name"),
        (["mnist-lenet --out x"], "an entry cannot have the option --out"),
        (["mnist-lenet --data x"], "an entry cannot have the option --data; give it once"),
        ([LENET, "b=mnist-lenet --classes cat=puppy dog"], "for b, its classes differ: 'cat', 'puppy'"),
        ([], "ENTRY is missing"),
    ],
)
def test_errors_are_found_before_any_entry_is_trained(
    entries: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, *entries, "--data", "pets", "--out", "new")
    assert not (place / "new").exists()


def test_entries_with_other_test_images_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = "b=mnist-lenet --split-seed 1"
    message = refusal(capsys, LENET, more, "--data", "pets/test", "--out", "new")
    assert "the entries mnist-lenet and b cannot be compared: for b, it has" in message


def test_other_folders_and_runs_that_are_not_finished_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "all/bow is a run; choose another folder" in refusal(capsys, LENET, "--data", "pets", "--out", "all/bow")
    assert "is not a benchmark" in refusal(capsys, LENET, "--data", "pets", "--out", "pets")
    assert "begun with a different configuration" in refusal(
        capsys, LENET.replace("batch 8", "batch 4"), "--data", "pets", "--out", "all"
    )
    (place / "half").mkdir()
    (place / "half" / "config.json").write_text("{}")
    assert "the run half is not finished" in refusal(capsys, "half", "--out", "new")


def test_many_processes_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "torchrun started several" in refusal(capsys, *ALL)
    monkeypatch.setattr(command_line, "wait_for_first", lambda: True)
    assert refusal(capsys, *ALL) == ""


def test_a_model_is_described_by_what_differs_from_its_table() -> None:
    context = open_context()
    wide = imclass.configure("mnist-lenet", epochs=3, override={"model.widths": (4, 8)})
    assert describe_config(wide, context, {}) == "lenet-5, widths 4 8, 28 pixels, 3 epochs"
    assert describe_config(wide, context, {"stages.0.epochs": 1}).endswith(", 1 epoch")  # with `minutes`
    assert describe_config(replace(probe(), init="m"), context, {}) == "m, last layer by logistic"
    assert describe_config(folder_deep_svm(init="m"), context, {}) == "m, network-features + linear-svm"


def test_no_report_is_needed(place: Path) -> None:
    assert not (place / "all" / "bow" / PAGE).exists()  # `quicken` left it out
    assert json.loads((place / "all" / "benchmark.json").read_text())["format"] == 1
