"""The features of a network's images, computed by the engine of the network in the part."""

from dataclasses import replace
from pathlib import Path

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
from imclass.pipelines.parts.logistic import Logistic
from imclass.pipelines.parts.network_features import NetworkFeatures
from imclass.pipelines.pipeline import Pipeline
from tests.support.small import picture
from tests.support.tolerance import assert_near

IMAGES = [picture(i, i % 2 == 1, 20 + i) for i in range(9)]


def eyes(network: str = "lenet-5", size: int = 28) -> NetworkClassifier:
    return create(Model(network, {"size": size}), ("x", "y", "z"), Preprocess(size, "rgb", "squash"))


def holding(classifier: NetworkClassifier) -> NetworkFeatures:
    part = NetworkFeatures()
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
