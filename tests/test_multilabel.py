"""Images that may have several labels work on the command line, from a CSV file to predictions."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imclass
from imclass.app.cli.main import main
from imclass.core.errors import UserError
from imclass.core.model_file import Metrics, ModelHeader, read_model
from imclass.core.targets import AnyOf
from imclass.data.catalog import open_split
from imclass.data.images.decode import decode
from imclass.evaluation.held_out import choose_split
from imclass.evaluation.results import read_scores
from imclass.evaluation.score import evaluate
from imclass.models.thresholds import fit_thresholds, probabilities
from imclass.store.context import open_context
from tests.app.report.reader import read
from tests.support.shapes import SHAPES, write_shapes
from tests.support.small import provenance

SMALL = ["--preprocess.size", "32", "--preprocess.scale", "32", "--model.size", "32", "--precision", "fp32"]
FEW = [*SMALL, "--model.widths", *"8888", "--model.blocks", *"1111", "--augment", "none", "--batch", "16"]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos/shapes.csv and a run on it, which tests do not change."""
    home = tmp_path_factory.mktemp("shapes")
    data = write_shapes(home / "photos", 80)
    words = ["train", "folder", "--data", str(data), "--out", str(home / "run"), "--validation", "0.25"]
    assert main([*words, "--epochs", "4", *FEW]) == 0
    return home


