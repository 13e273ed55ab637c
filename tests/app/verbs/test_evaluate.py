"""The verb `evaluate` with several models and protocols: fuse, fit, calibrate and save, in one or two processes."""

import io
import json
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imclass
from imclass.app.api import load as load_any
from imclass.app.cli.main import main
from imclass.core.config import Cut, Model
from imclass.core.model_file import DataFacts, Provenance
from imclass.core.preprocess import Preprocess
from imclass.data.catalog import open_split
from imclass.evaluation.ensemble import Ensemble
from imclass.evaluation.fusion import fit_weights
from imclass.evaluation.measures.calibration import fit_temperature
from imclass.evaluation.results import read_scores
from imclass.evaluation.score import evaluate, view_protocols
from imclass.models.classifier import NetworkClassifier, create, load_network_classifier
from imclass.store.context import open_context
from tests.support.small import CLASSES, picture, start, tree

RULE = Preprocess(size=28, colour="grey", scale=28)


def write_model(
    path: Path, seed: int, classes: tuple[str, ...] = CLASSES, mean_image: bool = False, **known: Any
) -> NetworkClassifier:
    """Write a model file of a LeNet-5 with weights drawn from `seed` that tell images apart."""
    classifier = create(Model("lenet-5", mean=(0.4,), std=(0.25,)), classes, RULE, seed)
    with torch.no_grad():
        for parameter in classifier.network.parameters():
            parameter.mul_(2)
    if mean_image:
        classifier.network.normalise(torch.full((1, 28, 28), 0.4), (0.25,))
    classifier = replace(classifier, trained=Provenance(**known)) if known else classifier
    classifier.save(path)
    return classifier


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder of photos with splits, and three models, one of them with its classes in another order."""
    monkeypatch.chdir(tmp_path)
    for split, n in (("train", 2), ("validation", 8), ("test", 6)):
        tree(tmp_path / "pets" / split, per_class=n, side=30)
    for seed, name in enumerate("abc"):
        write_model(tmp_path / f"{name}.safetensors", seed, CLASSES[::-1] if name == "c" else CLASSES)
    return tmp_path


PETS = ("--data", "pets")
MODELS = ("a.safetensors", "b.safetensors", "c.safetensors")


def evaluation_record(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return the record of an evaluation."""
    capsys.readouterr()
    assert main(["evaluate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def error_message(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the message of an evaluation that is refused."""
    capsys.readouterr()
    assert main(["evaluate", *words]) == 2
    return capsys.readouterr().err.partition("imclass: ")[2]


def pets_split(name: str) -> Any:
    return open_split("pets", name, open_context())


def test_several_models_are_listed_and_fused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = evaluation_record(capsys, *MODELS, *PETS)
    names = [row["name"] for row in record["rows"]]
    assert names == [*MODELS, "fused"]
    for row, path in zip(record["rows"], MODELS, strict=False):
        alone = evaluate(load_network_classifier(path), pets_split("test"))
        assert (row["top1"], row["models"]) == (alone.measures["top1"], [path])
        assert row["loss"] == pytest.approx(alone.measures["loss"], rel=1e-5)
        assert row["top1_interval"][0] <= row["top1"] <= row["top1_interval"][1]
    members = [evaluate(load_network_classifier(path), pets_split("test")) for path in MODELS]
    means = [
        np.mean([np.exp(e.scores[i] - np.logaddexp.reduce(e.scores[i]))[e.targets.numpy()[i]] for e in members])
        for i in range(12)
    ]
    assert record["loss"] == pytest.approx(-np.mean(np.log(means)), rel=1e-5)
    assert (record["evaluated"], record["total"], record["loss"]) == (12, 12, record["rows"][-1]["loss"])


def test_each_model_and_protocol_has_a_row(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *MODELS[:2], *PETS, "--protocol", "center,flip"]) == 0
    shown = capsys.readouterr()
    heads = [line.split("  ")[0] for line in shown.out.splitlines()[:6]]
    assert heads == [
        "a.safetensors, center", "b.safetensors, center", "a.safetensors, flip", "b.safetensors, flip",
        "fused, center", "fused, flip",
    ]  # fmt: skip
    assert all("top-1 " in line and " to " in line for line in shown.out.splitlines()[:6])
    assert "12 of 12 evaluated" in shown.out
    assert "evaluating split test of pets, protocol center,flip" in shown.err


def test_models_need_not_be_fused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["name"] for row in evaluation_record(capsys, *MODELS, *PETS, "--weights", "none")["rows"]] == [*MODELS]


