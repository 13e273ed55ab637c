"""The features of a network's images, computed by the engine of the network in the part."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.core.runtime import Arithmetic
from imclass.core.targets import OneOf
from imclass.evaluation.unpack import read_classifier, save_classifier
from imclass.models.arithmetic.eager import EagerEngine
from imclass.models.classifier import NetworkClassifier, create
from imclass.models.views.batches import to_batch
from imclass.models.views.embedding import Combine, Embedding
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.network_features import NetworkFeatures
from imclass.pipelines.pipeline import Pipeline
from tests.support.narrowed import REAL, small
from tests.support.small import picture
from tests.support.tolerance import assert_near
from tests.support.viewers import ragged_images

SCALES = (64, 72, 80)
IMAGES = [picture(i, i % 2 == 1, 20 + i) for i in range(9)]


def eyes(network: str = "lenet-5", size: int = 28) -> NetworkClassifier:
    return create(Model(network, {"size": size}), ("x", "y", "z"), Preprocess(size, "rgb", "squash"))


def holding(classifier: NetworkClassifier, **settings: Any) -> NetworkFeatures:
    part = NetworkFeatures(**settings)
    part.set_members({"eyes": classifier})
    return part


@pytest.mark.parametrize(("network", "size", "width"), [("lenet-5", 28, 84), ("small-resnet", 32, 256)])
def test_features_are_what_the_network_embeds(network: str, size: int, width: int) -> None:
    classifier = eyes(network, size)
    with torch.inference_mode():
        expected = classifier.network.eval().embed(to_batch(np.stack([classifier.preprocess(i) for i in IMAGES])))
    found = holding(classifier).transform(IMAGES)
    assert found.shape == (9, width) and found.dtype == np.float32
    assert_near(found, expected.numpy(), 1e-6)
    assert not classifier.network.training and classifier.classify(IMAGES).shape == (9, 3)


def vgg() -> NetworkClassifier:
    """Return a narrow VGG for 64 pixels."""
    name, row = REAL[2]
    return small(name, **row)


def expected_rows(classifier: NetworkClassifier, images: Any, combine: Combine) -> np.ndarray:
    """Return the features of images at three scales, each with an `Embedding`, combined as the paper's equations."""
    each = np.stack([Embedding(classifier, (q,), mirror=True)(images).astype(np.float64) for q in SCALES], 1)
    rows = each.mean(1) if combine == "average" else each.reshape(len(images), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("combine", ["average", "stack"])
def test_scales_are_averaged_or_stacked(combine: Combine) -> None:
    classifier = vgg()
    images = ragged_images((40, 55, 3), (70, 33, 3))
    part = holding(classifier, scales=SCALES, combine=combine, mirror=True, normalise=True)
    found = part.transform(images)
    assert found.shape == (2, Embedding(classifier).width * (3 if combine == "stack" else 1))
    assert found.dtype == np.float32 and part.transform([]).shape == (0, found.shape[1])
    assert_near(found, expected_rows(classifier, images, combine), 1e-5)
    for other in ({"mirror": False}, {"scales": (72,)}, {"normalise": False}):
        settings = {"scales": SCALES, "combine": combine, "mirror": True, "normalise": True} | other
        again = holding(classifier, **settings).transform(images)
        assert again.shape != found.shape or not np.allclose(again, found, rtol=1e-4)


@pytest.mark.parametrize(("combine", "width"), [("average", 4096), ("stack", 12288)])
def test_a_vgg_gives_4096_or_12288_features(combine: Combine, width: int) -> None:
    name, row = REAL[2]
    classifier = small(name, **{**row, "hidden": (8, 4096)})
    found = holding(classifier, scales=SCALES, combine=combine).transform(ragged_images((40, 55, 3)))
    assert found.shape == (1, width)


def test_changed_settings_take_effect() -> None:
    part = holding(vgg(), scales=SCALES)
    (image,) = ragged_images((40, 55, 3))
    width = part.transform([image]).shape[1]
    part.combine = "stack"
    assert part.transform([image]).shape[1] == 3 * width


@pytest.mark.parametrize("settings", [{}, {"scales": (64, 72), "mirror": True}])
def test_the_features_of_an_image_do_not_depend_on_the_others(settings: dict[str, Any]) -> None:
    part = holding(vgg(), **settings)
    images = ragged_images((40, 55, 3), (40, 55, 3), (70, 33, 3))
    together = part.transform(images)
    for image, row in zip(images, together, strict=True):
        np.testing.assert_array_equal(part.transform([image])[0], row)


@pytest.mark.slow
def test_a_vgg_of_full_width_gives_4096_or_12288_features() -> None:
    rule = Preprocess(224, "rgb", "shorter", 256)
    classifier = create(Model("vgg-a", mean=(0.5,) * 3), ("x", "y"), rule)
    (image,) = ragged_images((40, 40, 3))
    for combine, width in (("average", 4096), ("stack", 12288)):
        part = holding(classifier, scales=(224, 256, 288), combine=combine, mirror=True, normalise=True)
        found = part.transform([image])
        assert found.shape == (1, width) and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_a_scale_below_the_native_size_is_refused() -> None:
    with pytest.raises(UserError, match="the part network-features: Q is 63 pixels; it must be at least 64"):
        holding(vgg(), scales=(64, 63))


def test_the_engine_decides_the_arithmetic() -> None:
    classifier = eyes()
    exact = holding(classifier).transform(IMAGES)
    rounded = replace(classifier, engine=EagerEngine(classifier.network, Arithmetic("bf16", "nhwc")))
    found = holding(rounded).transform(IMAGES)
    assert not np.array_equal(found, exact)
    assert_near(found, exact, 3e-2)


def test_a_part_without_a_network_is_refused() -> None:
    with pytest.raises(UserError, match="needs one network, but has 0"):
        NetworkFeatures().transform(IMAGES)


def test_a_pipeline_of_features_and_logistic_regression_is_saved_and_read(tmp_path: Path) -> None:
    made = Pipeline((holding(eyes()), Logistic()), ("dark", "bright")).fit(IMAGES, OneOf(np.arange(9) % 2))
    save_classifier(tmp_path / "model.safetensors", made)
    again = read_classifier(tmp_path / "model.safetensors")
    assert torch.equal(again.classify(IMAGES), made.classify(IMAGES))
    assert made.classify(IMAGES).argmax(1).tolist() == [i % 2 for i in range(9)]