@pytest.fixture
def place(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy that folder and make the copy the working folder."""
    shutil.copytree(finished_run, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def json_answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def metrics_of(header: ModelHeader) -> dict[str, Metrics]:
    """Return the metrics of each split in the header of a model file."""
    assert header.trained is not None
    return header.trained.metrics


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_the_data_is_checked_and_counted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_answer(capsys, "data", "check", "photos/shapes.csv")
    assert found["classes"] == list(SHAPES) and found["images"] == {"train": 64, "test": 16} and found["well"]
    for k, shape in enumerate(SHAPES):
        assert sum(found["per_class"][shape].values()) == sum(i >> k & 1 for i in range(80))
    assert "10 of 80 images have no label" in found["notes"]


def test_training_minimises_binary_cross_entropy_and_fits_thresholds_on_validation(place: Path) -> None:
    header = read_model(place / "run" / "model.safetensors")[1]
    assert header.link == "sigmoid" and len(header.thresholds) == 3
    model, context = imclass.load("run"), open_context()
    config = json.loads((place / "run" / "config.json").read_text())["training"]
    assert config["stages"][0]["objective"] == {"kind": "binary-cross-entropy"}
    chosen = choose_split({"run": model}, None, "validation", context)
    found = evaluate(model, chosen.dataset)
    assert isinstance(found.targets, AnyOf) and len(found.targets) == 16
    assert header.thresholds == pytest.approx(fit_thresholds(found.scores, found.targets.numpy()), abs=1e-3)


def test_curves_log_and_history_contain_the_main_measure(place: Path) -> None:
    entries = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()]
    scored = [entry for entry in entries if entry["event"] == "evaluated"]
    assert [entry["split"] for entry in scored] == ["validation"] * 4 + ["test"] and all("map" in e for e in scored)
    ends = [entry for entry in entries if entry["event"] == "epoch_end"]
    steps = [entry for entry in entries if entry["event"] == "step_end" and entry["epoch"] == 0]
    right, images = (sum(step[key] for step in steps) for key in ("correct", "images"))
    assert ends[0]["exact"] == pytest.approx(right / images) and "top1" not in ends[0]
    best = max(range(4), key=lambda i: scored[i]["map"])
    assert [entry["best"] for entry in scored[:4]][best] and (place / "run" / "curves.png").stat().st_size > 5000


def test_evaluation_shows_each_class(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_answer(capsys, "evaluate", "run")
    header = read_model(place / "run" / "model.safetensors")[1]
    assert found["map"] == pytest.approx(metrics_of(header)["test"].measures["map"]) and found["total"] == 16
    assert found["map"] == pytest.approx(np.mean([row["ap"] for row in found["per_class"]]))
    assert found["thresholds"] == list(header.thresholds) and found["classes_scored"] == 3
    assert main(["evaluate", "run"]) == 0
    text = capsys.readouterr().out
    assert f"mean average precision (mAP) {100 * found['map']:.2f}% over 3 classes" in text
    assert "at the model's thresholds" in text and "16 of 16 evaluated" in text and text.count("\nsquare ") == 1


def test_a_prediction_names_the_classes_that_reach_their_thresholds(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = read_model(place / "run" / "model.safetensors")[1]
    paths = [f"photos/img/{i:03d}.png" for i in range(8)]
    ranked, chosen = (
        json_answer(capsys, "predict", "run", *paths, "--top", "3"),
        json_answer(capsys, "predict", "run", *paths),
    )
    least = dict(zip(header.classes, header.thresholds, strict=True))
    for every, some in zip(ranked, chosen, strict=True):
        assert [c["class"] for c in some["classes"]] == [
            c["class"] for c in every["classes"] if c["probability"] >= least[c["class"]]
        ]
    assert len({len(one["classes"]) for one in chosen}) > 1 and all(len(one["classes"]) == 3 for one in ranked)
    assert main(["predict", "run", "photos/img/000.png", "photos/img/007.png"]) == 0
    assert "photos/img/007.png" in capsys.readouterr().out
    every, some = (next(iter(imclass.predict("run", paths[5], top=top))) for top in (3, None))
    assert [name for name, _ in every.classes] == [c["class"] for c in ranked[5]["classes"]]
    assert [name for name, _ in some.classes] == [c["class"] for c in chosen[5]["classes"]]


def test_thresholds_are_fitted_on_validation_and_saved(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_answer(capsys, "evaluate", "run", "--thresholds", "fit", "--save", "own.safetensors")
    assert found["thresholds"] == pytest.approx(json_answer(capsys, "evaluate", "run")["thresholds"], abs=1e-3)
    again = json_answer(capsys, "evaluate", "own.safetensors", "--data", "photos/shapes.csv", "--split", "test")
    assert (again["map"], again["thresholds"]) == (pytest.approx(found["map"]), found["thresholds"])
    for split in ("validation", "all"):
        why = refusal(capsys, "evaluate", "run", "--thresholds", "fit", "--split", split)
        assert "contains the validation images, which are needed for --thresholds fit" in why


def test_models_are_fused_and_scores_saved(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "folder", "--data", "photos/shapes.csv", "--out", "other", "--validation", "0.25", "--seed", "1"]
    assert main([*words, "--epochs", "1", *FEW]) == 0
    capsys.readouterr()
    found = json_answer(capsys, "evaluate", "run", "other", "--save-scores", "s.npz", "--weights", "fit")
    assert [row["name"].split(" ")[0] for row in found["rows"]] == ["run", "other", "fused"]
    assert all("map" in row and "top1" not in row for row in found["rows"])
    first = json_answer(capsys, "evaluate", *map(str, sorted(place.glob("s.*.npz"))[:1]))
    assert first["map"] == pytest.approx(found["rows"][0]["map"]) and len(first["thresholds"]) == 3
    why = refusal(capsys, "compare", "run", "other")
    assert "a comparison needs images with one label each" in why and "imclass evaluate A B --weights none" in why


def test_a_run_resumes_where_it_stopped(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Repeat the command of a run without its last checkpoint and model; it must produce the same model."""
    words = ["train", "folder", "--data", "photos/shapes.csv", "--validation", "0.25", *FEW, "--epochs", "2"]
    assert main([*words, "--out", "whole"]) == 0
    assert main([*words, "--out", "half", "--keep-checkpoints"]) == 0
    (place / "half" / "model.safetensors").unlink()
    shutil.rmtree(sorted((place / "half" / "checkpoints").glob("step-*"))[-1])
    assert main([*words, "--out", "half", "--keep-checkpoints"]) == 0
    one, other = (read_model(place / run / "model.safetensors") for run in ("whole", "half"))
    assert all(np.array_equal(one[0][name], other[0][name]) for name in one[0])
    assert one[1].thresholds == other[1].thresholds and metrics_of(one[1]) == metrics_of(other[1])


def test_training_may_begin_from_a_model_of_one_label(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["image,label", *(f"img/{i:03d}.png,{'bar' if i % 2 else 'none'}" for i in range(40))]
    (place / "photos" / "bars.csv").write_text("\n".join(lines))
    assert main(["train", "folder", "--data", "photos/bars.csv", "--out", "bars", "--epochs", "1", *FEW]) == 0
    words = ["train", "folder", "--data", "photos/shapes.csv", "--out", "on", "--init", "bars", "--epochs", "1"]
    capsys.readouterr()
    assert main([*words, "--augment", "none", "--batch", "16", "--precision", "fp32"]) == 0
    assert "rows of 1 of 3 classes copied: bar" in capsys.readouterr().err
    assert read_model(place / "on" / "model.safetensors")[1].link == "sigmoid"
    assert read_model(place / "bars" / "model.safetensors")[1].link == "softmax"
    why = refusal(capsys, "evaluate", "bars", "--data", "photos/shapes.csv")
    assert "the model predicts one class for each image, but the images of" in why and why.count("\n") <= 2
    assert "any number of classes" in refusal(capsys, "evaluate", "run", "--data", "photos/bars.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate run --temperature", "--temperature needs images with one label each, but these may have several"),
        ("evaluate run --plot a.png", "--plot needs images with one label each"),
        ("evaluate run --reliability a.png", "--reliability needs images with one label each"),
        ("evaluate run --mistakes a.csv", "--mistakes needs images with one label each"),
        ("evaluate run --changed 3", "--changed needs images with one label each"),
        (
            "train folder --data photos/shapes.csv --objective.kind cross-entropy",
            "cross-entropy does not suit the images",
        ),
        (
            "train folder --data photos/shapes.csv --objective.smoothing 0.1",
            "cross-entropy does not suit the images",
        ),
        (
            "train folder --data photos/shapes.csv --augment flip mixup --objective.kind cross-entropy",
            "--augment mixup mixes images with one label each, but the images of photos/shapes.csv may have several; "
            "leave it out: --augment flip",
        ),
        ("train mnist-lenet --objective.kind binary-cross-entropy", "binary-cross-entropy does not suit the images"),
        (
            "data export photos/shapes.csv --out pngs",
            "an export into a folder for each class needs images with one label each",
        ),
    ],
)
def test_an_option_for_one_label_is_refused_with_one_message(
    words: str, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = refusal(capsys, *words.split())
    assert message in why and "Traceback" not in why and not (place / "pngs").exists()


def test_the_report_has_a_table_of_classes_and_no_confusion_matrix(place: Path) -> None:
    assert main(["report", "run"]) == 0
    page = (place / "run" / "report.html").read_text()
    assert "AP 11" in page
    assert "mean average precision on 16 test images" in page and "<th" in page and ">AP<" in page
    assert 'id="confusion"' not in page and 'id="mistakes"' not in page and 'id="classes"' in page
    shown = {one[0].text: one[1].text for one in zip(*(read(page).all(tag) for tag in ("dt", "dd")), strict=True)}
    found = provenance(place / "run").metrics["test"].measures
    for name, text in (("map_voc", "As in VOC since 2010"), ("map11", "At eleven recalls, as in VOC 2007")):
        assert shown[text] == f"{100 * found[name]:.2f}%"
    images = [shown[f"{split} images"] for split in ("Training", "Validation", "Test")]
    assert images == ["48", "16", "16"] and not re.search(r"\b0 seconds", page)  # the numbers of images, not of labels


def test_splits_in_the_file_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = str(write_shapes(tmp_path / "photos", 40, split=True))
    context = open_context()
    assert [len(open_split(data, split, context)) for split in ("train", "validation", "test")] == [24, 8, 8]
    assert main(["train", "folder", "--data", data, "--epochs", "1", *FEW]) == 0
    metrics = metrics_of(read_model(Path("runs/folder/model.safetensors"))[1])
    assert {split: scored.total for split, scored in metrics.items()} == {"validation": 8, "test": 8}
    assert {scored.main for scored in metrics.values()} == {"map"}


def test_each_class_has_an_independent_probability(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = json_answer(capsys, "predict", "run", "photos/img/007.png", "--top", "3")
    model = imclass.load("run")
    images = [decode(Path("photos/img/007.png"))]
    expected = probabilities(model.classify(images).numpy())[0]
    found = {c["class"]: c["probability"] for c in one["classes"]}
    assert [found[name] for name in SHAPES] == pytest.approx(expected, rel=1e-5)


def test_a_run_keeps_the_scores_of_its_model(place: Path) -> None:
    _, header = read_model(place / "run" / "model.safetensors")
    for split, metrics in metrics_of(header).items():
        kept = read_scores(place / "run" / "scores" / f"{split}.npz").evaluation
        assert {name: kept.measures[name] for name in metrics.measures} == pytest.approx(metrics.measures)
        assert isinstance(kept.targets, AnyOf)
    assert {*metrics_of(header)} == {"validation", "test"}
    before = (place / "run" / "report.html").read_bytes()
    shutil.rmtree(place / "photos")
    assert imclass.report(place / "run").read_bytes() == before


def test_a_notebook_shows_average_precision(place: Path) -> None:
    shown = imclass.evaluate("run")._repr_html_()
    assert '<th scope="col">mAP</th>' in shown and '<th scope="col">AP</th>' in shown and "<img" not in shown


def test_python_refuses_what_needs_one_label(place: Path) -> None:
    result = imclass.evaluate("run")
    for write, path in ((result.plot, "p.png"), (result.reliability, "r.png"), (result.mistakes, "m.csv")):
        with pytest.raises(UserError, match="one label each"):
            write(path)
    with pytest.raises(UserError, match="a comparison needs images with one label each"):
        imclass.compare("run", "run/scores/test.npz")
    with pytest.raises(UserError, match="--plot needs images with one label each"):
        imclass.evaluate("run", uses=["plot"])
    assert not list(place.glob("*.png")) and not list(place.glob("*.csv"))
