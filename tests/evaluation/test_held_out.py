"""The images that a model is scored on: those held out of its training, all of other data, or the split named."""

import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imclass.app.cli.main import main
from imclass.data.walk import Walk
from tests.support.small import picture, provenance, save_untrained, training_files, tree


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with a model that was trained on the folder "pets", and with another folder."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "pets")
    tree(tmp_path / "others", per_class=5, side=16)
    assert main(shlex.split("train mnist-lenet --data pets --split-seed 3 --epochs 1 --batch 8 --out run")) == 0
    return tmp_path


def evaluate_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return the record of an evaluation."""
    capsys.readouterr()
    assert main(["evaluate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_part_held_out_of_training_is_scored(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = evaluate_json(capsys, "run")
    assert record["total"] == 4
    assert record["data"] == f"split test of {place / 'pets'} (held out of training: hash 80/20, seed 3)"
    for data in ("pets", "./pets", str(place / "pets")):
        assert evaluate_json(capsys, "run", "--data", data)["confusion"] == record["confusion"]
    for words, counts in (
        (("--split", "train"), (16, 0, 16, 16)),  # of the model's training images, by name: they are asked for
        (("--split", "all"), (4, 16, 0, 20)),
        (("--split", "test"), (4, 0, 0, 4)),
        (("--split", "all", "--trained", "include"), (20, 0, 16, 20)),
        (("--data", "others", "--split", "all"), (10, 0, 0, 10)),
    ):
        found = evaluate_json(capsys, "run", *words)
        assert tuple(found[key] for key in ("evaluated", "left_out", "trained_on", "total")) == counts
    kept = provenance(place / "run").metrics["test"].numbers
    assert {key: record[key] for key in ("top1", "loss", "total")} == {k: kept[k] for k in ("top1", "loss", "total")}


def test_all_of_another_folder_is_scored(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = evaluate_json(capsys, "run", "--data", "others")
    assert record["total"] == 10
    assert record["data"] == "all images of others"


def test_the_data_is_found_from_another_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")  # which has no folder "pets"
    assert evaluate_json(capsys, "../run")["total"] == 4


def test_the_files_are_listed_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    roots = list[Path]()

    class Counted(Walk):
        def __init__(self, root: Path) -> None:
            roots.append(root.resolve())
            super().__init__(root)

    monkeypatch.setattr("imclass.data.sets.folder.Walk", Counted)
    for words, folder in (
        ("run", "pets"), ("run --split test", "pets"), ("run --split all", "pets"), ("run --data others", "others"),
    ):  # fmt: skip
        evaluate_json(capsys, *words.split())
        assert roots == [place / folder]
        roots.clear()


def test_data_that_is_gone_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "pets").rename(place / "moved")
    assert main(["evaluate", "run"]) == 2
    assert (
        f"run was trained on {place / 'pets'}, which no longer exists; specify a data set or a folder with --data"
        in capsys.readouterr().err
    )


def test_ignored_files_are_noted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "others" / "cat" / "notes.svg").touch()
    capsys.readouterr()
    assert main(["evaluate", "run", "--data", "others"]) == 0
    error = capsys.readouterr().err
    assert "note: ignored 1 files" in error and "(1 .svg): 'cat/notes.svg'" in error


def test_a_moved_folder_is_known_by_its_content(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "pets").rename(place / "moved")
    record = evaluate_json(capsys, "run", "--data", "moved")
    assert record["total"] == 4
    assert (
        record["data"].startswith("split test of moved (held out of training")
        and "this data contains" in record["data"]
    )
    held_out = set((place / "moved").rglob("*.png")) - training_files(place / "moved")
    for path in held_out:
        path.write_bytes(picture_bytes(1_001))
    assert evaluate_json(capsys, "run", "--data", "moved")["total"] == 4  # all training images are still there
    min(training_files(place / "moved")).write_bytes(picture_bytes(1_000))  # no other image has this content
    record = evaluate_json(capsys, "run", "--data", "moved")  # now it is other data, training images apart
    assert (record["data"], record["evaluated"], record["left_out"]) == ("all images of moved", 5, 15)


def picture_bytes(seed: int) -> bytes:
    """Return a picture as the content of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture(seed)).save(stream, "PNG")
    return stream.getvalue()


def test_training_images_stay_out_of_the_score_after_files_were_removed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = training_files(place / "pets")
    for path in set((place / "pets" / "cat").iterdir()) - before:
        path.unlink()
    moved = before - training_files(place / "pets")  # now held out by the rule
    record = evaluate_json(capsys, "run")
    assert len(moved) == 2 and (record["left_out"], record["evaluated"], record["total"]) == (2, 2, 4)


