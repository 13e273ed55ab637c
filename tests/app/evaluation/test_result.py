"""Results of `imclass.evaluate`: they can do everything that the command line can."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imclass
from imclass.app.cli.main import main
from imclass.app.evaluation.result import Result, score_paths
from imclass.core.errors import UserError
from imclass.evaluation.request import Scoring
from imclass.evaluation.results import read_scores
from tests.app.evaluation.test_request import arrays
from tests.app.report.reader import read
from tests.support.small import CLASSES, save_untrained, tree

MODELS = ["a.safetensors", "b.safetensors"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with two models and a folder of photos that has splits."""
    monkeypatch.chdir(tmp_path)
    for split, n in (("train", 2), ("validation", 8), ("test", 6)):
        tree(tmp_path / "pets" / split, per_class=n, side=30)
    save_untrained(tmp_path / "a.safetensors")
    save_untrained(tmp_path / "b.safetensors", CLASSES[::-1])
    return tmp_path


class Watcher:
    """A `Progress` that keeps everything it receives."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun: list[str] = []
        self.counts: list[tuple[str, int, int]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, what: str) -> None:
        self.begun.append(what)

    def count(self, what: str, done: int, total: int) -> None:
        self.counts.append((what, done, total))


def run_evaluate(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["evaluate", *words]) == 0
    return capsys.readouterr().out


CASES: dict[str, tuple[list[str], dict[str, Any], list[str]]] = {
    "one": (MODELS[:1], {}, []),
    "fused": (MODELS, {"weights": "fit", "temperature": True}, ["--weights", "fit", "--temperature"]),
    "apart": (MODELS, {"weights": "none", "split": "train"}, ["--weights", "none", "--split", "train"]),
    "protocols": (MODELS, {"protocol": "center,flip"}, ["--protocol", "center,flip"]),
    "scales": (MODELS[:1], {"protocol": "dense", "scales": [28, 32]}, ["--protocol", "dense", "--scales", "28,32"]),
}


@pytest.mark.parametrize("case", CASES)
def test_python_prints_what_the_command_line_prints(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models, options, words = CASES[case]
    result = imclass.evaluate(models, "pets", **options)
    assert run_evaluate(capsys, *models, "--data", "pets", *words) == f"{result}\n"
    assert json.loads(run_evaluate(capsys, *models, "--data", "pets", *words, "--json")) == json.loads(
        json.dumps(result.record())
    )


def test_a_result_is_short_in_a_prompt(place: Path) -> None:
    result = imclass.evaluate(MODELS, "pets")
    assert re.fullmatch(
        r"Result\(a\.safetensors: top1 [\d.]+%; b\.safetensors: top1 [\d.]+%; fused: top1 [\d.]+%; "
        r"12 of 12 evaluated\)",
        repr(result),
    )
    assert result.measures is result.evaluation.measures is result.rows[-1].evaluation.measures
    empty = Result((), result.request, Scoring((), (), ()), result.context)  # of a process that is not the first
    assert repr(empty) == "Result()" and "first process" in empty._repr_html_()
    with pytest.raises(UserError, match="only the first process"):
        empty.compare()


def test_python_writes_the_files_of_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "pets", "--plot", "p.png", "--reliability", "r.png", "--save", "m.safetensors"]
    run_evaluate(capsys, *MODELS, *words, "--save-scores", "s.npz")
    result = imclass.evaluate(MODELS, "pets")
    assert result.plot("p2.png") == Path("p2.png") and result.reliability("r2.png") == Path("r2.png")
    assert result.save_model("m2.safetensors") == Path("m2.safetensors")
    paths = result.save_scores("s2.npz")
    for ours, theirs in (("p.png", "p2.png"), ("r.png", "r2.png"), ("m.safetensors", "m2.safetensors")):
        assert Path(ours).read_bytes() == Path(theirs).read_bytes()
    assert [path.name for path in paths] == [
        "s2.1.a.safetensors.npz", "s2.2.b.safetensors.npz", "s2.3.fused.npz",
    ]  # fmt: skip
    for path in paths:
        assert path.read_bytes() == Path(path.name.replace("s2", "s")).read_bytes()
    assert result.table("3") in run_evaluate(capsys, *MODELS, "--data", "pets", "--table", "3")
    markdown = run_evaluate(capsys, *MODELS, "--data", "pets", "--table", "resnet", "--table-format", "markdown")
    assert markdown.strip() == result.table("resnet", "markdown").strip()
    assert result.rank_changes(100) == json.loads(
        run_evaluate(capsys, *MODELS, "--data", "pets", "--changed", "100", "--json")
    )["changed"]  # fmt: skip
    again = imclass.evaluate("m2.safetensors", "pets")
    np.testing.assert_allclose(again.evaluation.scores, result.evaluation.scores, rtol=1e-5, atol=1e-6)
    assert imclass.evaluate(paths).measures == pytest.approx(result.measures, rel=1e-5)
    assert read_scores(paths[0]).names == result.rows[0].images


def test_files_that_imclass_did_not_write_stay(place: Path) -> None:
    result = imclass.evaluate("a.safetensors", "pets")
    photo = place / "pets" / "test" / "cat" / "000.png"
    before = photo.read_bytes()
    for write, path in (
        (result.plot, photo), (result.reliability, photo), (result.save_scores, place / "a.npz"),
        (result.save_model, place / "a.safetensors"), (result.plot, place / "x.jpg"), (result.plot, place / "no/x.png"),
    ):  # fmt: skip
        (place / "a.npz").write_text("mine")
        with pytest.raises(UserError):
            write(path)
    both = imclass.evaluate(MODELS, "pets")
    for file in score_paths(Path("s.npz"), both.rows):
        file.write_text("mine")
        with pytest.raises(UserError, match="already exists"):
            both.save_scores("s.npz")
        assert file.read_text() == "mine"
        file.unlink()
    assert photo.read_bytes() == before and (place / "a.npz").read_text() == "mine"


def test_only_a_single_result_can_be_saved(place: Path) -> None:
    (scores,) = imclass.evaluate("a.safetensors", "pets").save_scores("s.npz")
    for models, options, message in (
        (MODELS, {"weights": "none"}, "--save needs a single result"),
        (MODELS, {"protocol": "flip,center"}, "--save needs a single result"),
        (["a.safetensors"], {"precision": "bf16"}, "--save writes float32 weights"),
        ([scores, "b.safetensors"], {}, "s.npz contains scores, so --save has no model"),
    ):
        with pytest.raises(UserError, match=message):
            imclass.evaluate(models, "pets", **options).save_model("m.safetensors")
    assert not Path("m.safetensors").exists()


def test_an_evaluation_can_be_watched(place: Path) -> None:
    (place / "mnist-sample").mkdir()
    watcher = Watcher()
    imclass.evaluate("a.safetensors", "pets", batch=5, progress=watcher)
    assert watcher.begun == ["split test of pets, protocol as trained, on cpu"]
    assert watcher.counts == [("test", 5, 12), ("test", 10, 12), ("test", 12, 12)] and watcher.notes == []
    with pytest.raises(UserError):
        imclass.evaluate("a.safetensors", "mnist-sample", progress=watcher)
    assert "the folder mnist-sample is not read" in watcher.notes[0]


def test_a_class_mapping_and_strictness_are_options(place: Path) -> None:
    (place / "pets/test/cat").rename(place / "pets/test/puss")
    (place / "pets/train/cat").rename(place / "pets/train/puss")
    (place / "pets/validation/cat").rename(place / "pets/validation/puss")
    assert imclass.evaluate("a.safetensors", "pets", classes={"puss": "cat"}).evaluation.total == 12
    (place / "pets/test/dog/000.png").write_bytes(b"torn")
    refused = imclass.evaluate("a.safetensors", "pets", classes={"puss": "cat"})
    assert refused.evaluation.tally == "11 of 12 evaluated, 1 refused"
    with pytest.raises(UserError, match="drop --strict"):
        imclass.evaluate("a.safetensors", "pets", classes={"puss": "cat"}, strict=True)


def test_a_notebook_shows_tables_and_the_confusion_matrix(place: Path) -> None:
    one = read(imclass.evaluate("a.safetensors", "pets")._repr_html_())
    rows, classes = one.all("table")
    assert rows.one("tbody").one("tr").one("th").text == "a.safetensors"
    assert {row.one("th").text for row in classes.one("tbody").all("tr")} == set(CLASSES)
    assert str(one.one("img").attributes["src"]).startswith("data:image/png;base64,")
    both = read(imclass.evaluate(MODELS, "pets")._repr_html_())
    assert len(both.one("tbody").all("tr")) == 3 and not both.all("img")


def test_no_name_becomes_markup_in_a_notebook(place: Path) -> None:
    (place / "<b>a.safetensors").write_bytes((place / "a.safetensors").read_bytes())
    page = imclass.evaluate("<b>a.safetensors", "pets")._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;a.safetensors" in page


def test_compare_is_a_function_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = imclass.compare(*MODELS, "pets", list=3)
    assert main(["compare", *MODELS, "--data", "pets", "--list", "3"]) == 0
    assert capsys.readouterr().out == f"{found}\n"
    assert main(["compare", *MODELS, "--data", "pets", "--list", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.record()))
    assert re.match(r"Contrast\(b\.safetensors minus a\.safetensors: [+-][\d.]+ points", repr(found))
    assert found.comparison.images == 12 and len(found.changes) <= 3
    in_memory = imclass.compare(imclass.load("a.safetensors"), imclass.load("b.safetensors"), arrays())
    assert (in_memory.a.name, in_memory.b.name) == ("lenet-5", "lenet-5 2")
    with pytest.raises(UserError, match="a comparison needs exactly one"):
        imclass.compare(*MODELS, "pets", protocol="flip,center")
    with pytest.raises(UserError, match="--list is -1"):
        imclass.compare(*MODELS, "pets", list=-1)


def test_pictures_are_of_the_last_row(place: Path) -> None:
    with Image.open(imclass.evaluate(MODELS, "pets").plot("p.png")) as drawn:
        assert drawn.format == "PNG"
    assert score_paths(Path("s.npz"), []) == ()
