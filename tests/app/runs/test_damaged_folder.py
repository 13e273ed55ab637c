"""A folder of photographs with damaged files, which are named and counted while the others are used."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from imclass.app.cli.main import main
from tests.support.corpus import refused_files as damaged_kinds
from tests.support.small import fingerprint

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")  # of scikit-image, each the source of one class
A_CLASS = 50
KINDS = (
    "cut at 50%.jpg", "cut at 90%.png", "cut at 10%.gif", "empty.jpg", "text.jpg", "page.jpg", "huge.png",
    "huge.jpg", "no frame.jpg", "one byte.jpg",
)  # fmt: skip
TRAIN = ["train", "mnist-lenet", "--preprocess.colour", "rgb", "--epochs", "2", "--batch", "32", "--workers", "2"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 200 crops of different sizes as JPEG, and 20 files that cannot be used, five a class."""
    tree = tmp_path_factory.mktemp("data") / "photos"
    generator = np.random.default_rng(0)
    for name in PHOTOGRAPHS:
        photograph = getattr(skimage.data, name)()
        (tree / name).mkdir(parents=True)
        for i in range(A_CLASS):
            height, width = generator.integers(40, 160, 2)
            top, left = (generator.integers(0, side - 160) for side in photograph.shape[:2])
            crop = Image.fromarray(photograph[top : top + height, left : left + width])
            crop.save(tree / name / f"{i:03d}.jpg", quality=90)
    contents = damaged_kinds()
    for i, kind in enumerate([*KINDS, *KINDS]):
        (tree / PHOTOGRAPHS[i % 4] / f"bad {i} {kind}").write_bytes(contents[kind][0])
    return tree


@pytest.fixture(scope="module")
def bad(tree: Path) -> set[str]:
    """Return the damaged files."""
    found = {str(path) for path in tree.rglob("bad *")}
    assert len(found) == 20
    return found


@pytest.fixture(autouse=True)
def unchanged_tree(tree: Path) -> Iterator[None]:
    """Check after each test that names, contents and times of the tree have not changed."""
    before = fingerprint(tree)
    yield
    assert fingerprint(tree) == before


@pytest.fixture(scope="module")
def run(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run on that tree, some of whose images are refused."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main([*TRAIN, "--data", str(tree), "--out", str(out)]) == 1
    return out


def record(capsys: pytest.CaptureFixture[str], *words: str, code: int = 1) -> Any:
    """Return the record that a verb prints with --json."""
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_training_names_them_all(tree: Path, bad: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--data", str(tree), "--out", str(tmp_path / "run"), "--json"]) == 1
    shown = capsys.readouterr()
    printed = json.loads(shown.out)
    assert set(printed["refused"]) == bad
    named = [line.removeprefix("left out: ") for line in shown.err.splitlines() if line.startswith("left out: ")]
    assert len(named) == 20  # once each, though there were two epochs
    assert all(any(line.startswith(path) for line in named) for path in bad)


def test_counts_add_up(run: Path, tree: Path, bad: set[str]) -> None:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for epoch in (0, 1):
        (end,) = [r for r in records if r["event"] == "epoch_end" and r["epoch"] == epoch]
        (evaluated,) = [r for r in records if r["event"] == "evaluated" and r["epoch"] == epoch]
        assert end["images"] + evaluated["evaluated"] == 200
        assert end["refused"] + len(evaluated["refused"]) == 20
        assert evaluated["evaluated"] + len(evaluated["refused"]) == evaluated["total"] == 44
        steps = [r for r in records if r["event"] == "step_end" and r["epoch"] == epoch]
        assert sum(r["images"] for r in steps) == end["images"]
        named = {f["path"] for r in steps for f in r["refused"]} | {f["path"] for f in evaluated["refused"]}
        assert named == bad


def test_evaluation_names_them_all(run: Path, tree: Path, bad: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    result = record(capsys, "evaluate", str(run), "--split", "all", "--trained", "include", "--workers", "2")
    assert (result["evaluated"], result["refused"], result["total"]) == (200, 20, 220)
    assert {entry["path"] for entry in result["refused_files"]} == bad
    assert sum(map(sum, result["confusion"])) == 200
    assert main(["evaluate", str(run)]) == 1  # by default on the held-out images
    text = capsys.readouterr().out
    assert "of 44 evaluated" in text and "refused" in text


def test_prediction_names_them_all(run: Path, tree: Path, bad: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    entries = record(capsys, "predict", str(run), str(tree), "--workers", "2")
    assert [entry["path"] for entry in entries] == sorted((str(path) for path in tree.glob("*/*")), key=Path)
    assert {entry["path"] for entry in entries if "refused" in entry} == bad
    assert sum("classes" in entry for entry in entries) == 200
    assert main(["predict", str(run), str(tree), "--format", "csv", "--top", "1"]) == 1
    shown = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(shown.out)))
    assert len(rows) == 1 + 200 and not bad & {row[0] for row in rows}
    assert sum(line.startswith("refused: ") for line in shown.err.splitlines()) == 20


def test_check_names_them_all(tree: Path, bad: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    result = record(capsys, "data", "check", str(tree))
    assert {entry["path"] for entry in result["refused"]} == bad
    assert sum(result["images"].values()) == 220


@pytest.mark.parametrize("workers", ["0", "2"])
def test_strict_ends_with_one_message(
    workers: str, run: Path, tree: Path, bad: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    out = str(tmp_path / "run")
    for words in ([*TRAIN, "--data", str(tree), "--out", out], ["evaluate", str(run), "--split", "all"]):
        assert main([*words, "--workers", workers, "--strict"]) == 2
        errors = capsys.readouterr().err
        assert errors.count("imclass: ") == 1 and "Traceback" not in errors
        assert any(path in errors for path in bad) and "--strict" in errors


def test_strict_covers_training_images(
    run: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, first in (("train", "0"), ("test", "1")):
        for name in PHOTOGRAPHS:
            (tmp_path / "own" / part / name).mkdir(parents=True)
            for path in sorted((tree / name).glob(f"0{first}?.jpg")):
                (tmp_path / "own" / part / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "own" / "train" / "coffee" / "bad.jpg").write_bytes(b"")
    capsys.readouterr()
    words = [*TRAIN, "--data", str(tmp_path / "own"), "--out", str(tmp_path / "run")]
    assert main([*words, "--strict"]) == 2
    assert "coffee/bad.jpg: the file has 0 bytes (empty)" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert main([*words, "--out", str(tmp_path / "lax")]) == 1


def test_strict_changes_nothing_without_damaged_files(run: Path, tree: Path, tmp_path: Path) -> None:
    for name in PHOTOGRAPHS:
        (tmp_path / "good" / name).mkdir(parents=True)
        for path in sorted((tree / name).glob("0[01]?.jpg")):
            (tmp_path / "good" / name / path.name).write_bytes(path.read_bytes())
    words = [*TRAIN, "--data", str(tmp_path / "good"), "--out", str(tmp_path / "run"), "--strict"]
    assert main(words) == 0
    assert main(["evaluate", str(run), "--data", str(tmp_path / "good"), "--strict"]) == 0


def test_a_refused_image_is_not_replaced_by_another(run: Path, tree: Path, tmp_path: Path) -> None:
    """Check that batches with refused images are smaller."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [r for r in records if r["event"] == "step_end"]
    for step in steps[:5]:  # 176 images in batches of 32; the last has 16
        assert step["images"] + len(step["refused"]) == 32
    assert steps[5]["images"] + len(steps[5]["refused"]) == 16
