"""The verb `predict` prints a result for every file, in the given order, in a format that its reader can parse."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imclass
from imclass.app.cli.main import main
from imclass.app.verbs.predict import as_csv
from imclass.core.contracts import Refused
from imclass.core.text import escape_formula, printable_text
from imclass.models.classifier import load_network_classifier
from imclass.serving.predict import Prediction
from tests.support.small import lock, picture, save_untrained, tree

WEIRD = (
    "a b.png",
    'it\'s "quoted", twice.png',
    "two\nlines.png",
    "tab\there.png",
    "-dash.png",
    "--top.png",
    "=1+1.png",
    "+1.png",
    "@sum.png",
    "[ab]*.png",
    "grüße 写真.png",
    "\x1b[31mred.png",
    os.fsdecode(b"no text \xff\xfe.png"),
    "n" * 251 + ".png",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model of four classes, one of them named like a formula."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_untrained(path, ("cat", "dog", '=HYPERLINK("x")', "hen"))
    return path


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tree(tmp_path / "pets", per_class=4)


@pytest.fixture
def weird(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder of images whose names are hard to print."""
    folder = tmp_path / "weird"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for i, name in enumerate(WEIRD):
        content = io.BytesIO()
        Image.fromarray(picture(i)).save(content, "PNG")
        try:
            (folder / name).write_bytes(content.getvalue())
        except OSError:
            pytest.skip("this file system does not accept every name")
    return folder


