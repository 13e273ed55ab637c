"""`data`: data sets listed, checked and exported."""

from pathlib import Path

import numpy as np
import pytest

from imclass.app.cli.main import main
from imclass.data.images.decode import decode
from tests.support.command import shown, text
from tests.support.small import fingerprint, tree


def test_data_sets_and_one_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in shown(capsys, "data")}
    assert rows["mnist"]["download"] and not rows["mnist-sample"]["download"]
    assert shown(capsys, "data", "mnist") == rows["mnist"]
    assert "splits: train, test" in text(capsys, "data", "mnist").splitlines()


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