def test_weights_are_fitted_on_validation_and_saved(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(place / "pets" / "validation")
    tree(place / "pets" / "validation", per_class=8, classes=CLASSES[::-1], side=30)  # with swapped brightness
    record = evaluation_record(capsys, *MODELS, *PETS, "--weights", "fit", "--save", "fused.safetensors")
    fitted = fit_weights([evaluate(load_network_classifier(path), pets_split("validation")) for path in MODELS])
    assert record["rows"][-1]["weights"] == pytest.approx(fitted, rel=1e-5)
    assert fitted != pytest.approx(
        fit_weights([evaluate(load_network_classifier(path), pets_split("test")) for path in MODELS]), abs=0.01
    )
    again = evaluation_record(capsys, "fused.safetensors", *PETS)
    assert again["loss"] == pytest.approx(record["loss"], rel=1e-5) and again["confusion"] == record["confusion"]
    assert again["loss"] != pytest.approx(evaluation_record(capsys, *MODELS, *PETS)["loss"], rel=1e-4)


def test_a_temperature_is_fitted_on_validation_and_saved(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [MODELS[0], *PETS, "--protocol", "flip", "--temperature", "--save", "calm.safetensors"]
    record = evaluation_record(capsys, *words)
    before, after = record["rows"]
    scores = evaluate(load_network_classifier(MODELS[0]), pets_split("validation"), view_protocols()["flip"])
    assert after["temperature"] == pytest.approx(fit_temperature(scores.scores, scores.targets.numpy()), rel=1e-4)
    assert after["name"].startswith("a.safetensors, temperature ")
    assert before["top1"] == after["top1"] and before["loss"] != pytest.approx(after["loss"], rel=1e-3)
    assert evaluation_record(capsys, "calm.safetensors", *PETS)["loss"] == pytest.approx(after["loss"], rel=1e-5)
    fused = evaluation_record(capsys, *MODELS, *PETS, "--temperature")  # of the fused row
    assert [row["name"].split(",")[0] for row in fused["rows"]] == [*MODELS, "fused", "fused"]


def test_saved_scores_replace_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = evaluation_record(capsys, *MODELS[:2], *PETS, "--protocol", "center,flip", "--save-scores", "scores.npz")
    files = sorted(path.name for path in place.glob("scores*"))
    assert files == [
        "scores.1.a.safetensors-center.npz", "scores.2.b.safetensors-center.npz", "scores.3.a.safetensors-flip.npz",
        "scores.4.b.safetensors-flip.npz", "scores.5.fused-center.npz", "scores.6.fused-flip.npz",
    ]  # fmt: skip
    shutil.rmtree(place / "pets")
    (place / MODELS[0]).unlink()
    second = evaluation_record(capsys, *files[:2])
    assert second["confusion"] == first["confusion"] or second["loss"] == pytest.approx(first["rows"][4]["loss"])
    assert second["loss"] == pytest.approx(first["rows"][4]["loss"], rel=1e-5)
    assert second["rows"][0]["tested"] == first["rows"][0]["tested"]
    fused = evaluation_record(capsys, files[5])
    assert fused["loss"] == pytest.approx(first["loss"], rel=1e-9) and fused["data"] == first["data"]


def test_one_row_is_saved_under_the_given_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation_record(capsys, MODELS[0], *PETS, "--save-scores", "scores.npz")
    saved = read_scores(place / "scores.npz")
    assert len(saved.names) == 12 and saved.names[0].endswith(".png")
    np.testing.assert_array_equal(
        saved.evaluation.scores, evaluate(load_network_classifier(MODELS[0]), pets_split("test")).scores
    )
    mixed = evaluation_record(capsys, MODELS[1], "scores.npz", *PETS)  # together with a model
    assert mixed["loss"] == pytest.approx(evaluation_record(capsys, *MODELS[:2], *PETS)["loss"], rel=1e-5)


def test_scores_of_other_images_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation_record(capsys, MODELS[0], *PETS, "--save-scores", "scores.npz")
    tree(place / "others", per_class=6, side=30)
    message = error_message(capsys, MODELS[1], "scores.npz", "--data", "others")
    assert "different images" in message
    tree(place / "more" / "train", per_class=1, side=30)
    for name in CLASSES:  # the same numbers of images, under other names
        for i in range(6):
            (place / "more" / "test" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(i, side=30)).save(place / "more" / "test" / name / f"other{i}.png")
    evaluation_record(capsys, MODELS[1], "--data", "more", "--save-scores", "more.npz")
    with np.load("scores.npz") as one, np.load("more.npz") as other:  # ids and labels alone do not distinguish them
        assert len(one["ids"]) == len(other["ids"]) and (one["labels"] == other["labels"]).all()
    assert "only the second has 'test/cat/other0.png'" in error_message(capsys, "scores.npz", "more.npz")


def test_a_papers_table_is_printed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *MODELS[:2], *PETS, "--protocol", "dense", "--scales", "28,32", "--table", "4"]) == 0
    shown = capsys.readouterr()
    assert "Table 4" in shown.out and "not run" in shown.out and "lenet-5 + lenet-5" in shown.out
    assert "28,32" in shown.out and "12 of 12 evaluated" in shown.err
    assert main(["evaluate", MODELS[0], *PETS, "--table", "3", "--table-format", "csv"]) == 0
    assert '"lenet-5"' in capsys.readouterr().out
    assert "Table 5" in evaluation_record(capsys, MODELS[0], *PETS, "--table", "5")["table"]


