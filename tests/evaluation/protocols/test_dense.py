"""Dense protocols on small copies of real networks, and against a plain loop."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from imclass.core.config import Model
from imclass.core.errors import UserError
from imclass.core.preprocess import Preprocess
from imclass.evaluation.protocols.center import Center
from imclass.evaluation.protocols.dense import DENSE, DENSE_MULTICROP, RESNET_MULTISCALE
from imclass.evaluation.protocols.multicrop import VGG_MULTICROP
from imclass.models.classifier import NetworkClassifier, create, sketch
from tests.support.narrowed import REAL, small
from tests.support.tolerance import near
from tests.support.viewers import Linear, ragged_images

RULE = Preprocess(size=8, scale=10)


@pytest.mark.parametrize(("name", "row"), REAL)
def test_dense_at_the_native_size_is_the_center_crop(name: str, row: dict[str, Any]) -> None:
    classifier = small(name, **row)
    size = classifier.preprocess.size
    images = ragged_images((40, 40, 3), (size, size, 3), (90, 90, 3))
    found = replace(DENSE, scales=(size,))(classifier, images)
    assert near(found, Center(size, flip=True)(classifier, images))
    assert found.std(1).min() > 0.1  # they differ
    assert not near(found, replace(DENSE, scales=(size + 36,))(classifier, images), 1e-3)


def test_the_class_map_of_vgg_has_a_side_of_q_by_32_less_6() -> None:
    widths = {"widths": (4, 4, 4, 4, 4), "hidden": (4, 4)}
    network = sketch(Model("vgg-d", widths), ["a", "b"]).network.eval()
    sides = {q: network.dense(torch.empty(1, 3, q, q, device="meta")).shape[-1] for q in (224, 256, 288, 352, 384)}
    assert sides == {q: q // 32 - 6 for q in sides} == {224: 1, 256: 2, 288: 3, 352: 5, 384: 6}
    assert network.dense(torch.empty(1, 3, 416, 512, device="meta")).shape[-2:] == (7, 10)


def test_dense_is_a_plain_loop() -> None:
    classifier, images = Linear(RULE, gain=4), ragged_images((40, 55, 3), (60, 33, 3), (40, 55, 3))
    found = replace(DENSE, scales=(10, 12))(classifier, images)
    for image, row in zip(images, found, strict=True):
        total = torch.zeros(3, dtype=torch.float64)
        for q in (10, 12):
            rule = replace(RULE, scale=q)
            view = torch.from_numpy(rule.apply_resize(image).transpose(2, 0, 1).copy())[None]
            for each in (view, view.flip(3)):
                total += classifier.dense(each)[0].double().mean((1, 2)).softmax(0)
        assert near(row.softmax(0).double(), total / 4)


def test_without_scales_q_is_the_training_scale() -> None:
    images = ragged_images((40, 55, 3))
    assert torch.equal(DENSE(Linear(RULE), images), replace(DENSE, scales=(10,))(Linear(RULE), images))
    none = Preprocess(size=8, resize="none")
    assert torch.equal(DENSE(Linear(none), images), replace(DENSE, scales=(8,))(Linear(none), images))


def test_dense_multicrop_averages_both_probabilities() -> None:
    classifier, images = Linear(RULE, gain=4), ragged_images((40, 55, 3), (60, 33, 3))
    dense, crops = (replace(p, scales=(10, 12))(classifier, images).softmax(1) for p in (DENSE, VGG_MULTICROP))
    both = replace(DENSE_MULTICROP, scales=(10, 12))(classifier, images).softmax(1)
    assert near(both, (dense + crops) / 2) and not near(dense, crops, 1e-3)


def test_an_image_is_rescaled_once_for_each_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    resize = Preprocess.resize_to

    def count_resize(self: Preprocess, image: np.ndarray, height: int, width: int) -> np.ndarray:
        sizes.append((height, width))
        return resize(self, image, height, width)

    monkeypatch.setattr(Preprocess, "resize_to", count_resize)
    replace(DENSE_MULTICROP, scales=(10, 12))(Linear(RULE), ragged_images((20, 20, 3), (40, 40, 3)))
    assert sorted(s for s in sizes if s != (8, 8)) == [(10, 10), (10, 10), (12, 12), (12, 12)]


def test_images_of_one_shape_go_together() -> None:
    classifier = Linear(RULE)
    DENSE(classifier, ragged_images((40, 55, 3), (33, 60, 3), (40, 55, 3), (80, 110, 3)))
    assert [tuple(batch.shape) for batch in classifier.seen] == [(3, 3, 10, 14)] * 2 + [(1, 3, 10, 18)] * 2


def test_resnets_scales_are_in_proportion() -> None:
    classifier = Linear(Preprocess(size=7, scale=8))
    RESNET_MULTISCALE(classifier, ragged_images((30, 30, 3)))
    assert [batch.shape[-1] for batch in classifier.seen] == [7, 7, 8, 8, 12, 12, 15, 15, 20, 20]


def with_mean_image() -> NetworkClassifier:
    classifier = create("resnet-cifar-20", ["a", "b"], Preprocess(size=32, resize="none"))
    classifier.network.normalise(torch.zeros(3, 32, 32), (1.0,))
    return classifier


def test_a_mean_image_is_refused_before_any_image_is_read() -> None:
    with pytest.raises(UserError, match="mean image of 32 x 32"):
        replace(DENSE, scales=(40,)).check(with_mean_image())
    assert DENSE(with_mean_image(), []).shape == (0, 2)  # at its own size it can be dense
    assert DENSE(with_mean_image(), ragged_images((64, 64, 3))).shape == (1, 2)


def test_padding_a_batch_would_change_the_scores() -> None:
    classifier = small("resnet-cifar-20")
    image = ragged_images((40, 52, 3))[0]
    padded = nn.functional.pad(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], (0, 8, 0, 12))
    alone = classifier.dense(padded[:, :, :40, :52]).mean((2, 3))
    assert not near(alone, classifier.dense(padded).mean((2, 3)), 1e-3)
