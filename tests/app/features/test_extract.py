"""`imclass.features` for images, splits and data sets, and files of their features."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import imclass
from imclass.core.contracts import Origin
from imclass.core.errors import UserError
from imclass.core.model_file import tensors_digest
from imclass.core.preprocess import Preprocess
from imclass.core.targets import AnyOf, OneOf, Targets
from imclass.data.arrays import ArrayDataset
from imclass.evaluation.ensemble import Ensemble, EnsembleMember
from imclass.models.classifier import NetworkClassifier
from imclass.pipelines.part import PipelinePart
from imclass.pipelines.parts.fisher import Fisher
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.network_features import NetworkFeatures
from imclass.pipelines.pipeline import Pipeline
from tests.support.parts import Blocks, Colours, NearestMean
from tests.support.small import picture, save_untrained, tree
from tests.support.tolerance import assert_near

IMAGES = np.stack([picture(i, i % 2 == 1, 28) for i in range(9)])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = tmp_path_factory.mktemp("world")
    tree(world / "pets", per_class=3)
    save_untrained(world / "model.safetensors")
    return world


@pytest.fixture(scope="module")
def classifier(world: Path) -> NetworkClassifier:
    found = imclass.load(world / "model.safetensors")
    assert isinstance(found, NetworkClassifier)
    return found


def dataset(targets: Targets, classes: tuple[str, ...] = ("dark", "bright")) -> ArrayDataset:
    return ArrayDataset(IMAGES, targets, classes, ("test",), "test", Origin("mine", "memory", "published"))


def test_features_of_images_in_memory_are_those_of_the_part(classifier: NetworkClassifier) -> None:
    part = NetworkFeatures()
    part.set_members({"eyes": classifier})
    bad = np.zeros((2, 2), np.uint8)
    found = imclass.features(classifier, [*IMAGES[:4], bad, ("last", IMAGES[4])])
    assert_near(found.features, part.transform(list(IMAGES[:5])))
    assert found.names == ("image 0", "image 1", "image 2", "image 3", "last")
    assert [refused.path for refused in found.refused] == ["image 4"]
    assert found.labels.tolist() == [-1] * 5 and (found.targets, found.classes) == (None, ())
    assert repr(found) == "Features(penultimate: 5 x 84, 1 refused; no labels)"
    streamed = imclass.features(classifier, (image for image in IMAGES))
    assert_near(streamed.features, imclass.features(classifier, IMAGES).features)


def test_a_data_set_has_labels_and_ids(classifier: NetworkClassifier) -> None:
    data = dataset(OneOf(np.arange(9) % 2))
    found = imclass.features(classifier, data=data, split="test", normalise=True)
    assert found.labels.tolist() == (np.arange(9) % 2).tolist() and found.classes == ("dark", "bright")
    np.testing.assert_array_equal(found.ids, data.ids)
    assert found.record["images"] == "split test of mine" and found.record["normalise"] is True
    assert found.record["model_digest"] == tensors_digest(classifier.network.state_dict())
    with pytest.raises(UserError, match="the data is the split 'test'"):
        imclass.features(classifier, data=data, split="train")


def test_refused_images_of_a_data_set_keep_the_other_labels(world: Path, tmp_path: Path) -> None:
    pets = tree(tmp_path / "pets", per_class=3)
    (pets / "cat" / "001.png").write_bytes(b"GIF89a")
    found = imclass.features(world / "model.safetensors", data=pets, split="all", workers=2)
    assert found.names == ("cat/000.png", "cat/002.png", "dog/000.png", "dog/001.png", "dog/002.png")
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    whole = imclass.features(world / "model.safetensors", data=world / "pets", split="all")
    assert_near(found.features, whole.features[[0, 2, 3, 4, 5]])
    np.testing.assert_array_equal(found.ids, whole.ids[[0, 2, 3, 4, 5]])


def test_the_default_split_is_the_held_out_part(world: Path) -> None:
    found = imclass.features(world / "model.safetensors", data=world / "pets")
    assert "all images" in found.record["images"] and len(found.names) == 6


def fit_pipeline(*parts: PipelinePart) -> Pipeline:
    return Pipeline(parts, ("dark", "bright")).fit(list(IMAGES), OneOf(np.arange(9) % 2))


@pytest.mark.parametrize("first", [(Colours(3),), (Blocks(14), Fisher(words=2))])
def test_the_features_of_a_pipeline_are_the_input_of_its_last_part(first: tuple[PipelinePart, ...]) -> None:
    pipeline = fit_pipeline(*first, NearestMean())
    expected = np.asarray(pipeline.embed(list(IMAGES)), np.float32)
    found = imclass.features(pipeline, data=dataset(OneOf(np.arange(9) % 2)))
    np.testing.assert_array_equal(found.features, expected)
    assert (found.layer, found.record["kind"], found.record["network"]) == ("penultimate", "pipeline", "")
    assert found.record["model_digest"] == tensors_digest(pipeline.pack()[0]) and found.classes == ("dark", "bright")
    scaled = imclass.features(pipeline, [*IMAGES, np.zeros((2, 2), np.uint8)], normalise=True)
    assert_near(scaled.features, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    assert len(scaled.refused) == 1


def test_a_pipeline_records_its_network_and_not_its_training_images(classifier: NetworkClassifier) -> None:
    part = NetworkFeatures()
    part.set_members({"eyes": replace(classifier, trained_on=np.arange(3, dtype=np.uint64))})
    pipeline = fit_pipeline(part, NearestMean())
    record = imclass.features(pipeline, IMAGES).record
    part.set_members({"eyes": classifier})
    assert record["network"] == "lenet-5" and record == imclass.features(pipeline, IMAGES).record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "conv1"}, "^--layer conv1 needs a single network, and the model is not one; leave it out"),
        ({"scales": (32,)}, "^--scales needs a single network"),
        ({"mirror": True}, "^--mirror needs a single network"),
    ],
)
def test_options_of_networks_are_refused_for_a_pipeline(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        imclass.features(fit_pipeline(Colours(3), NearestMean()), IMAGES, **options)


def test_models_without_a_single_last_layer_are_refused(classifier: NetworkClassifier) -> None:
    with pytest.raises(UserError, match="an ensemble, so it has no single last layer; choose one of its members"):
        imclass.features(Ensemble((EnsembleMember(classifier), EnsembleMember(classifier))), IMAGES)
    alone = Pipeline((NearestMean(),), ("dark", "bright"))
    with pytest.raises(UserError, match="the only part of the pipeline is nearest-mean, so it has no features"):
        imclass.features(alone, IMAGES)
    member = EnsembleMember(classifier)
    np.testing.assert_array_equal(member.embedder()([*IMAGES]), classifier.embedder()([*IMAGES]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "specify image files or folders"),
        ({"images": IMAGES, "split": "test"}, "--split and image paths cannot be combined"),
        ({"images": IMAGES, "precision": "bf16"}, "precision bf16 needs a model that is loaded from a file"),
        ({"images": []}, "^there are no images; pass at least one"),
        ({"images": IMAGES, "workers": -1}, "--workers is -1"),
    ],
)
def test_mistakes_are_user_errors(options: dict[str, Any], message: str, classifier: NetworkClassifier) -> None:
    with pytest.raises(UserError, match=message):
        imclass.features(classifier, **options)


def test_bf16_is_near_fp32(world: Path) -> None:
    exact, rounded = (
        imclass.features(world / "model.safetensors", IMAGES, precision=precision).features
        for precision in ("fp32", "bf16")
    )
    assert not np.array_equal(exact, rounded)
    assert_near(rounded, exact, 3e-2)


def test_every_format_keeps_the_numbers(classifier: NetworkClassifier, tmp_path: Path) -> None:
    found = replace(
        imclass.features(classifier, data=dataset(OneOf(np.arange(9) % 2), ("=dark", "bright"))),
        names=("-a\n,", *map(str, range(8))),
    )
    for suffix in ("npy", "npz", "csv"):
        found.save(tmp_path / f"f.{suffix}")
    np.testing.assert_array_equal(np.load(tmp_path / "f.npy", allow_pickle=False), found.features)
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert set(file) == {"features", "names", "ids", "labels", "classes", "json"}
        np.testing.assert_array_equal(file["features"], found.features)
        assert tuple(file["names"].tolist()) == found.names
        assert [file["classes"][k] for k in file["labels"]] == ["=dark", "bright"] * 4 + ["=dark"]
        assert json.loads(str(file["json"])) == dict(found.record)
    with (tmp_path / "f.csv").open(newline="") as text:
        rows = list(csv.reader(text))
    assert rows[0] == ["name", "label", *(f"f{i}" for i in range(84))]
    assert rows[1][:2] == ["'-a\n,", "'=dark"]
    np.testing.assert_array_equal(np.array([row[2:] for row in rows[1:]], np.float32), found.features)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.csv", "f.npy", "f.npz"]
    with pytest.raises(UserError, match=r"^[^-].*: the file name must end in \.npy, \.npz or \.csv; use .*f\.npz"):
        found.save(tmp_path / "f.txt")


def test_several_labels_are_marks_and_lists_of_names(classifier: NetworkClassifier, tmp_path: Path) -> None:
    marks = np.array([[1, 1], [0, 1], [0, -1]] * 3, np.int8)
    found = imclass.features(classifier, data=dataset(AnyOf(marks)))
    found.save(tmp_path / "f.npz")
    found.save(tmp_path / "f.csv")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["marks"], marks)
        assert "labels" not in file
    with (tmp_path / "f.csv").open(newline="") as text:
        assert [row[1] for row in csv.reader(text)][1:4] == ["dark;bright", "bright", ""]
    with pytest.raises(UserError, match="use `targets`"):
        found.labels  # noqa: B018
    found.map(tmp_path / "f.png")
    assert (tmp_path / "f.png").is_file()


def test_scikit_learn_reaches_the_accuracy_of_our_logistic_regression(tmp_path: Path) -> None:
    classifier = imclass.create("lenet-5", [*"0123456789"], Preprocess(28, "grey", "none"))
    imclass.features(classifier, data="mnist-sample", split="test").save(tmp_path / "digits.npz")
    with np.load(tmp_path / "digits.npz", allow_pickle=False) as file:
        x, y = file["features"], file["labels"]
    x = (x - x[:400].mean(0)) / (x[:400].std(0) + 1e-9)
    theirs = LogisticRegression(C=0.1, max_iter=1000).fit(x[:400], y[:400]).score(x[400:], y[400:])
    ours = Logistic(grid=(0.1,)).fit(x[:400], OneOf(y[:400]), 10).scores(x[400:]).argmax(1) == y[400:]
    assert theirs > 0.5 and ours.mean() == pytest.approx(theirs, abs=0.002)
