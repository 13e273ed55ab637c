"""Feature vectors against a plain loop over images, scales and mirror images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from imclass.core.errors import UserError
from imclass.models.layers.heads import layers_before_last, linear_layer, slide_head
from imclass.models.network import Network
from imclass.models.views.embedding import Embedding
from tests.support.narrowed import REAL, small
from tests.support.tolerance import assert_near, near
from tests.support.viewers import ragged_images

VGG, ROW = REAL[2]  # for 64 pixels


class Regression(Network):
    """Softmax regression, whose only layer is the last one."""

    def __init__(self, size: int, w_in: int) -> None:
        super().__init__(size, w_in)
        self.features = nn.Sequential()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(w_in * size**2, 5))


@pytest.mark.parametrize(("name", "row"), REAL)
def test_at_the_native_size_dense_features_are_those_of_the_view(name: str, row: dict[str, Any]) -> None:
    classifier = small(name, **row)
    size = classifier.preprocess.size
    classifier = replace(classifier, preprocess=replace(classifier.preprocess, resize="squash"))
    images = ragged_images((size, size, 3), (size, size, 3))
    plain, dense = Embedding(classifier), Embedding(classifier, (size,))
    with torch.inference_mode():
        views = torch.from_numpy(np.stack([*map(classifier.preprocess, images)]).transpose(0, 3, 1, 2).copy())
        expected = classifier.network.eval().embed(views).numpy()
    assert plain.width == dense.width == expected.shape[1]
    assert_near(plain(images), expected)
    assert_near(dense(images), expected)
    assert classifier.classify(images).shape == (2, len(classifier.classes))  # the network keeps its last layer


def test_features_are_those_of_a_plain_loop() -> None:
    classifier = small(VGG, **ROW)
    images = ragged_images((40, 55, 3), (70, 33, 3), (40, 55, 3))
    head = layers_before_last(classifier.network.eval().head)
    scales = (72, 80)
    found = Embedding(classifier, scales, mirror=True, normalise=True)(images)
    for image, row in zip(images, found, strict=True):
        total = torch.zeros(found.shape[1], dtype=torch.float64)
        for q in scales:
            rule = replace(classifier.preprocess, resize="shorter", scale=q)
            view = torch.from_numpy(rule.apply_resize(image).transpose(2, 0, 1).copy())[None]
            for each in (view, view.flip(3)):
                with torch.inference_mode():
                    maps = classifier.network.features(classifier.network.prepare(each))
                    total += slide_head(head, maps)[0].double().mean((1, 2))
        assert_near(row, (total / total.norm()).numpy())
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-6)
    for other in (Embedding(classifier, (72,), True, True), Embedding(classifier, scales, False, True)):
        assert not near(other(images), found, 1e-4)


def test_the_last_layer_applied_to_dense_features_is_the_mean_class_map() -> None:
    classifier = small(VGG, **ROW)
    last = linear_layer(classifier.network.head, VGG)
    (image,) = ragged_images((40, 55, 3))
    rule = replace(classifier.preprocess, resize="shorter", scale=72)
    view = torch.from_numpy(rule.apply_resize(image).transpose(2, 0, 1).copy())[None]
    scores = torch.from_numpy(Embedding(classifier, (72,))([image])) @ last.weight.T + last.get_parameter("bias")
    assert_near(scores, classifier.dense(view).mean((2, 3)))


def test_a_mirrored_image_has_the_same_features() -> None:
    classifier = small(VGG, **ROW)
    images = ragged_images((40, 55, 3))
    mirrored = [image[:, ::-1].copy() for image in images]
    for scales in ((), (72,)):
        both = Embedding(classifier, scales, mirror=True)
        assert_near(both(mirrored), both(images))
        once = Embedding(classifier, scales)
        assert not near(once(mirrored), once(images), 1e-3)
        assert_near(both(images), (once(images) + once(mirrored)) / 2)


def test_zeros_stay_zeros() -> None:
    classifier = small(VGG, **ROW)
    for layer in classifier.network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.get_parameter("bias"))
    found = Embedding(classifier, normalise=True)(ragged_images((40, 55, 3)))
    assert (found == 0).all()


def test_scales_must_fit_the_network() -> None:
    classifier = small(VGG, **ROW)
    with pytest.raises(UserError, match=r"^--scales: Q is 63 pixels; it must be at least 64"):
        Embedding(classifier, (72, 63)).width  # noqa: B018
    classifier.network.normalise(torch.zeros(3, 64, 64), (1.0,))
    with pytest.raises(UserError, match="subtracts a mean image"):
        Embedding(classifier, (72,)).width  # noqa: B018
    with pytest.raises(UserError, match="has no layer before its last one; leave out --scales"):
        Embedding(classifier.with_network(Regression(64, 3)), (72,)).width  # noqa: B018
