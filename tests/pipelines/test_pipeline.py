"""A chain of parts from a plugin is fitted, saved, and read back from its file alone."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.app.cli.main import main
from imclass.core.contracts import Classifier
from imclass.core.errors import UserError
from imclass.core.model_file import Metrics, Provenance, read_model, save_model
from imclass.core.targets import OneOf
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.evaluation.unpack import read_classifier, save_classifier
from imclass.models.classifier import NetworkClassifier
from imclass.pipelines.part import PipelinePart, pipeline_parts
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.normalise import Normalise
from imclass.pipelines.parts.pca import Pca
from imclass.pipelines.parts.positions import Positions
from imclass.pipelines.parts.pyramid import Pyramid
from imclass.pipelines.pipeline import Pipeline
from imclass.store.context import Context, open_context
from tests.support import parts as plugin
from tests.support.parts import Blocks, Colours, NearestMean, NetworkScores
from tests.support.small import CLASSES, picture, save_untrained, tree
from tests.support.tolerance import assert_near

LABELS = np.arange(12) % 2
IMAGES = [picture(i, bool(label), 10 + i) for i, label in enumerate(LABELS)]
TRAINED = Provenance(recipe={"recipe": "mine"}, metrics={"test": Metrics({"top1": 0.5}, 9, 10)}, chosen="fitted")


def fit_pipeline(*parts: PipelinePart) -> Pipeline:
    return Pipeline(parts or (Colours(3), NearestMean(0.5)), CLASSES).fit(IMAGES, OneOf(LABELS))


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Return the context with the plugin, whose folder lies in the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").mkdir()
    shutil.copy(str(plugin.__file__), tmp_path / "plugins" / "parts.py")
    return open_context(plugins=tmp_path / "plugins")


def by_hand() -> np.ndarray:
    """Compute the scores of a 3-bin histogram and the nearest mean, value by value."""
    shares = [[sum(3 * int(v) // 256 == b for v in image.flatten()) / image.size for b in range(3)] for image in IMAGES]
    rows = np.array(shares)
    rows = rows / (np.sqrt(((rows - rows.mean(0)) ** 2).mean(0)) + 1e-3)
    means = [np.mean([row for row, label in zip(rows, LABELS, strict=True) if label == k], axis=0) for k in (0, 1)]
    return np.array([[-sum((row - mean) ** 2) / 0.5 for mean in means] for row in rows])


def test_a_pipeline_applies_its_parts_in_order() -> None:
    pipeline = Pipeline((Colours(3), NearestMean(0.5)), CLASSES)
    assert pipeline.fit(IMAGES, OneOf(LABELS)) is pipeline and isinstance(pipeline, Classifier)
    assert_near(pipeline.classify(IMAGES), by_hand().astype(np.float32))
    assert pipeline.classify([]).shape == (0, 2)
    assert pipeline.link == "softmax" and pipeline.networks() == {} and pipeline.protocols() == {}
    assert [part.get_params() for part in pipeline.parts] == [{"bins": 3}, {"temperature": 0.5}]
    assert Colours(3).fit(IMAGES, OneOf(LABELS), 2).arrays().keys() == {"spread_"}
    assert (pipeline.classify(IMAGES).argmax(1) == 1).any()


def test_a_pipeline_is_read_back_from_its_file_alone(tmp_path: Path, plugins: Context) -> None:
    path, contents = tmp_path / "p.safetensors", np.array([9, 3], np.uint64)
    pipeline = replace(fit_pipeline(), trained=TRAINED, contents=contents, licence="CC0", versions={"numpy": "2"})
    save_classifier(path, pipeline, plugins)
    found = read_classifier(path, plugins)
    assert isinstance(found, Pipeline)
    assert torch.equal(found.classify(IMAGES), pipeline.classify(IMAGES))
    assert (found.trained, found.licence, found.versions) == (TRAINED, "CC0", {"numpy": "2"})
    assert found.trained_on is not None and found.trained_on.tolist() == [3, 9]
    tensors, header = read_model(path)
    assert tensors.keys() == {"0.spread_", "1.means_", "trained_on"}
    assert [each["part"] for each in header.body["parts"]] == [
        {"kind": "colours", "bins": 3},
        {"kind": "nearest-mean", "temperature": 0.5},
    ]


def test_a_pipeline_with_descriptors_is_fitted_and_read_back(tmp_path: Path, plugins: Context) -> None:
    parts = (Blocks(2), Pca(2), Positions(0.5), Pyramid(("1x1", "2x2")), Fisher(3), Normalise(), NearestMean())
    pipeline = Pipeline(parts, CLASSES).fit(IMAGES, OneOf(LABELS))
    scores = pipeline.classify(IMAGES)
    assert (scores.argmax(1).numpy() == LABELS).mean() > 0.8 and pipeline.embed(IMAGES).shape == (12, 5 * 2 * 3 * 4)
    assert torch.equal(torch.cat([pipeline.classify([image]) for image in IMAGES]), scores)
    save_classifier(tmp_path / "p.safetensors", pipeline, plugins)
    assert torch.equal(read_classifier(tmp_path / "p.safetensors", plugins).classify(IMAGES), scores)


def test_a_part_may_hold_a_classifier(tmp_path: Path, plugins: Context) -> None:
    eyes = replace(save_untrained(tmp_path / "n.safetensors"), trained=TRAINED, trained_on=np.array([5], np.uint64))
    seeing = NetworkScores()
    seeing.set_members({"eyes": eyes})
    pipeline = replace(fit_pipeline(seeing, NearestMean()), contents=np.array([4], np.uint64))
    save_classifier(tmp_path / "p.safetensors", pipeline, plugins)
    found = read_classifier(tmp_path / "p.safetensors", plugins)
    assert torch.equal(found.classify(IMAGES), pipeline.classify(IMAGES))
    (network,) = found.networks().values()
    assert list(found.networks()) == ["0.eyes"] and isinstance(network, NetworkClassifier)
    assert found.lineage() == (None, TRAINED)
    assert found.trained_on is not None and found.trained_on.tolist() == [4, 5]


def test_a_pipeline_and_a_network_may_form_an_ensemble(tmp_path: Path, plugins: Context) -> None:
    network = save_untrained(tmp_path / "n.safetensors", CLASSES[::-1])
    whole = Ensemble((EnsembleMember(fit_pipeline(), weight=0.3), EnsembleMember(network)))
    save_classifier(tmp_path / "both.safetensors", whole, plugins)
    found = read_classifier(tmp_path / "both.safetensors", plugins)
    assert torch.equal(found.classify(IMAGES), whole.classify(IMAGES)) and list(found.networks()) == ["1"]
    with pytest.raises(UserError, match="the model is not a single network, so it has no test protocol"):
        EnsembleMember(fit_pipeline(), plugin_protocol())


def plugin_protocol() -> Any:
    from imclass.evaluation.protocols.center import Center

    return Center()


def test_a_file_with_parts_from_a_plugin_needs_that_plugin(tmp_path: Path, plugins: Context) -> None:
    save_classifier(tmp_path / "p.safetensors", fit_pipeline(), plugins)
    with pytest.raises(UserError, match=r"p.safetensors: no part is named 'colours'; .* pass the --plugins DIR"):
        read_classifier(tmp_path / "p.safetensors")
    with pytest.raises(UserError, match="no part is named 'colours'"):
        save_classifier(tmp_path / "q.safetensors", fit_pipeline())  # nobody could read it
    assert not Path("q.safetensors").exists()
    assert {"colours", "network-scores", "nearest-mean"} <= set(pipeline_parts(plugins).entries)


CHANGES: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "argument": (
        {"kind": "colours", "binss": 3},
        "Colours has no field 'body.parts.0.part.binss'; did you mean 'bins'",
    ),
    "type": ({"kind": "colours", "bins": "x"}, "body.parts.0.part.bins is 'x'; it must be a whole number"),
    "kind": ({"kind": "colour"}, "no part is named 'colour'; did you mean 'colours'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_invalid_body_is_refused(change: str, tmp_path: Path, plugins: Context) -> None:
    part, message = CHANGES[change]
    tensors, header = fit_pipeline().pack()
    bodies = [{"part": part, "members": {}}, *header.body["parts"][1:]]
    save_model(tmp_path / "p.safetensors", tensors, replace(header, body={"parts": bodies}))
    with pytest.raises(UserError) as caught:
        read_classifier(tmp_path / "p.safetensors", plugins)
    assert message in str(caught.value) and str(caught.value).startswith(f"{tmp_path / 'p.safetensors'}: ")


def test_unexpected_arrays_are_named(tmp_path: Path, plugins: Context) -> None:
    tensors, header = fit_pipeline().pack()
    save_model(tmp_path / "p.safetensors", {"0.mean_": tensors.pop("0.spread_"), **tensors}, header)
    with pytest.raises(UserError, match=r"part 1: the part colours learns spread_, but the file has mean_"):
        read_classifier(tmp_path / "p.safetensors", plugins)


def test_an_invalid_chain_and_an_unfitted_part_are_refused() -> None:
    for parts in ((), (Colours(),), (NearestMean(), NearestMean())):
        with pytest.raises(
            UserError, match="a pipeline consists of parts that transform, followed by one that scores; the parts"
        ):
            Pipeline(parts, CLASSES)
    with pytest.raises(UserError, match="the part colours has no spread_, because it has not been fitted"):
        Pipeline((Colours(), NearestMean()), CLASSES).pack()
    with pytest.raises(UserError, match=r"nearest-mean returns scores of shape \(12, 2\); it must be 12 x 3"):
        replace(fit_pipeline(), classes=("cat", "dog", "owl")).classify(IMAGES)


def json_answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main([*words, "--plugins", "plugins", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_line_accepts_a_pipeline(
    tmp_path: Path, plugins: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    tree(tmp_path / "pets" / "train", per_class=2)
    tree(tmp_path / "pets" / "test", per_class=5)
    pipeline = replace(fit_pipeline(), trained=replace(TRAINED, recipe={"data": "pets"}))
    save_classifier(tmp_path / "p.safetensors", pipeline, plugins)
    save_untrained(tmp_path / "n.safetensors", CLASSES[::-1])
    about = json_answer(capsys, "info", "p.safetensors")
    assert (about["kind"], about["parameters"]) == ("pipeline", 3 + 2 * 3)
    alone = json_answer(capsys, "evaluate", "p.safetensors")
    assert alone["total"] == 10 and alone["rows"][0]["name"] == "p.safetensors"
    (seen,) = json_answer(capsys, "predict", "p.safetensors", "pets/test/cat/000.png")
    assert {c["class"] for c in seen["classes"]} == set(CLASSES)
    words = ("p.safetensors", "n.safetensors", "--data", "pets", "--save", "both.safetensors")
    fused = json_answer(capsys, "evaluate", *words)
    again = json_answer(capsys, "evaluate", "both.safetensors", "--data", "pets")
    assert again["loss"] == pytest.approx(fused["loss"], rel=1e-6)
    assert json_answer(capsys, "info", "both.safetensors")["parameters"] == 9 + 43_746
    new = ("--rename", "cat=Katze", "--out", "new.safetensors")
    assert json_answer(capsys, "info", "p.safetensors", *new)["classes"] == ["Katze", "dog"]
    assert json_answer(capsys, "info", "new.safetensors")["trained"] == about["trained"]
    rows = json_answer(capsys, "features", "p.safetensors", "pets/test", "--out", "rows.csv", "--normalise")
    assert (rows["layer"], rows["shape"][1:]) == ("penultimate", [3])
    for given, option in (("--grid x.png", "--grid"), ("--layer a --out x.npy", "--layer a")):
        assert main(["features", "p.safetensors", "pets/test", *given.split(), "--plugins", "plugins"]) == 2
        assert f"{option} needs a single network, and the model is not one" in capsys.readouterr().err
    capsys.readouterr()
    for line in (
        "evaluate p.safetensors --protocol dense",
        "explain p.safetensors pets/test --out x",
        "train folder --data pets --init p.safetensors",
    ):
        assert main([*line.split(), "--plugins", "plugins"]) == 2
        assert "p.safetensors" in (message := capsys.readouterr().err) and "is not a single network" in message
