"""What there is, and what a model file holds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imclass.app.cli.main import main
from imclass.app.text.columns import cell, plain, table
from imclass.core.files import file_digest
from imclass.data.images.decode import decode
from tests.support.small import fingerprint, tree, untrained


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """The record that a verb prints."""
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The text that a verb prints."""
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_recipes_and_one_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [row for row in shown(capsys, "recipes") if row["name"] == "mnist-lenet"]
    assert (row["network"], row["data"]) == ("lenet-5", "mnist-sample") and row["summary"]
    record = shown(capsys, "recipes", "mnist-lenet")
    assert record["epochs"] == record["config"]["stages"][0]["epochs"] == row["epochs"]
    assert record["about"].startswith(row["summary"])
    assert "config.data: mnist-sample" in text(capsys, "recipes", "mnist-lenet").splitlines()


def test_data_sets_and_one_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in shown(capsys, "data")}
    assert rows["mnist"]["download"] and not rows["mnist-sample"]["download"]
    assert shown(capsys, "data", "mnist") == rows["mnist"]
    assert "splits: train, test" in text(capsys, "data", "mnist").splitlines()


def test_a_model_file_tells_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    classifier = untrained(path, recipe={"seed": 3}, metrics={"test": {"top1": 0.5}}, chosen="last step")
    record = shown(capsys, "info", str(path))
    assert record["file"] == str(path) and record["sha256"] == file_digest(path)
    assert record["parameters"] == sum(p.numel() for p in classifier.network.parameters())
    assert (record["network"], record["classes"], record["chosen"]) == ("lenet-5", ["cat", "dog"], "last step")
    assert record["preprocess"]["resize"] == "squash" and record["recipe"] == {"seed": 3}
    assert shown(capsys, "info", str(tmp_path)) == record  # a run's directory stands for its model
    assert "metrics.test.top1: 0.5" in text(capsys, "info", str(path)).splitlines()


def test_a_mistyped_act_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "chekc"]) == 2
    assert "did you mean 'check'?" in capsys.readouterr().err


def test_check_names_what_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets")
    record = shown(capsys, "data", "check", str(pets))
    assert record["images"] == {"train": 16, "test": 4} and record["refused"] == []
    assert record["classes"] == ["cat", "dog"] and record["rule"] == "hash 80/20, seed 0"
    for name in ("000", "005"):
        (pets / "cat" / f"{name}.png").write_bytes(b"")
    (pets / "notes.txt").touch()
    before = fingerprint(tmp_path)
    for workers in ("0", "2"):
        record = shown(capsys, "data", "check", str(pets), "--workers", workers, code=1)
        assert sorted(Path(r["path"]).name for r in record["refused"]) == ["000.png", "005.png"]
        assert sum(record["images"].values()) == 20 and "notes.txt" in record["notes"][0]
    assert main(["data", "check", str(pets)]) == 1
    assert "the file has 0 bytes" in capsys.readouterr().out
    assert fingerprint(tmp_path) == before


def test_export_writes_the_very_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets")
    record = shown(
        capsys, "data", "export", str(pets), "--split", "train", "--most", "5", "--out", str(tmp_path / "new")
    )
    written = sorted((tmp_path / "new").rglob("*.png"))
    assert record["images"] == len(written) == 5 and record["refused"] == []
    originals = [decode(path) for path in sorted(pets.rglob("*.png"))]
    for path in written:
        image = decode(path)
        (same,) = [i for i, original in enumerate(originals) if np.array_equal(original, image)]
        assert path.parent.name == ("cat" if same < 10 else "dog")


def test_export_of_grey_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    assert shown(capsys, "data", "export", "mnist-sample", "--most", "3", "--out", str(tmp_path / "new"))["images"] == 3
    assert {decode(path).shape for path in (tmp_path / "new").rglob("*.png")} == {(28, 28, 3)}


def test_export_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pets = tree(tmp_path / "pets", per_class=5)
    for path in pets.rglob("*.png"):
        if path.name != "000.png":
            path.write_bytes(b"")
    words = ["data", "export", str(pets), "--split", "train", "--out", str(tmp_path / "new")]
    record = shown(capsys, *words, code=1)
    assert record["images"] + len(record["refused"]) == 8
    assert {r["code"] for r in record["refused"]} == {"empty"}


def test_a_table_is_aligned() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "n": 12345, "size": [1, 28, 28]},
        {"name": "long\nname", "n": None, "size": ["x", "y"]},
    ]
    assert table(rows).splitlines() == [
        "name        n       size",
        "a           12,345  1 x 28 x 28",
        "long\\nname  -       x, y",
    ]
    assert table([]) == "none"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1998, "1998"), (2100, "2,100"), (True, "True"), (None, "-"), (0.5, "0.5"), ([], ""), ([8.54, None], "8.54 / -")],
)
def test_cells(value: object, expected: str) -> None:
    assert cell(value) == expected


def test_a_record_is_lines_of_keys_and_values() -> None:
    record = {"a": {"b": 1, "c": [1, 2]}, "d": "two\nlines \x1b", "e": [{"f": None}]}
    assert plain(record) == "a.b: 1\na.c: 1, 2\nd: two\nlines \\x1b\ne.0.f: None"


def test_a_broken_plugin_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text("import nothing_like_it")
    for verb in ("recipes", "data"):
        assert main([verb, "--plugins", str(tmp_path)]) == 0
        printed = capsys.readouterr()
        assert "note: not usable: " in printed.err and "nothing_like_it" in printed.err
        assert printed.out


def test_a_recipe_that_cannot_be_made_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.py").write_text("RECIPES = {'odd': lambda: 1 / 0}")
    assert main(["recipes", "--plugins", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "note: not usable: recipe odd: ZeroDivisionError" in printed.err
    assert "mnist-lenet" in printed.out and "odd" not in printed.out