def test_images_that_rank_differently_are_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = evaluation_record(capsys, *MODELS[:2], *PETS, "--changed", "100")
    first, last = (evaluate(load_network_classifier(path), pets_split("test")) for path in MODELS[:2])
    hits = [e.scores.argmax(1) == e.targets.numpy() for e in (first, last)]
    assert len(record["changed"]) <= int((hits[0] != hits[1]).sum())
    for change in record["changed"]:
        assert {change["before"], change["after"]} == {1, 2} and change["image"].endswith(".png")
    assert main(["evaluate", *MODELS[:2], *PETS, "--changed", "1"]) == 0
    assert "in the first row -> in the last" in capsys.readouterr().out


def test_pictures_are_drawn(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation_record(capsys, *MODELS, *PETS, "--plot", "confusion.png", "--reliability", "reliability.png")
    for name in ("confusion.png", "reliability.png"):
        with Image.open(place / name) as drawn:
            assert drawn.format == "PNG"
    assert main(["evaluate", MODELS[0], *PETS, "--plot", "confusion.png"]) == 0
    assert "wrote confusion.png" in capsys.readouterr().err.splitlines()


def test_only_pictures_of_ours_are_replaced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--plot", "--reliability"):
        evaluation_record(capsys, MODELS[0], *PETS, option, "drawn.png")  # the second one replaces the first
        photo = place / "pets" / "test" / "cat" / "000.png"
        before = photo.read_bytes()
        assert f"{option} {photo} already exists" in error_message(capsys, MODELS[0], *PETS, option, str(photo))
        assert photo.read_bytes() == before


class Left(io.StringIO):
    """Standard output whose reader has gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_files_are_written_even_if_nobody_reads_the_result(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ("--plot", "p.png", "--save-scores", "s.npz", "--save", "m.safetensors")
    monkeypatch.setattr(sys, "stdout", Left())
    assert main(["evaluate", MODELS[0], *PETS, *files]) == 0
    assert all((place / name).is_file() for name in files[1::2])


def test_a_fused_model_predicts_and_describes_itself(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation_record(capsys, *MODELS, *PETS, "--protocol", "flip", "--save", "fused.safetensors")
    found = load_any("fused.safetensors")
    assert isinstance(found, Ensemble)
    capsys.readouterr()
    assert main(["predict", "fused.safetensors", "pets/test/cat/000.png", "--json"]) == 0
    classes = json.loads(capsys.readouterr().out)[0]["classes"]
    (again,) = imclass.predict(found, "pets/test/cat/000.png")
    assert tuple((c["class"], c["probability"]) for c in classes) == again.classes
    assert main(["info", "fused.safetensors", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    members = about["body"]["members"]
    assert about["kind"] == "ensemble" and len(members) == 3 and about["parameters"] == 3 * 43_746
    assert [member["protocol"] for member in members] == ["flip"] * 3
    assert main(["features", "fused.safetensors", "pets/test", "--out", "x.npy"]) == 2
    assert "the model is an ensemble, so it has no single last layer" in capsys.readouterr().err
    assert main(["predict", "fused.safetensors", "pets/test", "--protocol", "flip"]) == 2
    assert "the model is not a single network, so it has no test protocol" in capsys.readouterr().err


MISTAKES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "no model": ((), "specify a MODEL"),
    "twice": (("a.safetensors", "a.safetensors"), "a.safetensors is given twice"),
    "unknown protocol": (("a.safetensors", *PETS, "--protocol", "centre"), "did you mean 'center'"),
    "protocol twice": (("a.safetensors", *PETS, "--protocol", "flip,flip"), "lists a protocol twice"),
    "scales alone": (("a.safetensors", *PETS, "--scales", "32"), "--scales needs a --protocol"),
    "scales of none": (("a.safetensors", *PETS, "--protocol", "flip", "--scales", "32"), "has no scales"),
    "not numbers": (("a.safetensors", *PETS, "--protocol", "dense", "--scales", "28;32"), "whole numbers of pixels"),
    "too small": (("a.safetensors", *PETS, "--protocol", "dense", "--scales", "20"), "must be at least 28"),
    "other classes": (("a.safetensors", "d.safetensors", *PETS), "Not in the model: 'cat'"),
    "changed": (("a.safetensors", *PETS, "--changed", "-1"), "--changed is -1"),
    "save rows": (("a.safetensors", *PETS, "--protocol", "flip,center", "--save", "x.safetensors"), "single result"),
    "save apart": (("a.safetensors", "b.safetensors", *PETS, "--weights", "none", "--save", "x.safetensors"), "single"),
    "calibrate rows": (("a.safetensors", *PETS, "--protocol", "flip,center", "--temperature"), "needs a single result"),
    "save here": (("a.safetensors", *PETS, "--save", "./a.safetensors"), "--save a.safetensors already exists"),
    "one file twice": (
        ("a.safetensors", *PETS, "--plot", "p.png", "--reliability", "p.png"),
        "two arguments name the same file, p.png; choose a different file for each",
    ),
    "scores over a photo": (("a.safetensors", *PETS, "--save-scores", "photo.jpg"), "use photo.npz"),
    "no folder": (("a.safetensors", *PETS, "--save-scores", "no/x.npz"), "the folder no does not exist"),
    "fit the reported split": (
        ("a.safetensors", "b.safetensors", *PETS, "--split", "validation", "--weights", "fit"), "score another split",
    ),
    "empty": (("a.safetensors", "--data", "nothing"), "nothing"),
    "mean image": (("e.safetensors", *PETS, "--protocol", "dense", "--scales", "32"), "subtracts a mean image"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_writes_no_file(
    words: tuple[str, ...], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(place / "d.safetensors", 4, ("bird", "dog"))
    write_model(place / "e.safetensors", 5, mean_image=True)
    (place / "nothing").mkdir()
    before = sorted(place.iterdir())
    assert message in error_message(capsys, *words)
    assert sorted(place.iterdir()) == before


def test_without_validation_nothing_is_fitted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(place / "pets" / "validation")
    for option in (("--weights", "fit"), ("--temperature",)):
        assert "pets has no validation split to fit to (it has train, test)" in error_message(
            capsys, *MODELS, *PETS, *option
        )


SCORED = (
    (("--weights", "fit"), "has no scores for the validation split"),
    (("--temperature",), "has no scores for the validation split"),
    (("--save", "x.safetensors"), "contains scores, so --save has no model"),
    (("--protocol", "flip"), "contains finished scores"),
    (("--protocol", "flip,center"), "contains scores for only one protocol"),
)


@pytest.mark.parametrize(("words", "message"), SCORED)
def test_options_that_need_a_model_refuse_saved_scores(
    words: tuple[str, ...], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation_record(capsys, MODELS[0], *PETS, "--save-scores", "scores.npz")
    assert message in error_message(capsys, "scores.npz", *words)


def write_trained_model(path: Path, seed: int, data: Path) -> None:
    """Write a model file that claims to be trained on a folder, cut with the split seed `seed`."""
    training = open_split(str(data), "train", open_context(), Cut(seed=seed))
    origin = training.origin
    facts = DataFacts(
        name=origin.name,
        path=origin.path,
        rule=origin.rule,
        digest=training.digest(),
        splits=training.splits,
        cut=Cut(seed=seed),
    )
    write_model(path, seed, data=facts, recipe={"data": str(data)})


def test_members_are_scored_on_images_that_none_was_trained_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(place / "plain", side=30)
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        write_trained_model(place / f"{name}.safetensors", seed, place / "plain")
    record = evaluation_record(capsys, "one.safetensors", "two.safetensors")
    assert record["total"] == 4 and "held out of training: hash 80/20, seed 3" in record["data"]
    message = error_message(capsys, "one.safetensors", "three.safetensors")
    assert "one.safetensors and three.safetensors have different held-out images" in message and "seed 4" in message
    assert evaluation_record(capsys, "one.safetensors", "three.safetensors", "--split", "all")["total"] == 20
    unaware = evaluation_record(capsys, MODELS[0], "one.safetensors")  # a model without provenance follows the other
    assert unaware["total"] == 4 and unaware["data"] == record["data"]
    assert evaluation_record(capsys, MODELS[0], "--data", "plain")["total"] == 20  # alone it is scored on all images
    evaluation_record(capsys, "one.safetensors", "two.safetensors", "--save", "fused.safetensors")
    assert (
        evaluation_record(capsys, "fused.safetensors")["data"] == record["data"]
    )  # the saved model has the provenance


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_two_processes_print_the_result_of_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "pets" / "test" / "dog" / "005.png").write_bytes(b"")
    words = [*MODELS[:2], *PETS, "--weights", "fit", "--json", "--workers", "1"]
    assert main(["evaluate", *words]) == 1
    alone = json.loads(capsys.readouterr().out)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    pair = [start(["evaluate", *words], place, {**shared, "RANK": str(rank)}) for rank in range(2)]
    outputs = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [1, 0], outputs
    together = json.loads(outputs[0][0])
    assert outputs[1][0] == "" and together["evaluated"] == 11
    assert together["confusion"] == alone["confusion"] and together["refused_files"] == alone["refused_files"]
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert together["rows"][-1]["weights"] == pytest.approx(alone["rows"][-1]["weights"], rel=1e-5)


def test_images_of_one_class_are_scored(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(place / "cats", per_class=6, classes=("cat",), side=30)
    (place / "map.json").write_text("{}")
    assert "Not in" in error_message(capsys, "a.safetensors", "--data", "cats")
    record = evaluation_record(capsys, "a.safetensors", "--data", "cats", "--classes", "map.json")
    assert record["evaluated"] == 6 and record["data"].startswith("all images of cats")
    assert record["data"].endswith("(the model does not record which images it was trained on)")
    (place / "map.json").write_text('{"cats": "cat"}')
    assert "--classes maps 'cats', but" in error_message(
        capsys, "a.safetensors", "--data", "cats", "--classes", "map.json"
    )


def test_a_folder_named_like_the_data_set_is_noted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(place / "digits.safetensors", 0, tuple("0123456789"))
    for exists in (False, True):
        assert main(["evaluate", "digits.safetensors", "--data", "mnist-sample"]) == 0
        assert ("note: mnist-sample means the data set" in capsys.readouterr().err) is exists
        (place / "mnist-sample").mkdir(exist_ok=True)