def records(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict[str, Any]]:
    """Return what `predict ... --json` prints."""
    assert main(["predict", *words, "--json"]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_probabilities_are_those_of_the_api(model: Path, pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = records(capsys, str(model), "pets")
    assert len(found) == 8
    loaded = load_network_classifier(model)
    for record in found:
        (found_alone,) = imclass.predict(loaded, record["path"])
        expected = found_alone.classes
        assert [c["class"] for c in record["classes"]] == [name for name, _ in expected]
        probabilities = [c["probability"] for c in record["classes"]]
        assert probabilities == pytest.approx([p for _, p in expected], rel=1e-5)
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, rel=1e-5)  # all four are printed
    assert len({record["classes"][0]["probability"] for record in found}) > 1  # the model distinguishes images


def test_the_order_is_that_of_the_command_line(model: Path, pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pets/dog/002.png", "pets/cat", "pets/dog/00[13].png", "pets/cat/001.png", "pets/**/003.png"]
    expected = [
        "pets/dog/002.png",
        *[f"pets/cat/00{i}.png" for i in range(4)],
        "pets/dog/001.png",
        "pets/dog/003.png",
        "pets/cat/001.png",
        "pets/cat/003.png",
        "pets/dog/003.png",
    ]
    for workers in ("0", "2"):
        found = records(capsys, str(model), *words, "--workers", workers)
        assert [record["path"] for record in found] == expected


def test_only_images_of_a_folder_are_classified(model: Path, pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pets / "notes.txt").write_text("no image")
    (pets / ".hidden").mkdir()
    (pets / ".hidden" / "a.png").write_bytes((pets / "cat" / "000.png").read_bytes())
    (pets / "odd.png").mkdir()
    found = records(capsys, str(model), "pets")
    assert [record["path"] for record in found] == [f"pets/{c}/00{i}.png" for c in ("cat", "dog") for i in range(4)]
    found = records(capsys, str(model), "pets/.hidden/a.png", "pets/notes.txt", code=1)
    assert [record["path"] for record in found] == ["pets/.hidden/a.png", "pets/notes.txt"]  # they are named explicitly


def test_ignored_files_are_noted_and_a_locked_folder_is_refused(
    model: Path, pets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (pets / "bird").symlink_to(pets / "cat")
    (pets / "notes.svg").touch()
    assert len(records(capsys, str(model), "pets")) == 12
    assert main(["predict", str(model), "pets", "--json"]) == 0
    assert (
        "note: pets: ignored 1 files without an image file extension (1 .svg): 'notes.svg'" in capsys.readouterr().err
    )
    lock(monkeypatch, "dog")
    found = records(capsys, str(model), "pets", code=1)
    assert [r["path"] for r in found if "refused" in r] == ["pets/dog"] and len(found) == 9
    assert main(["features", str(model), "pets", "--out", "maps.npy"]) == 1
    shown = capsys.readouterr().err
    assert "note: pets: cannot read 1 folders: 'dog'" in shown and "refused: pets/dog: " in shown


def test_bad_files_are_named_and_the_others_classified(
    model: Path, pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (pets / "cat" / "000.png").read_bytes()
    (pets / "cat" / "001.png").write_bytes(good[:-30])
    (pets / "dog" / "000.png").write_bytes(b"")
    (pets / "dog" / "lost.png").symlink_to("nowhere.png")
    before = {path: path.read_bytes() for path in pets.rglob("*.png") if path.is_file()}
    found = records(capsys, str(model), "pets", code=1)
    refused = {record["path"]: record["refused"]["code"] for record in found if "refused" in record}
    assert refused == {"pets/cat/001.png": "truncated", "pets/dog/000.png": "empty", "pets/dog/lost.png": "missing"}
    assert sum("classes" in record for record in found) == 6
    for form in ("table", "csv"):
        assert main(["predict", str(model), "pets", "--format", form]) == 1
        shown = capsys.readouterr()
        named = [line for line in shown.err.splitlines() if line.startswith("refused: ")]
        assert [line.split(": ")[1] for line in named] == list(refused)
        assert not any(path in shown.out for path in refused)
        assert sum("pets/" in line for line in shown.out.splitlines()) == (6 if form == "table" else 24)
    assert {path: path.read_bytes() for path in before} == before


def test_only_bad_files_do_not_crash(model: Path, pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pets / "empty.png").write_bytes(b"")
    (record,) = records(capsys, str(model), "pets/empty.png", code=1)
    assert record["refused"]["code"] == "empty"


@pytest.mark.parametrize(("top", "printed"), [(1, 1), (3, 3), (4, 4), (5, 4), (1000, 4)])
def test_top_is_cut_at_the_number_of_classes(
    top: int, printed: int, model: Path, pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = records(capsys, str(model), "pets/cat/000.png", "--top", str(top))
    probabilities = [c["probability"] for c in found[0]["classes"]]
    assert len(probabilities) == printed
    assert sum(probabilities) <= 1 + 1e-5


def test_weird_names_in_json(weird: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = records(capsys, str(model), ".")
    assert [record["path"] for record in found] == sorted(WEIRD, key=lambda name: Path(name))
    assert main(["predict", str(model), ".", "--json"]) == 0
    assert capsys.readouterr().out.isascii()


def test_weird_names_in_csv(weird: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(model), ".", "--format", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))
    assert rows[0] == ["path", "rank", "class", "probability"]
    assert {len(row) for row in rows} == {4}
    assert [row[1] for row in rows[1:]] == ["1", "2", "3", "4"] * len(WEIRD)
    for row in rows[1:]:
        assert not row[0].startswith(("=", "+", "-", "@", "\t")) and not row[2].startswith("=")
    names = {row[0].removeprefix("'") for row in rows[1:]}
    assert names == {name.encode("utf-8", "backslashreplace").decode() for name in WEIRD}
    assert {row[2] for row in rows[1:]} == {"cat", "dog", "hen", '\'=HYPERLINK("x")'}


def test_weird_names_in_the_table(weird: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(model), ".", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [printable_text(name) for name in sorted(WEIRD, key=lambda name: Path(name))]
    assert all(line.isprintable() for line in lines)
    assert all(line[:8].strip() and line[8] == "%" for line in lines[1::2])


def test_weird_names_may_be_given(weird: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = records(capsys, str(model), *(f"./{name}" for name in WEIRD))
    assert [record["path"] for record in found] == [f"./{name}" for name in WEIRD]
    assert main(["predict", str(model), "--json", "--", *WEIRD]) == 0  # all words after "--" are names
    assert [record["path"] for record in json.loads(capsys.readouterr().out)] == list(WEIRD)


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_a_formula_is_escaped(cell: str) -> None:
    assert escape_formula(cell) == f"'{cell}"
    row = next(csv.reader(io.StringIO(as_csv(Prediction(cell, ((cell, 0.5),))), newline="")))
    assert row == [f"'{cell}", "1", f"'{cell}", "0.5"]


def test_an_image_without_a_class_has_a_line_in_csv() -> None:
    assert next(csv.reader(io.StringIO(as_csv(Prediction('say "a"', ()))))) == ['say "a"', "", "", ""]
    assert as_csv(Prediction("a", (), Refused("a", "empty", "the file has 0 bytes"))) == ""


@pytest.mark.parametrize("cell", ["", "a=1", " =1", "1", "cat.png"])
def test_other_text_is_unchanged(cell: str) -> None:
    assert escape_formula(cell) == cell


def test_evaluate_and_predict_agree(model: Path, pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("hen", '=HYPERLINK("x")'):
        (pets / "cat").rename(pets / "moved")
        tree(pets, per_class=2, classes=(name,))
        (pets / "moved").rename(pets / "cat")
    assert main(["evaluate", str(model), "--data", "pets", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    best = {record["path"]: record["classes"][0]["class"] for record in records(capsys, str(model), "pets")}
    classes = [entry["class"] for entry in result["per_class"]]
    matrix = np.zeros((4, 4), int)
    for path, name in best.items():
        matrix[classes.index(Path(path).parent.name), classes.index(name)] += 1
    assert matrix.tolist() == result["confusion"]
    assert result["top1"] == np.trace(matrix) / len(best) and result["total"] == len(best) == 12


def test_a_protocol_changes_the_views(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = np.concatenate([picture(1), picture(2, True), picture(3)], axis=1)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    found = [
        records(capsys, str(model), str(tmp_path / "wide.png"), *more)[0]["classes"][0]["probability"]
        for more in ([], ["--protocol", "resize"], ["--protocol", "center"])
    ]
    assert found[0] == found[1] != found[2]  # "resize" squashes the image, as the model does