def test_a_validation_split_is_scored_if_there_is_no_test_split(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(place / "parted" / "train")
    tree(place / "parted" / "val", per_class=3)
    record = evaluate_json(capsys, "run", "--data", "parted")
    assert (record["data"], record["total"]) == ("split validation of parted", 6)
    tree(place / "parted" / "test", per_class=2)
    assert evaluate_json(capsys, "run", "--data", "parted")["data"] == "split test of parted"


def test_a_training_split_is_scored_only_on_request(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(place / "alone" / "train")
    assert main(["evaluate", "run", "--data", "alone"]) == 2
    assert "alone has only a training split; use --split train" in capsys.readouterr().err
    assert evaluate_json(capsys, "run", "--data", "alone", "--split", "train")["total"] == 20


def test_tables_and_the_confusion_matrix(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "run", "--plot", "confusion.png"]) == 0
    printed = capsys.readouterr()
    assert "4 of 4 evaluated" in printed.out and "cat" in printed.out
    assert f"evaluating split test of {place / 'pets'}" in printed.err
    with Image.open(place / "confusion.png") as drawn:
        assert drawn.format == "PNG"


def test_a_model_alone_may_be_evaluated_on_named_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_untrained(tmp_path / "model.safetensors", tuple("0123456789"))
    record = evaluate_json(capsys, str(tmp_path / "model.safetensors"), "--data", "mnist-sample")
    assert (record["data"], record["total"]) == ("split test of mnist-sample", 2000)


def test_weights_are_fitted_to_the_share_that_was_cut(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a member is refused if it was trained on the images that are fitted to."""
    train = "train mnist-lenet --data pets --epochs 1 --batch 4 --validation 0.25"
    for words in ("--out a", "--out b --seed 1", "--out other --validation 0.5"):
        assert main(shlex.split(f"{train} {words}")) == 0
    fit = ["--weights", "fit", "--split", "test"]
    record = evaluate_json(capsys, "a", "b", *fit)
    assert "split test of" in json.dumps(record) and '"total": 4' in json.dumps(record)
    assert main(["evaluate", "a", "other", *fit]) == 2
    assert "a and other were trained with different validation images" in capsys.readouterr().err
    assert main(shlex.split("train mnist-lenet --data pets --epochs 1 --batch 4 --out none")) == 0
    assert main(["evaluate", "a", "none", *fit]) == 2
    assert "has no validation split to fit to (it has train, test)" in capsys.readouterr().err


def test_weights_are_fitted_beside_a_model_of_other_data(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("train mnist-lenet --data pets --epochs 1 --batch 4 --validation 0.25 --out a")) == 0
    save_untrained(place / "other.safetensors", ("cat", "dog"))
    record = evaluate_json(capsys, "a", "other.safetensors", "--weights", "fit", "--split", "test")
    assert '"total": 4' in json.dumps(record)


def test_no_share_is_cut_from_other_data(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("train mnist-lenet --data pets --epochs 1 --batch 4 --validation 0.25 --out cut")) == 0
    assert evaluate_json(capsys, "cut", "--data", "others")["total"] == 10
    tree(place / "parted" / "train", per_class=5)
    tree(place / "parted" / "val", per_class=3)
    assert evaluate_json(capsys, "cut", "--data", "parted")["data"] == "split validation of parted"
    (place / "pets").rename(place / "moved")
    record = evaluate_json(capsys, "cut", "--data", "moved")
    assert record["total"] == 4 and "this data contains the images that the model was trained on" in record["data"]
    assert evaluate_json(capsys, "cut", "--data", "moved", "--split", "validation")["total"] == 4


@pytest.mark.parametrize(
    ("parts", "words", "fix"),
    [
        (("validation",), [], "train with --validation 0.1 to have images to fit to, or leave out --temperature"),
        (("validation", "test"), ["--split", "validation"], "score another split with --split test"),
        (("test",), [], "train with --validation 0.1, or leave out --temperature"),
        ((), [], "train with --validation 0.1, or leave out --temperature"),
    ],
)
def test_advice_on_fitting_suits_the_data(
    parts: tuple[str, ...], words: list[str], fix: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, part in enumerate(parts and ("train", *parts)):
        tree(place / "photos" / part, per_class=8, side=12 + i)  # no image is in two parts
    data = "photos" if parts else "others"
    assert main(shlex.split(f"train mnist-lenet --data {data} --epochs 1 --batch 4 --out fitting")) == 0
    capsys.readouterr()
    assert main(["evaluate", "fitting", "--temperature", *words]) == 2
    assert fix in " ".join(capsys.readouterr().err.split())
    if "--split test" in fix:
        assert main(["evaluate", "fitting", "--temperature", "--split", "test"]) == 0
    else:
        assert (
            main(shlex.split(f"train mnist-lenet --data {data} --epochs 1 --batch 4 --validation .25 --out cut")) == 0
        )
        assert main(["evaluate", "cut", "--temperature"]) == 0
