"""The verb `data` lists, checks and exports data sets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imclass.app.acts.data import audit_dataset, balanced_order
from imclass.app.cli.main import main
from imclass.data.catalog import open_splits
from imclass.data.images.decode import decode
from imclass.data.source import LazySplits
from imclass.store.context import open_context
from tests.support.command import json_output, text
from tests.support.small import fingerprint, lock, tree


def test_data_sets_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json_output(capsys, "data")}
    assert rows["mnist"]["download"] and not rows["mnist-sample"]["download"]
    assert json_output(capsys, "data", "mnist") == rows["mnist"]
    assert "splits: train, test" in text(capsys, "data", "mnist").splitlines()


def test_check_names_unusable_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets")
    record = json_output(capsys, "data", "check", str(pets))
    assert record["images"] == {"train": 16, "test": 4} and record["refused"] == []
    assert record["classes"] == ["cat", "dog"] and record["rule"] == "hash 80/20, seed 0"
    for name in ("000", "005"):
        (pets / "cat" / f"{name}.png").write_bytes(b"")
    (pets / "notes.txt").touch()
    before = fingerprint(tmp_path)
    for workers in ("0", "2"):
        record = json_output(capsys, "data", "check", str(pets), "--workers", workers, code=1)
        assert sorted(Path(r["path"]).name for r in record["refused"]) == ["000.png", "005.png"]
        assert sum(record["images"].values()) == 20 and "notes.txt" in record["notes"][0]
        assert not record["well"] and record["summary"].startswith("2 of 20 images cannot be used and will be left out")
    assert main(["data", "check", str(pets)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"refused: {pets}/cat/000.png: the file has 0 bytes (empty)" in lines
    assert any(line.startswith("note: ignored 1 files") for line in lines) and lines[-1] == record["summary"]
    assert fingerprint(tmp_path) == before


def test_check_prints_the_notes_of_every_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_splits(str(tree(tmp_path / "pets")), open_context())

    def with_notes(name: str) -> Any:
        dataset: Any = opened[name]
        return replace(dataset, origin=replace(dataset.origin, notes=("both", f"only {name}")))

    monkeypatch.setattr("imclass.app.acts.data.open_splits", lambda *_: LazySplits([*opened], with_notes))
    assert audit_dataset("pets", open_context())["notes"] == ["both", "only train", "only test"]


def test_check_counts_classes_and_reports_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets")
    record = json_output(capsys, "data", "check", str(pets))
    assert record["per_class"] == {"cat": {"train": 8, "test": 2}, "dog": {"train": 8, "test": 2}}
    assert record["well"] and record["summary"] == "no problems found: all 20 images of 2 classes can be read"
    lines = text(capsys, "data", "check", str(pets)).splitlines()
    assert [line.split() for line in lines[2:-1]] == [
        ["class", "train", "test"], ["cat", "8", "2"], ["dog", "8", "2"], ["total", "16", "4"],
    ]  # fmt: skip
    assert lines[-1] == record["summary"]
    (pets / "notes.txt").touch()
    assert json_output(capsys, "data", "check", str(pets))["summary"].endswith("; see the notes")
    record = json_output(capsys, "data", "check", "mnist-sample")
    assert record["well"] and sum(n["test"] for n in record["per_class"].values()) == record["images"]["test"] == 2_000


def test_check_counts_test_images_that_are_copies_of_training_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cats = tmp_path / "pets" / "train" / "cat"
    tree(tmp_path / "pets" / "train", per_class=4)
    tree(tmp_path / "pets" / "test", per_class=2, side=13)
    assert json_output(capsys, "data", "check", str(tmp_path / "pets"))["notes"] == []
    (tmp_path / "pets" / "test" / "cat" / "copy.png").write_bytes((cats / "000.png").read_bytes())
    notes = json_output(capsys, "data", "check", str(tmp_path / "pets"))["notes"]
    assert [note.split(";")[0] for note in notes] == ["1 of 5 test images is also in train"]


def test_check_explains_why_training_cannot_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for classes, per_class, why in ((("cat",), 5, "at least two classes"), (("cat", "dog"), 1, "cannot be scored")):
        record = json_output(capsys, "data", "check", str(tree(tmp_path / str(per_class), per_class, classes)))
        assert not record["well"] and why in record["summary"]


def test_a_folder_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pets = tree(tmp_path / "pets")
    tree(pets / "dog" / "locked")
    lock(monkeypatch, "locked")
    record = json_output(capsys, "data", "check", str(pets), code=1)
    assert [r["path"] for r in record["refused"]] == [str(pets / "dog" / "locked")]
    assert record["notes"] == ["cannot read 1 folders: 'dog/locked'"] and sum(record["images"].values()) == 21


def test_export_alternates_between_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets", classes=("ant", "bee", "cat"))
    words = ["data", "export", str(pets), "--split", "train", "--most"]
    for most in (1, 2, 7, 100):
        out = tmp_path / str(most)
        assert json_output(capsys, *words, str(most), "--out", str(out))["images"] == min(most, 24)
        counts = [len(list((out / name).glob("*.png"))) for name in ("ant", "bee", "cat")]
        assert counts == [len(range(min(most, 24))[k::3]) for k in range(3)]
        assert [int(p.stem) for p in sorted((out / "ant").iterdir())] == list(range(counts[0]))  # the first of a class


@given(st.lists(st.integers(0, 4), max_size=40))
def test_each_position_occurs_once_and_classes_alternate(labels: list[int]) -> None:
    order = balanced_order(np.array(labels, np.int64)).tolist()
    by_class = [[i for i, label in enumerate(labels) if label == k] for k in sorted(set(labels))]
    assert order == [images[turn] for turn in range(len(labels)) for images in by_class if turn < len(images)]


def test_export_into_the_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree(tmp_path / "pets"))
    assert main(["data", "export", ".", "--out", "some"]) == 2
    assert "--out some is inside the data" in capsys.readouterr().err and not Path("some").exists()
    assert main(["data", "export", ".", "--out", "../some"]) == 0


def test_export_writes_the_same_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets")
    record = json_output(
        capsys, "data", "export", str(pets), "--split", "train", "--most", "5", "--out", str(tmp_path / "new")
    )
    written = sorted((tmp_path / "new").rglob("*.png"))
    assert record["images"] == len(written) == 5 and record["refused"] == []
    originals = [decode(path) for path in sorted(pets.rglob("*.png"))]
    for path in written:
        image = decode(path)
        (same,) = [i for i, original in enumerate(originals) if np.array_equal(original, image)]
        assert path.parent.name == ("cat" if same < 10 else "dog")


def test_grey_images_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    assert (
        json_output(capsys, "data", "export", "mnist-sample", "--most", "3", "--out", str(tmp_path / "new"))["images"]
        == 3
    )
    assert {decode(path).shape for path in (tmp_path / "new").rglob("*.png")} == {(28, 28, 3)}


def test_export_names_refused_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets", per_class=5)
    for path in pets.rglob("*.png"):
        if path.name != "000.png":
            path.write_bytes(b"")
    words = ["data", "export", str(pets), "--split", "train", "--out", str(tmp_path / "new")]
    record = json_output(capsys, *words, code=1)
    assert record["images"] + len(record["refused"]) == 8
    assert {r["code"] for r in record["refused"]} == {"empty"}
