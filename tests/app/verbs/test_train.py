"""The verb `train`: refused images are counted at the end, and a stop is explained."""

import json
import shlex
from pathlib import Path

import pytest

from imclass.app.cli.main import main
from tests.support.small import digest, fingerprint, training_files, tree


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a run trained on the folder "pets", and another folder."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    tree(tmp_path / "others", per_class=5)
    assert main(shlex.split("train mnist-lenet --data pets --split-seed 3 --epochs 1 --batch 8 --out run")) == 0
    return tmp_path


def test_refusals_are_counted_at_the_end_and_when_the_run_is_finished(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = sorted(set((place / "pets").rglob("*.png")) - training_files(place / "pets"))[0]
    bad.write_bytes(b"")
    words = shlex.split("train mnist-lenet --data pets --split-seed 3 --epochs 1 --batch 8 --out refusing")
    capsys.readouterr()
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "; 3 of 4 evaluated, 1 refused" in text and "refused in total: 1 file\n" in text
    assert main(words) == 1  # the run is finished, and its refusals still count
    assert "; 3 of 4 evaluated, 1 refused" in capsys.readouterr().out
    assert main([*words[:-1], "run"]) == 0  # this run finished before the image was damaged


def test_refused_training_images_are_counted_again_when_the_run_is_finished(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sorted(training_files(place / "pets"))[0].write_bytes(b"")
    words = shlex.split("train mnist-lenet --data pets --split-seed 3 --epochs 1 --batch 8 --out refusing")
    for _ in range(2):
        capsys.readouterr()
        assert main(words) == 1
        assert "refused in total: 1 file\n" in capsys.readouterr().out


def test_removing_the_checkpoints_of_a_finished_run_is_noted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split("train mnist-lenet --data pets --epochs 1 --batch 8 --out")
    note = "note: the checkpoints of the finished run were removed; to keep them, pass --keep-checkpoints"
    for out, more in (("removing", []), ("keeping", ["--keep-checkpoints"])):
        capsys.readouterr()
        assert main([*words, out, *more]) == 0
        assert capsys.readouterr().err.count(note) == 1 - len(more)
        assert (place / out / "checkpoints").is_dir() == bool(more)
        assert main([*words, out]) == 0  # the run is finished, with or without them
        shown = capsys.readouterr()
        assert "training" not in shown.err and "checkpoints" not in shown.err
        assert f"finished: {out}/model.safetensors (last step)" in shown.out


DIVERGING = "train mnist-lenet --data pets --epochs 1 --batch 1 --schedule.rate 1e6 --schedule.kind constant --out bad"


def test_training_that_diverges_stops_with_the_step_and_its_images(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(DIVERGING)) == 2
    message = capsys.readouterr().err.partition("imclass: ")[2]
    assert "is not finite, so training stopped" in message and "Lower --schedule.rate" in message
    assert message.count(".png") == 1
    assert "checkpoints" not in message and "another --out" not in message  # the folder holds no work yet
    assert not (place / "bad" / "model.safetensors").exists()


def test_steps_that_diverge_may_be_skipped(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*shlex.split(DIVERGING), "--nonfinite", "skip"])
    assert "training stopped" not in capsys.readouterr().err
    events = [json.loads(line) for line in (place / "bad" / "log.jsonl").read_text().splitlines()]
    assert any(event["event"] == "non_finite" and event["action"] == "skip" for event in events)
    assert max(event["step"] for event in events) == 16


RUN = shlex.split("train mnist-lenet --epochs 2 --batch 8")


def test_a_run_inside_its_data_resumes_and_is_never_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree(tmp_path / "pets"))
    assert main([*RUN, "--data", "."]) == 0
    assert "note: the run runs/mnist-lenet is inside the data folder" in capsys.readouterr().err
    (tmp_path / "pets" / "runs" / "mnist-lenet" / "model.safetensors").unlink()  # stopped just before its end
    assert main([*RUN, "--data", "."]) == 0
    assert "ignored 1 folders of imclass runs: 'runs/mnist-lenet'" in capsys.readouterr().err
    assert main(["evaluate", "runs/mnist-lenet", "--plot", "runs/confusion.png", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["total"] == 4 and "has changed" not in record["data"]
    assert main(["data", "check", ".", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["cat", "dog"]


def test_a_run_in_a_class_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree(tmp_path / "pets"))
    assert main([*RUN, "--data", ".", "--out", "cat/runs/a"]) == 2
    assert "--out cat/runs/a is in the folder with the images of class 'cat'" in capsys.readouterr().err
    assert main([*RUN, "--data", ".", "--out", "../cat"]) == 0  # outside of the data
    assert "is inside the data folder" not in capsys.readouterr().err
    for part in ("train", "test"):
        tree(tmp_path / "birds" / part, classes=("emu", "owl"))
    assert main([*RUN, "--data", "../birds", "--out", "../birds/train/owl/run"]) == 2
    assert main([*RUN, "--data", "../birds", "--out", "../birds/train/run"]) == 0


def unreadable(path: Path) -> None:
    for file in path.rglob("*.png"):
        file.write_bytes(b"")


@pytest.mark.parametrize("words", [["--dry-run"], ["--precision", "auto"]])
def test_unreadable_splits_are_found_before_the_first_step(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unreadable(tree(tmp_path / "none"))
    tree(tmp_path / "held" / "train")
    unreadable(tree(tmp_path / "held" / "test"))
    tree(tmp_path / "one", per_class=1)
    for data, why in (("none", "class 'cat' of"), ("held", "split 'test' of"), ("one", "it has no images")):
        assert main([*RUN[:-1], "2", "--data", data, "--out", f"run-{data}", *words]) == 2
        message = capsys.readouterr().err
        assert why in message and "cannot be" in message and not Path(f"run-{data}").exists()


def test_a_folder_named_like_the_data_set_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for exists in (False, True):
        assert main(["train", "mnist-lenet", "--dry-run"]) == 0
        assert ("to read the folder, give ./mnist-sample" in capsys.readouterr().err) is exists
        (tmp_path / "mnist-sample").mkdir(exist_ok=True)


CROPS = "train mnist-lenet --data pets --batch 8 --epochs 1 --augment crop flip --augment.crop.shorter"


def test_crops_give_the_same_bits_with_any_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets", side=20)  # the images are enlarged
    for workers in ("0", "1", "2"):
        assert main(shlex.split(f"{CROPS} 28 40 --workers {workers} --out run{workers}")) == 0
    assert main(shlex.split(f"{CROPS} 34 34 --out other")) == 0
    assert digest(tmp_path / "run0") == digest(tmp_path / "run1") == digest(tmp_path / "run2")
    assert digest(tmp_path / "other") != digest(tmp_path / "run0")
    config = json.loads((tmp_path / "run0/config.json").read_text())
    crop = {"kind": "crop", "shorter": [28.0, 40.0], "square": False}
    assert config["training"]["stages"][0]["augment"] == [crop, {"kind": "flip", "probability": 0.5}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("20 40", "--augment.crop.shorter 20 40 begins below --preprocess.size 28: the crop would not fit; "
                  "use --augment.crop.shorter 28 40 or more"),
        ("20 20", "use --augment.crop.shorter 28 28 or more"),
        ("40 30", "--augment.crop.shorter is 40 30; it must be a low and a high value in whole pixels, low <= high"),
        ("28.5 30", "--augment.crop.shorter is 28.5 30; it must be a low and a high value in whole pixels"),
        ("28", "--augment.crop.shorter is"),
    ],
)  # fmt: skip
def test_crops_that_do_not_fit_are_refused_before_anything_is_written(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = fingerprint(tree(tmp_path / "pets").parent)
    assert main(shlex.split(f"{CROPS} {words}")) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("imclass: ") and printed.count("\n") == 1 and message in printed
    assert fingerprint(tmp_path) == before
